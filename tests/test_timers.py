"""What replaces or ends a daemon process: timers, limits, signals; and what becomes of its requests."""

import concurrent.futures
import http.client
import os
import re
import signal
import time

import pytest

from processes import wait_until

SITE = 'wsgi_script_alias / {dir}/app.wsgi process-group=app%s; %s'

APP = """
import ctypes, os, sys, threading, time
import mod_wsgi

def stopping(event, shutdown_reason, **rest):
    print('stopping because of', shutdown_reason)

mod_wsgi.subscribe_shutdown(stopping)

def spin():
    while True:
        pass

def catch():
    try:
        spin()
    except mod_wsgi.RequestTimeout:
        return 'caught'

def work(environ):
    what = environ['PATH_INFO'].strip('/')
    if what:
        print('begin', what)
    if what == 'spin':
        spin()
    if what == 'catch':
        return catch()
    if what == 'sleep':
        time.sleep(1000)
    if what == 'hold':
        ctypes.PyDLL(None).sleep(1000)
    if what == 'nap':
        time.sleep(float(environ['QUERY_STRING']))
    return what or str(environ['wsgi.run_once'])

def application(environ, start_response):
    answer = work(environ)
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [('%d %s' % (os.getpid(), answer)).encode()]
"""


def start(nginx, options, server="", group="", app=APP, http=""):
    nginx.write("app.wsgi", app)
    nginx.configure(SITE % (group, server), http=f"wsgi_daemon_process app {options};{http}")
    nginx.start()


def request(nginx, path="/"):
    connection = http.client.HTTPConnection("127.0.0.1", nginx.port, timeout=60)
    connection.request("GET", path)
    response = connection.getresponse()
    answer = response.read().decode()
    connection.close()
    return response.status, answer


def pid_of(nginx, path="/"):
    status, answer = request(nginx, path)
    assert status == 200, (status, answer, nginx.log()[-2000:])
    return int(answer.split()[0])


def only_process(nginx):
    """The pid of the group's process, once there is only one."""
    wait_until(lambda: len(nginx.daemons()) == 1, lambda: nginx.daemons())
    return nginx.daemons()[0].pid


def new_pid(nginx, old, path="/"):
    """Waits until another process answers; every answer until then is a good one."""
    found = []

    def other():
        found.append(pid_of(nginx, path))
        return found[-1] != old

    wait_until(other, lambda: f"a process instead of {old}: {nginx.log()[-3000:]}")
    return found[-1]


def test_signals_while_a_successor_starts_say_nothing_more(nginx):
    start(nginx, "threads=3", app="import time\ntime.sleep(1)\n" + APP)
    pid = pid_of(nginx)
    for _ in range(2):
        for _ in range(3):
            os.kill(pid, signal.SIGUSR1)
            time.sleep(0.1)
        pid = new_pid(nginx, pid)
    assert nginx.log().count("graceful restart requested") == 2, nginx.log()


def stopping(nginx, reason):
    nginx.wait_for_log(f"stopping because of {reason}")


def test_a_process_is_replaced_after_its_requests(nginx):
    start(nginx, "threads=3 maximum-requests=10")
    pids = [pid_of(nginx) for _ in range(10)]
    assert len(set(pids)) == 1
    new_pid(nginx, pids[0])
    nginx.wait_for_log("Maximum requests reached for daemon process 'app'")
    stopping(nginx, "maximum_requests")


def test_without_the_limit_a_process_stays(nginx):
    start(nginx, "threads=3")
    assert len({pid_of(nginx) for _ in range(50)}) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_process_that_is_told_to_end_is_followed_at_once_each_time(nginx, number):
    start(nginx, "threads=3")
    waits = []
    for _ in range(5):
        pid = pid_of(nginx)
        # One that ends sooner is taken for one that cannot start.
        time.sleep(1.2)
        began = time.monotonic()
        os.kill(pid, number)
        new_pid(nginx, pid)
        waits.append(time.monotonic() - began)
    # The pauses of a crash loop would be 0, 0.2, 0.4, 0.8 and 1.6 seconds.
    assert min(waits[3:]) < 0.7, waits


def test_processes_for_one_request_are_no_crash_loop(nginx):
    app = APP.replace("    if what == 'spin'", "    if what == 'die':\n        os._exit(3)\n    if what == 'spin'")
    start(nginx, "threads=1 maximum-requests=1", app=app)
    for _ in range(9):
        pid_of(nginx)
    began = time.monotonic()
    assert request(nginx, "/die")[0] == 502
    pid_of(nginx)
    # After 9 deaths the pause would be 10 seconds.
    assert time.monotonic() - began < 5, nginx.log()


@pytest.mark.parametrize("what", ["os.execv('/bin/sleep', ['sleep', '600'])", "os.closerange(3, 1000)"])
def test_a_process_that_has_become_something_else_is_replaced(nginx, what):
    app = APP.replace("    if what == 'spin'", f"    if what == 'leave':\n        {what}\n    if what == 'spin'")
    start(nginx, "threads=3 shutdown-timeout=300", app=app)
    pid = pid_of(nginx)
    began = time.monotonic()
    assert request(nginx, "/leave")[0] == 502
    assert pid_of(nginx) != pid
    assert time.monotonic() - began < 10, nginx.log()
    # One whose threads have noticed ends by itself.
    killed = f"daemon process {pid} of group \"app\" has lost its line to the supervisor: killed"
    nginx.wait_for_log(rf"{killed}|\(pid {pid}\) terminated normally")


def test_a_process_for_one_request_gets_no_second(nginx):
    start(nginx, "threads=1 maximum-requests=1")
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: request(nginx), range(24)))
    assert {status for status, _ in answers} == {200}, answers
    assert {answer.split()[1] for _, answer in answers} == {"True"}
    assert len({answer.split()[0] for _, answer in answers}) == 24, "a process for each"


def test_a_process_is_replaced_at_its_interval(nginx):
    start(nginx, "threads=3 restart-interval=1")
    pid = pid_of(nginx)
    pid = new_pid(nginx, pid)
    new_pid(nginx, pid)
    nginx.wait_for_log("restart timer expired in process 'app'")
    stopping(nginx, "restart_interval")


def test_an_idle_process_is_replaced_by_an_empty_one(nginx):
    start(nginx, "threads=3 inactivity-timeout=1")
    pid = pid_of(nginx)
    stopping(nginx, "inactivity_timeout")
    nginx.wait_for_log("idle inactivity timer expired in process 'app'")
    fresh = only_process(nginx)
    assert fresh != pid
    loaded = re.findall("Loading WSGI script", nginx.log())
    assert len(loaded) == 1, "the new process has nothing loaded"
    assert pid_of(nginx) == fresh, "a process without a request is not idle"


def test_a_request_that_writes_is_active_and_one_that_hangs_is_not(nginx):
    app = """
import os, time
def application(environ, start_response):
    start_response('200 OK', [])
    if environ['PATH_INFO'] == '/write':
        for _ in range(20):
            time.sleep(0.2)
            yield b'.'
    if environ['PATH_INFO'] == '/hang':
        time.sleep(1000)
    yield str(os.getpid()).encode()
"""
    start(nginx, "threads=3 inactivity-timeout=2 graceful-timeout=1 shutdown-timeout=1", "wsgi_buffering off;", app=app)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        status, answer = request(nginx, "/write")
        assert (status, "idle inactivity" in nginx.log()) == (200, False)
        hanging = pool.submit(request, nginx, "/hang")
        nginx.wait_for_log("idle inactivity timer expired")
        assert hanging.result()[0] == 502
    assert only_process(nginx) != int(answer.strip("."))


def test_ignored_requests_do_not_keep_a_process_active(nginx):
    server = "location /quiet { wsgi_ignore_activity on; }"
    start(nginx, "threads=3 inactivity-timeout=2", server)
    pid = pid_of(nginx)
    begin = time.monotonic()
    new_pid(nginx, pid, "/quiet")
    assert time.monotonic() - begin > 1
    nginx.wait_for_log("idle inactivity timer expired")


@pytest.mark.parametrize("group", ["", " application-group=%%{GLOBAL}".replace("%%", "%")], ids=["sub", "main"])
def test_a_request_that_takes_too_long_is_interrupted(nginx, group):
    group = f' "{group.strip()}"' if group else ""
    start(nginx, "threads=2 request-timeout=1 interrupt-timeout=30", group=group)
    pid = pid_of(nginx)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        spinning = pool.submit(request, nginx, "/spin")
        wait_until(lambda: spinning.done() or pid_of(nginx) != pid, "the end of the request")
        assert spinning.result() == (504, "")
    assert request(nginx, "/catch") == (200, f"{pid} caught")
    assert pid_of(nginx) == pid, "the process lives"
    log = nginx.log()
    assert re.search(r"request time limit exceeded in process 'app': request thread \d, running \"GET /spin\"", log)
    assert re.search(r"app.wsgi\", line \d+, in spin", log)
    assert "Injected RequestTimeout into request thread" in log


def test_an_import_that_takes_too_long_is_interrupted(nginx):
    start(nginx, "threads=1 request-timeout=1 interrupt-timeout=30", app="while True:\n    pass\n")
    assert request(nginx) == (504, "")
    nginx.wait_for_log(r'app.wsgi", line \d, in <module>')
    nginx.write("app.wsgi", APP)
    pid_of(nginx)


def test_an_interrupted_response_breaks_off(nginx):
    app = """
import mod_wsgi
def application(environ, start_response):
    write = start_response('200 OK', [])
    write(b'x')
    while True:
        pass
"""
    start(nginx, "threads=1 request-timeout=1 interrupt-timeout=30", "wsgi_buffering off;", app=app)
    with pytest.raises(http.client.IncompleteRead):
        request(nginx)
    nginx.wait_for_log("RequestTimeout")


def test_the_next_request_of_a_thread_is_not_interrupted(nginx):
    """The exception is meant for a request that is in C and ends there; it goes with it."""
    start(nginx, "threads=1 request-timeout=1 interrupt-timeout=30")
    for _ in range(2):
        status, _ = request(nginx, "/nap?1.6")
        assert status in (200, 504)
        for _ in range(20):
            assert request(nginx)[0] == 200


@pytest.mark.parametrize("interrupt", ["", "interrupt-timeout=1"], ids=["at once", "after an interrupt"])
def test_a_request_stuck_in_c_has_its_process_replaced(nginx, interrupt):
    start(nginx, f"threads=2 request-timeout=1 {interrupt} graceful-timeout=30 shutdown-timeout=1")
    pid = pid_of(nginx)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        stuck = pool.submit(request, nginx, "/sleep")
        new_pid(nginx, pid)
        status, _ = stuck.result()
        assert status == 502
    nginx.wait_for_log("Daemon process request time limit exceeded in process 'app'")
    assert re.search(r"Stack of request thread \d, running \"GET /sleep\".*", nginx.log())
    stopping(nginx, "request_timeout")
    nginx.wait_for_log("Requests did not complete; forcing shutdown")
    nginx.wait_for_log("Shutdown timeout expired; aborting daemon process 'app'")
    only_process(nginx)


def test_a_process_in_which_somebody_keeps_the_gil_is_ended(nginx):
    start(nginx, "threads=2 deadlock-timeout=2")
    pid = pid_of(nginx)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        holding = pool.submit(request, nginx, "/hold")
        wait_until(lambda: "deadlock timer expired" in nginx.log(), "the deadlock to be noticed")
        status, _ = holding.result()
        assert status == 502 or status == 504, status
    nginx.wait_for_log(r"deadlock timer expired, stopping process 'app'")
    if "cannot show stacks" not in nginx.log():
        assert re.search(r'stderr:   File "[^"]*app.wsgi", line \d+ in work', nginx.log())
    assert only_process(nginx) == pid_of(nginx) != pid


def test_a_process_that_was_stopped_for_long_is_not_deadlocked(nginx):
    start(nginx, "threads=2 deadlock-timeout=3")
    pid = pid_of(nginx)
    os.kill(pid, signal.SIGSTOP)
    # The time is what is tested.
    time.sleep(8)
    os.kill(pid, signal.SIGCONT)
    assert pid_of(nginx) == pid
    time.sleep(2)
    assert pid_of(nginx) == pid and "deadlock" not in nginx.log()


def test_a_replaced_process_that_does_nothing_more_is_killed(nginx):
    start(nginx, "threads=2 graceful-timeout=0 shutdown-timeout=1")
    pid = pid_of(nginx)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        napping = pool.submit(request, nginx, "/nap?1000")
        nginx.wait_for_log("begin nap")
        os.kill(pid, signal.SIGUSR1)
        wait_until(lambda: "takes over from process" in nginx.log() or None, "the successor")
        os.kill(pid, signal.SIGSTOP)
        assert napping.result()[0] == 502
    assert only_process(nginx) != pid


def test_an_application_that_does_not_come_up_is_ended(nginx):
    start(nginx, "threads=2 startup-timeout=1 shutdown-timeout=1", app="import time\ntime.sleep(1000)\n" + APP)
    pid = only_process(nginx)
    assert request(nginx)[0] in (500, 502)
    nginx.wait_for_log("Application startup timer expired in daemon process 'app'")
    nginx.wait_for_log(r'app.wsgi", line 2, in <module>')
    nginx.write("app.wsgi", APP)
    assert pid_of(nginx) != pid


def test_a_loaded_script_ends_the_startup_timer(nginx):
    start(nginx, "threads=2 startup-timeout=1 request-timeout=3")
    pid = pid_of(nginx)
    assert request(nginx, "/nap?2")[1] == f"{pid} nap"
    assert "startup timer" not in nginx.log()


@pytest.mark.parametrize(
    "options, reason",
    [("graceful-timeout=2", "graceful_signal"), ("graceful-timeout=60 eviction-timeout=2", "eviction_signal")],
)
def test_sigusr1_replaces_a_process(nginx, options, reason):
    start(nginx, f"threads=3 shutdown-timeout=1 {options}")
    pid = pid_of(nginx)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        short, endless = pool.submit(request, nginx, "/nap?1"), pool.submit(request, nginx, "/sleep")
        nginx.wait_for_log("begin nap")
        nginx.wait_for_log("begin sleep")
        os.kill(pid, signal.SIGUSR1)
        new_pid(nginx, pid)
        assert short.result() == (200, f"{pid} nap"), "what runs finishes in the old process"
        assert endless.result()[0] == 502
    stopping(nginx, reason)
    nginx.wait_for_log("Requests did not complete; forcing shutdown of process 'app'")
    nginx.wait_for_log(r'Stack of request thread \d, running "GET /sleep"')
    only_process(nginx)


def test_an_idle_process_ends_as_soon_as_it_is_replaced(nginx):
    start(nginx, "threads=3")
    pid = pid_of(nginx)
    os.kill(pid, signal.SIGUSR1)
    nginx.wait_for_log("Requests have completed; stopping process 'app'")
    assert only_process(nginx) != pid
    stopping(nginx, "graceful_signal")


def test_sigxcpu_replaces_a_process(nginx):
    start(nginx, "threads=3")
    pid = pid_of(nginx)
    os.kill(pid, signal.SIGXCPU)
    new_pid(nginx, pid)
    nginx.wait_for_log("Exceeded CPU time limit in process 'app'")
    stopping(nginx, "cpu_time_limit")


def test_sigterm_ends_a_process_and_the_next_one_starts_at_once(nginx):
    start(nginx, "threads=3 shutdown-timeout=30")
    pid = pid_of(nginx)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        napping = pool.submit(request, nginx, "/nap?2")
        nginx.wait_for_log("begin nap")
        os.kill(pid, signal.SIGTERM)
        new_pid(nginx, pid)
        assert not napping.done(), "the old process still finishes its request"
        assert napping.result() == (200, f"{pid} nap")
    stopping(nginx, "shutdown_signal")
    only_process(nginx)


def test_other_signals_are_events(nginx):
    app = APP + "\nmod_wsgi.subscribe_signals(lambda event, **payload: print(event, sorted(payload.items())))\n"
    start(nginx, "threads=3", app=app)
    pid = pid_of(nginx)
    os.kill(pid, signal.SIGHUP)
    nginx.wait_for_log(r"process_signal \[\('signame', 'SIGHUP'\), \('signum', 1\)\]")
    os.kill(pid, signal.SIGUSR2)
    nginx.wait_for_log(r"process_signal \[\('signame', 'SIGUSR2'\), \('signum', 12\)\]")
    assert pid_of(nginx) == pid


def test_a_successor_that_does_not_load_leaves_the_old_process(nginx):
    start(nginx, "threads=3 processes=2", "wsgi_script_reloading off;")
    pids = set()
    wait_until(lambda: nginx.log().count("is ready") == 2, "both processes")
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        pids |= set(pool.map(lambda _: pid_of(nginx, "/nap?1"), range(2)))
    assert len(pids) == 2
    nginx.write("app.wsgi", "raise RuntimeError('broken')")
    for pid in pids:
        os.kill(pid, signal.SIGUSR1)
    goes_on = r"daemon process \d+ of group \"app\" goes on with what it has loaded \(graceful_signal\)"
    wait_until(lambda: len(re.findall(goes_on, nginx.log())) == 2, lambda: nginx.log()[-2000:])
    assert "RuntimeError: broken" in nginx.log()
    for _ in range(20):
        assert pid_of(nginx) in pids
    nginx.write("app.wsgi", APP)
    os.kill(min(pids), signal.SIGUSR1)
    wait_until(lambda: min(pids) not in {pid_of(nginx) for _ in range(4)}, "the successor")
