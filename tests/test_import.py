"""Scripts that are loaded before any request: when, where, how often, and what a reload waits for."""

import os
import re
import signal
import time

import pytest

from client import get
from processes import alive, wait_until

APP = """
    import os, sys

    def application(environ, start_response):
        start_response('200 OK', [('Content-Type', 'text/plain')])
        return [b'%s %d' % (getattr(sys, 'imported', 'nothing').encode(), os.getpid())]
    """

# sys is one module in all the scripts of an interpreter.
MARK = "import sys\nsys.imported = {!r}\nprint('imported', {!r}, flush=True)\n"


def configure(nginx, group, http="", server="", options="threads=4", **settings):
    nginx.write("app.wsgi", APP)
    nginx.configure(
        http=f"wsgi_daemon_process app {options};" + http,
        server=f"wsgi_script_alias / {{dir}}/app.wsgi {group}; wsgi_application_group a;" + server,
        **settings,
    )


def import_script(group, name="mark.py"):
    return f"wsgi_import_script {{dir}}/{name} {group} application-group=a;"


def ask(nginx, path="/"):
    status, _, body = get(nginx.port, path)
    assert status == 200, (status, nginx.log())
    word, pid = body.decode().split()
    return word, int(pid)


def loads(nginx, script):
    return len(re.findall(rf"Loading WSGI script '.*/{script}'", nginx.log()))


@pytest.mark.parametrize("master", ["on", "off"])
def test_every_process_loads_the_script_before_it_is_asked(nginx, mode, group, master):
    nginx.write("mark.py", MARK.format("one", "one"))
    processes = 1 if master == "off" and mode == "embedded" else 2
    configure(nginx, group, import_script(group), options="threads=1 processes=2", master=master)
    nginx.start()
    wait_until(lambda: nginx.log().count("imported one") == processes, lambda: nginx.log())
    if mode == "daemon":
        pids = {process.pid for process in nginx.daemons()}
    else:
        pids = {process.pid for process in nginx.workers()} or {nginx.master}
    assert {int(pid) for pid in re.findall(r"(\d+)#\d+: imported one", nginx.log())} == pids
    assert ask(nginx)[0] == "one"


def test_requests_wait_for_it(nginx, group):
    nginx.write("mark.py", "import sys, time\ntime.sleep(1)\nsys.imported = 'late'\n")
    configure(nginx, group, import_script(group))
    nginx.start()
    assert {ask(nginx)[0] for _ in range(8)} == {"late"}


def test_a_change_of_the_script_alone_changes_nothing(nginx, group):
    nginx.write("mark.py", MARK.format("one", "one"))
    configure(nginx, group, import_script(group), workers=1)
    nginx.start()
    first = ask(nginx)
    nginx.write("mark.py", MARK.format("two", "two"))
    os.utime(nginx.dir / "mark.py", (1, 1))
    assert [ask(nginx) for _ in range(4)] == [first] * 4
    assert first[0] == "one" and loads(nginx, "mark.py") == 1


def test_a_process_that_died_is_followed_by_one_that_has_loaded_it(nginx):
    group = "process-group=app"
    nginx.write("mark.py", MARK.format("one", "one"))
    configure(nginx, group, import_script(group))
    nginx.start()
    _, pid = ask(nginx)
    os.kill(pid, signal.SIGKILL)
    word, successor = ask(nginx)
    assert word == "one" and successor != pid


def test_a_successor_loads_everything_once(nginx):
    """The list, what its predecessor has loaded besides, and the script that has changed."""
    group = "process-group=app"
    nginx.write("mark.py", MARK.format("one", "one"))
    for name in "early.wsgi", "late.wsgi":
        nginx.write(name, APP)
    nginx.configure(
        f"""wsgi_script_alias /early {{dir}}/early.wsgi {group} application-group=a;
        wsgi_script_alias /late {{dir}}/late.wsgi {group};
        wsgi_application_group a;""",
        http="wsgi_daemon_process app threads=4 reload-wait=30;" + import_script(group),
    )
    nginx.start()
    _, old = ask(nginx, "/late")
    assert ask(nginx, "/early") == ("one", old)
    scripts = "mark.py", "early.wsgi", "late.wsgi"
    assert [loads(nginx, script) for script in scripts] == [1, 1, 1], nginx.log()
    os.utime(nginx.dir / "early.wsgi", (1, 1))
    word, new = ask(nginx, "/early")
    assert word == "one" and new != old
    assert ask(nginx, "/late") == ("one", new)
    assert [loads(nginx, script) for script in scripts] == [2, 2, 2], nginx.log()


def test_a_successor_does_not_take_over_when_a_script_of_the_list_has_changed_for_the_worse(nginx):
    group = "process-group=app"
    nginx.write("app.wsgi", APP)
    nginx.configure(
        "wsgi_script_alias / {dir}/app.wsgi process-group=app application-group=a;",
        http="wsgi_daemon_process app threads=4 reload-wait=30;",
    )
    nginx.start()
    first = ask(nginx)
    nginx.write("app.wsgi", "raise RuntimeError('broken')")
    assert ask(nginx) == first
    nginx.wait_for_log("goes on with what it has loaded")
    assert nginx.log().count("RuntimeError: broken") == 1, "tried once"


def test_a_successor_can_load_what_asks_for_the_main_interpreter(nginx):
    """PyGILState_Ensure() on Python's main thread, as callbacks from C do."""
    callback = "import ctypes, sys\nsys.imported = str(ctypes.PYFUNCTYPE(ctypes.c_int)(lambda: 42)())\n"
    nginx.write("app.wsgi", APP)
    nginx.configure(
        "wsgi_script_alias / {dir}/app.wsgi process-group=app;",
        http='wsgi_daemon_process app threads=4 reload-wait=30; wsgi_application_group "%{GLOBAL}";',
    )
    nginx.start()
    assert ask(nginx)[0] == "nothing"
    script = nginx.dir / "app.wsgi"
    script.write_text(callback + script.read_text())
    os.utime(script, (1, 1))
    begin = time.monotonic()
    assert ask(nginx)[0] == "42"
    assert time.monotonic() - begin < 20


def test_a_worker_that_still_imports_ends_in_time(nginx):
    nginx.write("mark.py", "import time\nprint('asleep', flush=True)\ntime.sleep(600)\n")
    group = '"process-group=%{GLOBAL}"'
    configure(nginx, group, import_script(group), workers=1)
    nginx.start()
    nginx.wait_for_log("asleep")
    begin = time.monotonic()
    nginx.stop()
    assert time.monotonic() - begin < 15


def test_workers_that_embed_nothing_do_not_start_python(nginx):
    configure(nginx, "process-group=app", import_script("process-group=app"), workers=1)
    nginx.write("mark.py", MARK.format("one", "one"))
    nginx.start()
    assert ask(nginx)[0] == "one"
    assert [process.threads for process in nginx.workers()] == [1]


def test_import_scripts_run_although_embedded_requests_are_restricted(nginx):
    group = '"process-group=%{GLOBAL}"'
    nginx.write("mark.py", MARK.format("one", "one"))
    configure(nginx, group, import_script(group) + "wsgi_restrict_embedded on;", workers=1)
    nginx.start()
    nginx.wait_for_log("imported one")
    assert get(nginx.port, "/")[0] == 500


SLOW = """
    import os, time
    time.sleep(2)

    def application(environ, start_response):
        start_response('200 OK', [('Content-Type', 'text/plain')])
        return [b'slow %d' % os.getpid()]
    """


def configure_slow(nginx, script=SLOW):
    nginx.write("app.wsgi", script)
    nginx.configure(
        "wsgi_script_alias / {dir}/app.wsgi process-group=app application-group=a;",
        http="wsgi_daemon_process app threads=4 processes=2;",
    )


def ask_until(nginx, done):
    """Asks all the time; the pids that have answered and the longest time it took."""
    pids, slowest = set(), 0
    while not done(pids):
        begin = time.monotonic()
        pids.add(ask(nginx)[1])
        slowest = max(slowest, time.monotonic() - begin)
    return pids, slowest


def test_no_request_waits_for_a_reload(nginx):
    configure_slow(nginx)
    nginx.start()
    old = ask_until(nginx, lambda pids: len(pids) == 1)[0]
    for _ in range(2):
        old = {process.pid for process in nginx.daemons()}
        nginx.send(signal.SIGHUP)
        until = time.monotonic() + 60

        def moved(pids):
            assert time.monotonic() < until, nginx.log()
            return pids - old

        slowest = ask_until(nginx, moved)[1]
        print(f"slowest request during a reload: {slowest * 1000:.0f} ms")
        assert slowest < 0.5, "a process needs 2 s until it is ready"
    assert "not ready after" not in nginx.log()


def test_no_request_waits_for_an_upgrade(nginx):
    configure_slow(nginx)
    nginx.start()
    ask(nginx)
    old_workers = {process.pid for process in nginx.workers()}
    old_master, old = nginx.master, {process.pid for process in nginx.daemons()}
    nginx.send(signal.SIGUSR2)
    new_pid_file = wait_until(lambda: (nginx.dir / "nginx.pid.oldbin").exists(), "the new binary")
    assert new_pid_file
    nginx.master = int(wait_until(lambda: nginx.pid_file.exists() and nginx.pid_file.read_text().strip(), "its pid", 60))
    # The new workers share the listening socket from their first moment on.
    until = time.monotonic() + 60

    def moved(pids):
        assert time.monotonic() < until, nginx.log()
        return pids - old

    slowest = ask_until(nginx, moved)[1]
    assert slowest < 0.5, "a process needs 2 s until it is ready"
    os.kill(old_master, signal.SIGQUIT)
    wait_until(lambda: not alive(old_master) and not any(map(alive, old_workers)), "the old nginx to end", 60)


def test_a_reload_ends_its_waiting_when_nginx_is_told_to_stop(nginx):
    configure_slow(nginx)
    nginx.start()
    ask(nginx)
    nginx.write("app.wsgi", "import time\ntime.sleep(600)")
    nginx.send(signal.SIGHUP)
    wait_until(lambda: len(nginx.supervisors()) == 2, "the new supervisor")
    begin = time.monotonic()
    nginx.stop(signal.SIGTERM)
    assert time.monotonic() - begin < 20


def test_a_reload_does_not_wait_for_ever(nginx, soak):
    if not soak:
        pytest.skip("takes a minute: SOAK=1")
    configure_slow(nginx)
    nginx.start()
    ask(nginx)
    nginx.write("app.wsgi", "import time\ntime.sleep(600)")
    nginx.send(signal.SIGHUP)
    nginx.wait_for_log(r'\[warn\].*not ready after 60 s, nginx goes on without them: group "app"$', 90)
    wait_until(lambda: len(nginx.supervisors()) == 1, lambda: nginx.log(), 60)


def test_a_reload_does_not_wait_for_a_group_that_crashes(nginx):
    configure_slow(nginx)
    nginx.start()
    ask(nginx)
    nginx.write("app.wsgi", "import os\nos._exit(1)")
    begin = time.monotonic()
    nginx.send(signal.SIGHUP)
    wait_until(lambda: len(nginx.supervisors()) == 1 and "has died" in nginx.log(), lambda: nginx.log(), 60)
    assert time.monotonic() - begin < 20
    assert "nginx goes on without them" not in nginx.log()
