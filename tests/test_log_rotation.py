"""Rotated logs: everybody writes to the new files, and nobody holds the old ones."""

import os
import re
import signal

import pytest

from client import exchange, parse
from processes import Process, alive, wait_until

APP = """
    import os

    def application(environ, start_response):
        name = environ['mod_wsgi.process_group']
        os.write(2, ('%s says %s\\n' % (name, environ['QUERY_STRING'])).encode())
        start_response('200 OK', [('Content-Type', 'text/plain')])
        return [b'said']
    """

# Groups, and where their logs are: the main one, and two servers' own. Two groups share a server's.
LOGS = {"common": "error.log", "one": "one.log", "more": "one.log", "two": "two.log"}


def start(nginx):
    nginx.write("app.wsgi", APP)
    server = """
        listen 127.0.0.1:{port};
        server_name {name};
        error_log {dir}/logs/{name}.log info;
        """
    server = server.replace("{port}", str(nginx.port))
    alias = "wsgi_script_alias /{name} {dir}/app.wsgi process-group={name};\n"
    process = "wsgi_daemon_process {name} processes=2 threads=2;\n"
    one = server + process + alias + (process + alias).replace("{name}", "more")
    nginx.configure(
        http=process.replace("{name}", "common")
        + "".join(f"server {{ {text} }}\n".replace("{name}", name) for name, text in
                  (("one", one), ("two", server + process + alias))),
        server=alias.replace("{name}", "common"),
    )
    nginx.start()


def say(nginx, name, what):
    host = {"common": "localhost", "more": "one"}.get(name, name)
    request = f"GET /{name}?{what} HTTP/1.0\r\nHost: {host}\r\n\r\n"
    assert parse(exchange(nginx.port, request.encode()))[::2] == (200, b"said"), nginx.log()


def said_in(nginx, name, what):
    """The files that have it."""
    line = re.compile(rf"\[error\] \d+#\d+: .*stderr: {name} says {what}$", re.M)
    logs = (nginx.dir / "logs").iterdir()
    return [path.name for path in logs if line.search(path.read_text(errors="replace"))]


def assert_all_say(nginx, what):
    for name, log in LOGS.items():
        say(nginx, name, what)
        wait_until(lambda: said_in(nginx, name, what), lambda: nginx.log()[-4000:])
        assert said_in(nginx, name, what) == [log]


def rotate(nginx, suffix):
    for name in {"access.log", *LOGS.values()}:
        path = nginx.dir / "logs" / name
        path.rename(path.with_suffix(suffix))
    done = nginx.run("-s", "reopen")
    assert done.returncode == 0, done.stderr
    wait_until(lambda: all((nginx.dir / "logs" / name).exists() for name in LOGS.values()), "new logs")
    # Workers open them a little later than the master.
    wait_until(lambda: not held(nginx, [Process(nginx.master), *nginx.workers()], suffix), "nginx to reopen")


def held(nginx, processes, suffix=""):
    """The logs that processes have open."""
    logs = str(nginx.dir / "logs")
    return {
        (process.pid, name)
        for process in processes
        for name in process.open_files().values()
        if name.startswith(logs) and name.endswith(suffix)
    }


def assert_dies_in_log(nginx):
    """The end of a process is the supervisor's to report."""
    victim = nginx.daemons()[0].pid
    os.kill(victim, signal.SIGKILL)
    nginx.wait_for_log(rf"Process '\w+' \(pid {victim}\) has died, terminated by signal 9")
    wait_until(lambda: not alive(victim) and len(nginx.daemons()) == 2 * len(LOGS), lambda: nginx.daemons())


@pytest.mark.parametrize("reload", [False, True], ids=["", "after-reload"])
def test_everybody_follows_a_rotation(nginx, reload):
    start(nginx)
    if reload:
        nginx.reload()
    assert_all_say(nginx, "start")
    for number in range(1, 3):
        rotate(nginx, f".{number}")
        assert_all_say(nginx, f"rotation-{number}")
        assert_dies_in_log(nginx)
        [supervisor] = nginx.supervisors()
        assert held(nginx, [supervisor], f".{number}") == set(), "the space of a deleted log is not freed"
        assert {name.rsplit("/", 1)[1] for _, name in held(nginx, [supervisor])} == set(LOGS.values())


def test_daemons_have_no_log_open(nginx):
    """What they write goes through the supervisor: no application can read or damage a log."""
    start(nginx)
    assert_all_say(nginx, "start")
    assert len(nginx.daemons()) == 2 * len(LOGS)
    assert held(nginx, nginx.daemons()) == set()
