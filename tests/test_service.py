"""threads=0: a process that runs its scripts on Python's main thread and takes no requests."""

import os
import re
import signal
import time

import pytest

from client import get
from processes import Process, alive, wait_until


def start(nginx, script, options="", group="%{GLOBAL}", **settings):
    nginx.write("service.py", script)
    nginx.configure(
        "location / { return 200; }",
        http=f"wsgi_daemon_process service threads=0 {options};"
        f'wsgi_import_script {{dir}}/service.py process-group=service "application-group={group}";',
        **settings,
    )
    nginx.start()


def service(nginx):
    daemons = nginx.daemons()
    return daemons[0].pid if daemons else None


WAITS = """
    import os, signal, sys, threading, time
    main = threading.current_thread() is threading.main_thread()
    try:
        print('at work', os.getpid(), main, flush=True)
        while True:
            time.sleep(600)
    finally:
        print('cleaned up', flush=True)
    """


def test_it_runs_on_the_main_thread_without_a_listener(nginx):
    start(nginx, WAITS)
    nginx.wait_for_log(r"at work \d+ True")
    process = Process(service(nginx))
    assert process.threads == 2, "Python, and what ends it in time"
    assert nginx.sockets() == []
    assert get(nginx.port, "/")[0] == 200


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_raises_system_exit(nginx, number):
    start(nginx, WAITS)
    nginx.wait_for_log("at work")
    pid = service(nginx)
    os.kill(pid, number)
    nginx.wait_for_log("cleaned up")
    wait_until(lambda: nginx.log().count("at work") == 2, lambda: nginx.log())
    assert service(nginx) != pid
    assert "Traceback" not in nginx.log() and "SystemExit" not in nginx.log()
    nginx.wait_for_log(rf"pid {pid}\) terminated normally, exit code 0")


@pytest.mark.parametrize(
    "call", ["signal.pause()", "threading.Event().wait()", "os.read(os.pipe()[0], 1)", "pair[0].recv(1)"]
)
def test_a_signal_interrupts_what_waits(nginx, call):
    start(nginx, f"import os, signal, socket, threading\npair = socket.socketpair()\nprint('at work', flush=True)\n{call}\n", "shutdown-timeout=0")
    nginx.wait_for_log("at work")
    pid = service(nginx)
    # A signal that comes just before the call waits with it, as in every Python program.
    wait_until(lambda: Process(pid).state == "S", "the script to wait")
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not alive(pid), lambda: nginx.log())
    assert "Traceback" not in nginx.log() and "SystemExit" not in nginx.log()


def test_the_end_of_nginx_ends_it(nginx):
    start(nginx, WAITS)
    nginx.wait_for_log("at work")
    nginx.stop()
    assert "cleaned up" in nginx.log() and "Shutdown timeout expired" not in nginx.log()


def test_a_reload_replaces_it_and_does_not_wait_for_it(nginx):
    start(nginx, "import time\nprint('at work', flush=True)\ntime.sleep(600)\n")
    nginx.wait_for_log("at work")
    begin = time.monotonic()
    nginx.reload()
    assert time.monotonic() - begin < 15
    wait_until(lambda: nginx.log().count("at work") == 2, lambda: nginx.log())


@pytest.mark.parametrize("ending", ["", "raise SystemExit(3)", "raise ValueError('no more work')"])
def test_it_is_started_again_when_it_has_ended(nginx, ending):
    start(nginx, f"print('at work', flush=True)\n{ending}\n")
    wait_until(lambda: nginx.log().count("at work") >= 4, lambda: nginx.log())
    if "Value" in ending:
        nginx.wait_for_log("^.*ValueError: no more work")
    else:
        assert "Traceback" not in nginx.log() and "SystemExit" not in nginx.log()
    count = nginx.log().count("at work")
    time.sleep(1)
    assert nginx.log().count("at work") - count <= 2, "the pauses grow"


def test_scripts_run_one_after_the_other(nginx):
    nginx.write("first.py", "print('first', flush=True)")
    nginx.write("second.py", "print('second', flush=True)\nraise SystemExit")
    nginx.write("third.py", "print('third', flush=True)")
    scripts = "".join(
        f'wsgi_import_script {{dir}}/{name}.py process-group=service "application-group=%{{GLOBAL}}";'
        for name in ("first", "second", "third")
    )
    nginx.configure("location / { return 200; }", http="wsgi_daemon_process service threads=0;" + scripts)
    nginx.start()
    nginx.wait_for_log("second")
    wait_until(lambda: nginx.log().count("first") >= 2, lambda: nginx.log())
    printed = re.findall(r": (first|second|third)$", nginx.log(), re.M)
    assert printed[:2] == ["first", "second"] and "third" not in printed


def test_the_script_can_have_handlers_of_its_own(nginx):
    """Although wsgi_restrict_signal is on."""
    start(
        nginx,
        """
        import signal, time
        stopped = []
        signal.signal(signal.SIGTERM, lambda signum, frame: stopped.append(True))
        signal.signal(signal.SIGUSR1, lambda signum, frame: print('told', flush=True))
        print('at work', flush=True)
        while not stopped:
            time.sleep(0.1)
        print('by itself', flush=True)
        """,
    )
    nginx.wait_for_log("at work")
    pid = service(nginx)
    os.kill(pid, signal.SIGUSR1)
    nginx.wait_for_log("told")
    os.kill(pid, signal.SIGTERM)
    nginx.wait_for_log("by itself")
    wait_until(lambda: not alive(pid), lambda: nginx.log())


@pytest.mark.parametrize(
    "stubborn",
    [
        "while True:\n    try:\n        time.sleep(600)\n    except SystemExit:\n        pass",
        "import atexit\natexit.register(time.sleep, 600)\nsignal.pause()",
    ],
)
def test_shutdown_timeout_ends_it(nginx, stubborn):
    start(nginx, f"import signal, time\nprint('at work', flush=True)\n{stubborn}\n", "shutdown-timeout=1")
    nginx.wait_for_log("at work")
    pid = service(nginx)
    os.kill(pid, signal.SIGTERM)
    nginx.wait_for_log("Shutdown timeout expired; aborting daemon process 'service'")
    wait_until(lambda: not alive(pid), lambda: nginx.log())
    nginx.stop()


def test_processes_that_the_script_forks_can_be_terminated(nginx):
    start(
        nginx,
        """
        import multiprocessing, subprocess, time
        child = multiprocessing.get_context('fork').Process(target=time.sleep, args=(600,))
        child.start()
        time.sleep(0.1)
        child.terminate()
        child.join()
        program = subprocess.Popen(['sleep', '600'])
        program.terminate()
        print('children', child.exitcode is not None, program.wait(), flush=True)
        time.sleep(600)
        """,
    )
    nginx.wait_for_log("children True -15")
    assert len(nginx.daemons()) == 1
    assert nginx.log().count("children") == 1, "the process itself goes on"


def test_subscriptions_are_inert(nginx):
    start(
        nginx,
        """
        import mod_wsgi, signal
        def tell(name, **payload):
            print('told of', name, flush=True)
        mod_wsgi.subscribe_events(tell)
        mod_wsgi.subscribe_shutdown(tell)
        mod_wsgi.subscribe_signals(tell)
        print('at work', flush=True)
        signal.pause()
        """,
    )
    nginx.wait_for_log("at work")
    pid = service(nginx)
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not alive(pid), lambda: nginx.log())
    nginx.stop()
    assert "told of" not in nginx.log()


def test_requests_for_it_fail_at_once(nginx):
    start(nginx, WAITS)
    nginx.write("app.wsgi", "")
    nginx.configure(
        "wsgi_script_alias / {dir}/app.wsgi process-group=service;",
        http="wsgi_daemon_process service threads=0;"
        'wsgi_import_script {dir}/service.py process-group=service "application-group=%{GLOBAL}";',
    )
    nginx.reload()
    begin = time.monotonic()
    assert get(nginx.port, "/")[0] == 500
    assert time.monotonic() - begin < 5
    nginx.wait_for_log('daemon process called "service" takes no requests')


def test_it_ends_with_its_supervisor(nginx):
    start(nginx, WAITS)
    nginx.wait_for_log("at work")
    pid = service(nginx)
    os.kill(nginx.supervisors()[0].pid, signal.SIGKILL)
    wait_until(lambda: not alive(pid), lambda: nginx.log())
