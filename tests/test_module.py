"""The end of processes as applications see it, and what they write when nginx's own log moves on or they die."""

import os
import re
import signal
import subprocess
import urllib.request

import pytest

from client import Load, get
from processes import alive, wait_until

ENDS = """
import atexit, mod_wsgi, threading

stopping = threading.Event()
name = mod_wsgi.application_group or 'main'

@mod_wsgi.subscribe_shutdown
def on_shutdown(event, **payload):
    print('ENDS', name, event, payload)
    stopping.set()

@mod_wsgi.subscribe_events
def on_event(event, **payload):
    if event == 'process_stopping':
        print('ENDS', name, 'first', event)

def work():
    stopping.wait()
    print('ENDS', name, 'thread')

@atexit.register
def at_exit():
    print('ENDS', name, 'atexit', threading.active_count() > 0)

def fail():
    raise ValueError('ENDS ' + name + ' raised')

atexit.register(fail)
# Request threads are dummy threads to threading, and what they start inherits that they are daemons.
threading.Thread(target=work, daemon=False).start()
threading.Thread(target=threading.Event().wait, daemon=True).start()

def application(environ, start_response):
    start_response('200 OK', [])
    return [b'ok']
"""

SERVER = """
    wsgi_application_group "%{GLOBAL}";
    location /one { wsgi_application_group one; }
    location /two { wsgi_application_group two; }
    wsgi_script_alias /one {dir}/app.wsgi GROUP;
    wsgi_script_alias /two {dir}/app.wsgi GROUP;
    wsgi_script_alias / {dir}/app.wsgi GROUP;
    """


def start(nginx, group, app, options="", http=""):
    nginx.write("app.wsgi", app)
    nginx.configure(
        http=f"wsgi_daemon_process app threads=2 {options};\n{http}",
        server=SERVER.replace("GROUP", group),
        workers=1,
    )
    nginx.start()


def end(nginx, how):
    if how == "reload":
        nginx.reload()
    else:
        nginx.stop(how)


@pytest.mark.parametrize("how", [signal.SIGQUIT, signal.SIGTERM, "reload"])
def test_the_end_of_a_process_in_every_interpreter(nginx, mode, group, how):
    start(nginx, group, ENDS)
    for path in "/", "/one", "/two":
        assert get(nginx.port, path)[0] == 200
    end(nginx, how)
    log = nginx.log()
    seen = re.findall(r"\[error\] \d+#\d+: ENDS (.*)", log)
    reason = "shutdown_signal" if mode == "daemon" else ""
    for name in "one", "two", "main":
        own = [line.removeprefix(name + " ") for line in seen if line.startswith(name + " ")]
        payload = f"process_stopping {{'shutdown_reason': '{reason}'}}"
        assert own == ["first process_stopping", payload, "thread", "atexit True"], log
        assert log.count(f"ValueError: ENDS {name} raised") == 1
    # All are told before one ends, and the main interpreter ends last.
    told = [place for place, line in enumerate(seen) if "process_stopping" in line]
    ended = [place for place, line in enumerate(seen) if "atexit" in line]
    assert max(told) < min(ended), seen
    assert seen[-1].startswith("main atexit"), seen
    where = "daemon process 'app'" if mode == "daemon" else "embedded mode"
    steps = [f"Destroying sub-interpreters in {where}", f"Python runtime has shut down in {where}"]
    if mode == "daemon":
        steps = ["Shutdown requested for daemon process 'app'", *steps, "Exiting daemon process 'app'"]
    assert sorted(steps, key=log.index) == steps


def test_a_daemon_says_that_it_stops_while_requests_run(nginx):
    start(
        nginx,
        "process-group=app",
        """
import mod_wsgi, threading

stopping = threading.Event()
mod_wsgi.subscribe_shutdown(lambda name, **payload: stopping.set())

def application(environ, start_response):
    told = False
    if environ['PATH_INFO'] == '/wait':
        print('WAITING')
        told = stopping.wait(30)
    start_response('200 OK', [])
    return [b'told' if told else b'not told']
""",
        options="shutdown-timeout=60",
    )
    assert get(nginx.port, "/")[2] == b"not told"
    daemon = nginx.daemons()[0].pid
    with Load(nginx.port, "/wait", threads=1) as load:
        load.stopped.set()
        nginx.wait_for_log("WAITING")
        os.kill(daemon, signal.SIGTERM)
        wait_until(lambda: load.results, "the answer")
    assert load.results[0][3] == b"told", load.results
    wait_until(lambda: not alive(daemon), "the process to end")


@pytest.mark.parametrize("how", [signal.SIGQUIT, "reload"])
def test_nothing_that_is_written_at_the_end_is_lost(nginx, group, how):
    start(
        nginx,
        group,
        """
import atexit, os, sys

def at_exit():
    for number in range(5000):
        print('LINE', number)
        if number % 10 == 0:
            os.write(2, b'RAW %d\\n' % number)
    print('no end of line', end='')
    sys.__stdout__.write('buffered\\n')
    sys.__stderr__.write('last raw\\n')

atexit.register(at_exit)

def application(environ, start_response):
    start_response('200 OK', [])
    return [b'ok']
""",
    )
    assert get(nginx.port, "/")[2] == b"ok"
    end(nginx, how)
    log = nginx.log()
    assert [int(n) for n in re.findall(r"\d+#\d+: LINE (\d+)$", log, re.M)] == list(range(5000))
    assert [int(n) for n in re.findall(r"stderr: RAW (\d+)$", log, re.M)] == list(range(0, 5000, 10))
    assert re.search(r"#\d+: no end of line$", log, re.M)
    assert re.search(r"#\d+: .* stderr: last raw$", log, re.M)


def test_standard_error_follows_the_log(nginx, group):
    start(
        nginx,
        group,
        """
import os

def application(environ, start_response):
    os.write(2, environ['PATH_INFO'].encode() + b'\\n')
    start_response('200 OK', [])
    return [b'ok']
""",
    )
    assert get(nginx.port, "/before")[0] == 200
    nginx.wait_for_log(r"\[error\] \d+#\d+: .*stderr: /before$")
    nginx.error_log.rename(nginx.dir / "logs" / "old.log")
    nginx.send(signal.SIGUSR1)
    wait_until(nginx.error_log.exists, "the new log")
    # Workers open it a little later than the master.
    wait_until(
        lambda: get(nginx.port, "/after")[0] == 200
        and re.search(r"\[error\] \d+#\d+: .*stderr: /after$", nginx.log(), re.M),
        lambda: nginx.log(),
    )
    everything = nginx.log() + (nginx.dir / "logs" / "old.log").read_text()
    assert "\n/after" not in everything and not everything.startswith("/after")


@pytest.mark.parametrize("how", ["_sigabrt()", "_sigfpe()"])
def test_a_crash_leaves_its_traceback(nginx, group, how):
    start(
        nginx,
        group,
        f"""
import faulthandler

def application(environ, start_response):
    if environ['PATH_INFO'] == '/crash':
        faulthandler.enable(file=2)
        faulthandler.{how}
    start_response('200 OK', [])
    return [b'ok']
""",
    )
    assert get(nginx.port, "/")[0] == 200
    assert get(nginx.port, "/crash")[0] in (0, 502)
    nginx.wait_for_log(r"Fatal Python error: ")
    nginx.wait_for_log(r'app.wsgi", line \d+ in application')
    wait_until(lambda: get(nginx.port, "/")[0] == 200, "the successor")
    assert re.search(r"signal (6|8)\b", nginx.log()), nginx.log()


FLOOD = """
import os
def application(environ, start_response):
    os.write(2, b"n" * 99 + b"\\n" if environ["QUERY_STRING"] else (b"n" * 99 + b"\\n") * 3000 + b"LAST\\n")
    start_response("200 OK", [])
    return [b"ok"]
"""


def test_a_flood_on_standard_error_is_read_to_its_end(nginx):
    nginx.write("app.wsgi", FLOOD)
    nginx.configure('wsgi_script_alias / {dir}/app.wsgi;', workers=1)
    nginx.start()
    for times in range(1, 13):
        assert urllib.request.urlopen(nginx.url, timeout=60).read() == b"ok"
        wait_until(lambda: nginx.log().count("LAST") == times, "the last line")
    assert nginx.log().count("n" * 99) == 12 * 3000


def test_a_log_that_is_standard_error_survives_being_reopened(nginx):
    """What containers do: error_log /dev/stderr."""
    nginx.write("app.wsgi", FLOOD)
    nginx.configure('wsgi_script_alias / {dir}/app.wsgi;', workers=1, daemon="off")
    conf = nginx.conf.read_text().replace(f"error_log {nginx.error_log} info;", "error_log /dev/stderr info;")
    nginx.conf.write_text(conf)
    with open(nginx.error_log, "wb") as log:
        process = subprocess.Popen(
            [part for part in nginx.command() if part not in ("-e", str(nginx.error_log))], stderr=log
        )
    try:
        nginx.wait_for_port()
        for _ in range(3):
            assert urllib.request.urlopen(nginx.url + "/?short", timeout=60).read() == b"ok"
            before = nginx.log().count("reopening logs")
            os.kill(process.pid, signal.SIGUSR1)
            wait_until(lambda: nginx.log().count("reopening logs") > before, "the logs to be reopened")
        for _ in range(50):
            assert urllib.request.urlopen(nginx.url + "/?short", timeout=60).read() == b"ok"
        wait_until(lambda: nginx.log().count("n" * 99) == 53, lambda: nginx.log()[-2000:])
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
