"""What a review of the nginx side found, as it must be."""

import base64
import errno
import json
import os
import re
import select
import signal
import socket
import statistics
import threading
import time
from contextlib import closing, contextmanager

import pytest

from client import get, parse
from nginx import IS_ROOT
from processes import alive, descendants, wait_until

# /hold?NAME says that it runs, and goes on when the test lets it.
APP = """
    import atexit, errno, json, os, sys, threading, time

    STATE = '{dir}/state/'

    def mark(name, text=''):
        with open(STATE + name + '.new', 'w') as f:
            f.write(text)
        os.rename(STATE + name + '.new', STATE + name)

    def hold(name):
        mark('running-' + name, str(os.getpid()))
        deadline = time.monotonic() + 60
        while not os.path.exists(STATE + 'go-' + name) and time.monotonic() < deadline:
            time.sleep(0.01)

    def application(environ, start_response):
        path, query = environ['PATH_INFO'], environ['QUERY_STRING']
        action = getattr(Actions, path.strip('/') or 'hello')
        status, body = action(environ, query)
        start_response(status, [('Content-Type', 'text/plain')])
        return body

    class Actions:
        def hello(environ, query):
            return '200 OK', [b'hello']

        def pid(environ, query):
            return '200 OK', [b'%d' % os.getpid()]

        def hold(environ, query):
            hold(query)
            return '200 OK', [b'held']

        def sleep(environ, query):
            mark('running-sleep')
            time.sleep(float(query))
            return '200 OK', [b'slept']

        def mark(environ, query):
            mark(query)
            return '200 OK', [b'marked']

        def size(environ, query):
            return '200 OK', [b'x' * int(query)]

        def status(environ, query):
            return query + ' Odd', [b'odd']

        def echo(environ, query):
            return '200 OK', [environ['wsgi.input'].read()]

        def stream(environ, query):
            def blocks():
                for i in range(8):
                    yield b'block %d\\n' % i
                    time.sleep(0.5)
            return '200 OK', blocks()

        def held_stream(environ, query):
            def blocks():
                yield b'first'
                hold(query)
                yield b'last'
            return '200 OK', blocks()

        def user(environ, query):
            return '200 OK', [repr(environ.get('REMOTE_USER')).encode()]

        def system(environ, query):
            os.system('sleep 30 >/dev/null 2>&1 &')
            return '200 OK', [b'started']

        def flood(environ, query):
            def write():
                end = time.monotonic() + float(query)
                while time.monotonic() < end:
                    sys.stderr.write('x' * 20 + '\\n')
                mark('flooded')
            threading.Thread(target=write, daemon=True).start()
            return '200 OK', [b'flooding']

        def slow_exit(environ, query):
            atexit.register(time.sleep, 1.5)
            return '200 OK', [b'registered']

        def truncate(environ, query):
            found = []
            for name in os.listdir('/proc/self/fd'):
                try:
                    if not os.readlink('/proc/self/fd/' + name).startswith('/memfd:'):
                        continue
                except OSError:
                    continue
                try:
                    os.ftruncate(int(name), 0)
                    found.append(0)
                except OSError as error:
                    found.append(error.errno)
            return '200 OK', [json.dumps(found).encode()]
    """


def start(nginx, server, options="", http="", workers=2):
    """Starts with the application; {app} in the texts is its script."""
    script = str(nginx.dir / "app.wsgi")
    nginx.write("app.wsgi", APP.replace("{dir}", str(nginx.dir)))
    state = nginx.dir / "state"
    state.mkdir()
    state.chmod(0o777)
    nginx.configure(
        http=f"wsgi_daemon_process app {options}; {http}".replace("{app}", script),
        server=server.replace("{app}", script),
        workers=workers,
    )
    nginx.start()
    wait_until(lambda: len(nginx.workers()) == workers, "the workers")


def state(nginx, name):
    return nginx.dir / "state" / name


def wait_for_state(nginx, name, seconds=30):
    path = state(nginx, name)
    wait_until(path.exists, lambda: f"{name}: {nginx.log()}", seconds)
    return path.read_text()


def let_go(nginx, name):
    state(nginx, f"go-{name}").touch()


def connect(port, timeout=30):
    return socket.create_connection(("127.0.0.1", port), timeout=timeout)


def send(port, path, method="GET", headers="", body=b""):
    """Sends a request, and leaves the answer to come."""
    s = connect(port)
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n"
    s.sendall(head.encode() + body)
    return s


def receive(s):
    parts = []
    while part := s.recv(65536):
        parts.append(part)
    return parse(b"".join(parts))


@contextmanager
def held(nginx, name, path="/hold", port=None):
    """A request that takes a thread until the end of the block; gives its connection."""
    with closing(send(port or nginx.port, f"{path}?{name}")) as s:
        try:
            wait_for_state(nginx, f"running-{name}")
            yield s
        finally:
            let_go(nginx, name)


def open_in_workers(nginx):
    return sum(worker.descriptors for worker in nginx.workers())


def timed(nginx, path):
    started = time.monotonic()
    status, _, body = get(nginx.port, path)
    return status, body, time.monotonic() - started


def test_a_waiting_request_is_served_although_another_workers_client_has_gone(nginx):
    port = nginx.tls_port
    start(
        nginx,
        f"listen 127.0.0.1:{port} reuseport; wsgi_script_alias / {{app}} process-group=app;",
        "processes=1 threads=1",
        workers=3,
    )
    for trial in range(5):
        name = f"trial{trial}"
        with held(nginx, name, port=port) as s:
            before = open_in_workers(nginx)
            gone = [send(port, "/") for _ in range(12)]
            wait_until(lambda: open_in_workers(nginx) >= before + 12, "the requests to be taken")
            for client in gone:
                client.close()
            wait_until(lambda: open_in_workers(nginx) <= before, "the clients to be gone")
            waiting = send(port, "/")
            wait_until(lambda: open_in_workers(nginx) > before, "the request to be taken")
            let_go(nginx, name)
            assert receive(s)[0] == 200
            with closing(waiting):
                waiting.settimeout(5)
                assert receive(waiting)[::2] == (200, b"hello"), trial


def test_shared_memory_cannot_be_truncated_by_a_daemon(nginx):
    start(nginx, "wsgi_script_alias / {app} process-group=app;", "processes=1 threads=2")
    workers = {worker.pid for worker in nginx.workers()}
    supervisors = {supervisor.pid for supervisor in nginx.supervisors()}
    status, _, body = get(nginx.port, "/truncate")
    assert status == 200
    assert json.loads(body) and set(json.loads(body)) == {errno.EPERM}
    daemon = int(get(nginx.port, "/pid")[2])
    os.kill(daemon, signal.SIGKILL)
    wait_until(lambda: not alive(daemon), "the daemon's end")
    for _ in range(8):
        assert get(nginx.port, "/")[::2] == (200, b"hello")
    assert {worker.pid for worker in nginx.workers()} == workers
    assert {supervisor.pid for supervisor in nginx.supervisors()} == supervisors


SCRIPT = """
    def application(environ, start_response):
        start_response('200 OK', [])
        return [b'run by WSGI']
    """


@pytest.mark.parametrize("path", ["/app/app.py", "/app/app.py?x=1", "/app/sub/app.py", "/app/sub/../app.py?x=1"])
def test_an_alias_beside_a_root_applies_in_nested_blocks(nginx, group, path):
    nginx.write("srv/app/app.py", SCRIPT)
    nginx.write("srv/app/sub/app.py", SCRIPT)
    start(
        nginx,
        f"""
        wsgi_script_alias / {{app}} {group};
        location /app {{
            root {{dir}}/srv;
            wsgi_script_alias /app {{dir}}/srv/app {group};
            if ($arg_x) {{ set $foo 1; }}
            location /app/sub {{ wsgi_pass_authorization on; }}
        }}
        """,
    )
    status, _, body = get(nginx.port, path)
    assert b"def application" not in (body or b""), "the source is served"
    assert (status, body) == (200, b"run by WSGI")


@pytest.mark.parametrize("path", ["/page", "/page?x=1"])
def test_an_if_in_a_named_location_keeps_static_handling(nginx, group, path):
    nginx.write("srv/page", "static")
    start(
        nginx,
        f"""
        root {{dir}}/srv;
        wsgi_script_alias / {{app}} {group};
        location /page {{ error_page 418 = @static; return 418; }}
        location @static {{ if ($arg_x) {{ set $foo 1; }} }}
        """,
    )
    assert get(nginx.port, path)[::2] == (200, b"static")


@pytest.mark.parametrize("status", [100, 101, 199])
def test_an_informational_status_of_an_application_is_an_error(nginx, group, status):
    start(nginx, f"wsgi_script_alias / {{app}} {group};")
    with closing(send(nginx.port, f"/status?{status}")) as s:
        assert receive(s)[0] == 500
    nginx.wait_for_log(r"\[error\].*informational")
    assert get(nginx.port, "/")[::2] == (200, b"hello")


def test_requests_after_an_aborted_one_go_to_the_idle_process(nginx):
    start(nginx, "wsgi_script_alias / {app} process-group=app;", "processes=2 threads=1")
    with held(nginx, "aborted") as s:
        busy = int(state(nginx, "running-aborted").read_text())
        s.close()
        for _ in range(6):
            status, body, seconds = timed(nginx, "/pid")
            assert status == 200 and int(body) != busy
            assert seconds < 1.5


def test_a_slot_is_taken_until_an_aborted_request_ends(nginx):
    """With one thread, the next request waits in nginx and is served as soon as it is free."""
    start(nginx, "wsgi_script_alias / {app} process-group=app;", "processes=1 threads=1", workers=1)
    with held(nginx, "aborted") as s:
        s.close()
        waiting = send(nginx.port, "/")
    with closing(waiting):
        waiting.settimeout(5)
        assert receive(waiting)[::2] == (200, b"hello")


def test_a_response_after_a_rate_limited_one_is_not_delayed(nginx, group):
    start(
        nginx,
        f"""
        wsgi_script_alias / {{app}} {group};
        wsgi_read_timeout 8s;
        location /size {{ wsgi_limit_rate 20k; }}
        """,
        "processes=1 threads=1",
        http="wsgi_embedded_threads 1;",
        workers=1,
    )
    assert get(nginx.port, "/")[0] == 200
    for size in 19000, 100:
        assert get(nginx.port, f"/size?{size}")[2] == b"x" * size
        for _ in range(3):
            status, body, seconds = timed(nginx, "/")
            assert (status, body) == (200, b"hello")
            assert seconds < 2


def test_a_program_started_by_an_embedded_application_does_not_keep_the_daemons(nginx):
    start(
        nginx,
        """
        wsgi_script_alias /e {app} "process-group=%{GLOBAL}";
        wsgi_script_alias / {app} process-group=app;
        """,
        "processes=2",
    )
    with closing(send(nginx.port, "/e/system")) as s:
        # No end of the connection to wait for: the program has inherited that.
        answer = b""
        while b"started" not in answer:
            part = s.recv(65536)
            assert part, answer
            answer += part
    [program] = wait_until(lambda: [p for p in descendants() if p.title == "sleep 30"], "the program")
    try:
        assert nginx.run("-s", "stop").returncode == 0
        wait_until(lambda: not nginx.hosts(), lambda: f"{nginx.hosts()}\n{nginx.log()}", seconds=15)
        assert nginx.sockets() == []
        assert alive(program.pid)
    finally:
        os.kill(program.pid, signal.SIGKILL)
    nginx.wait_until_gone()


def test_nothing_is_left_when_the_master_has_quit(nginx):
    start(nginx, "wsgi_script_alias / {app} process-group=app;", "processes=2")
    assert get(nginx.port, "/slow_exit")[0] == 200
    master = os.pidfd_open(nginx.master)
    try:
        assert nginx.run("-s", "quit").returncode == 0
        assert select.select([master], [], [], 30)[0], nginx.log()
        left = nginx.hosts()
        sockets = nginx.sockets()
    finally:
        os.close(master)
    assert left == []
    assert sockets == []
    nginx.wait_until_gone()


def test_an_unread_body_does_not_cut_a_streaming_answer(nginx, group):
    start(
        nginx,
        f"client_max_body_size 0; wsgi_send_timeout 2s; wsgi_script_alias / {{app}} {group};",
    )
    body = b"y" * 3_000_000
    with closing(send(nginx.port, "/stream", "POST", f"Content-Length: {len(body)}\r\n", body)) as s:
        status, _, answer = receive(s)
    assert status == 200
    assert answer == b"".join(b"block %d\n" % i for i in range(8))


def test_a_log_flood_of_an_embedded_thread_leaves_static_files_fast(nginx):
    nginx.write("srv/static/file", "static")
    start(
        nginx,
        """
        location /static { root {dir}/srv; }
        wsgi_script_alias /e {app} "process-group=%{GLOBAL}";
        """,
        workers=1,
    )
    assert get(nginx.port, "/e/flood?3")[0] == 200
    times = []
    while not state(nginx, "flooded").exists():
        status, body, seconds = timed(nginx, "/static/file")
        assert (status, body) == (200, b"static")
        times.append(seconds)
    assert len(times) > 10
    assert statistics.median(times) < 0.05
    assert max(times) < 1


def test_waiting_with_an_unbuffered_body_does_not_time_out(nginx):
    start(
        nginx,
        """
        wsgi_script_alias / {app} process-group=app;
        location /echo { client_body_timeout 1s; wsgi_request_buffering off; }
        """,
        "processes=1 threads=1",
        workers=1,
    )
    with held(nginx, "first"):
        s = send(nginx.port, "/echo", "POST", "Content-Length: 10\r\n", b"12345")
        # Longer than the limit; an answer now is a wrong one.
        assert select.select([s], [], [], 2.5)[0] == [], nginx.log()
        s.sendall(b"67890")
    with closing(s):
        assert receive(s)[::2] == (200, b"1234567890")


@pytest.mark.parametrize("ignore", ["on", "off"])
def test_wsgi_ignore_client_abort_holds_for_waiting_requests(nginx, ignore):
    start(
        nginx,
        f"""
        location = /static {{ return 200 static; }}
        wsgi_ignore_client_abort {ignore};
        wsgi_script_alias / {{app}} process-group=app;
        """,
        "processes=1 threads=1",
        workers=1,
    )
    with held(nginx, "first") as first:
        before = open_in_workers(nginx)
        waiting = send(nginx.port, "/mark?ran")
        wait_until(lambda: open_in_workers(nginx) > before, "the request to be taken")
        assert get(nginx.port, "/static")[2] == b"static"
        waiting.close()
        if ignore == "off":
            wait_until(lambda: open_in_workers(nginx) <= before, "the client to be gone")
        for _ in range(3):
            assert get(nginx.port, "/static")[2] == b"static"
        let_go(nginx, "first")
        assert receive(first)[0] == 200
    if ignore == "on":
        wait_for_state(nginx, "ran")
    else:
        assert get(nginx.port, "/")[0] == 200
        assert not state(nginx, "ran").exists()


def test_a_drain_does_not_wait_for_head(nginx):
    start(nginx, "wsgi_script_alias / {app} process-group=app;", "processes=1 threads=2 shutdown-timeout=20")
    assert get(nginx.port, "/")[0] == 200
    [daemon] = nginx.daemons()
    with closing(send(nginx.port, "/sleep?1", "HEAD")) as s:
        wait_for_state(nginx, "running-sleep")
        os.kill(daemon.pid, signal.SIGTERM)
        head = s.recv(65536)
        wait_until(lambda: not alive(daemon.pid), lambda: f"the daemon's end: {nginx.log()}", seconds=8)
    assert head.startswith(b"HTTP/1.1 200 ")


def test_head_is_answered_before_a_long_stream_ends(nginx, group):
    start(nginx, f"wsgi_read_timeout 2s; wsgi_script_alias / {{app}} {group};")
    with held(nginx, "stream", "/held_stream"):
        pass
    with closing(send(nginx.port, "/held_stream?head", "HEAD")) as s:
        try:
            answer = s.recv(65536)
            assert not state(nginx, "go-head").exists()
        finally:
            let_go(nginx, "head")
    assert answer.startswith(b"HTTP/1.1 200 "), answer
    assert get(nginx.port, "/")[::2] == (200, b"hello")


def test_bogus_credentials_name_nobody_in_a_subrequest(nginx, group):
    nginx.write("passwords", "joe:{PLAIN}secret\n")
    nginx.write("srv/page.html", '[<!--# include virtual="/user" -->]')
    start(
        nginx,
        f"""
        wsgi_script_alias / {{app}} {group};
        location = /page.html {{ ssi on; root {{dir}}/srv; }}
        location = /user {{ auth_basic x; auth_basic_user_file {{dir}}/passwords; }}
        """,
    )

    def credentials(text):
        return f"Authorization: Basic {base64.b64encode(text).decode()}\r\n"

    assert get(nginx.port, "/user", headers=credentials(b"joe:secret"))[::2] == (200, b"'joe'")
    assert get(nginx.port, "/user", headers=credentials(b"joe:bogus"))[0] == 401
    status, _, body = get(nginx.port, "/page.html", headers=credentials(b"joe:bogus"))
    assert (status, body.strip()) == (200, b"[None]")


def test_try_files_to_a_static_file_in_an_aliased_location_serves_the_file(nginx, group):
    nginx.write("srv/down.html", "down")
    start(
        nginx,
        f"""
        location /tf {{
            try_files /down.html @nothing;
            root {{dir}}/srv;
            wsgi_script_alias /tf {{app}} {group};
        }}
        location @nothing {{ return 404; }}
        """,
    )
    assert get(nginx.port, "/tf")[::2] == (200, b"down")


@pytest.mark.skipif(not IS_ROOT, reason="not root: users cannot be switched")
def test_a_group_must_not_run_as_an_nginx_that_is_root(nginx):
    nginx.configure(http="wsgi_daemon_process shop threads=1;")
    nginx.conf.write_text(nginx.conf.read_text().replace("user www-data;", "user root;"))
    done = nginx.run("-t")
    assert done.returncode != 0
    assert re.search(r'\[emerg\].*"?shop"?.*nginx\.conf:\d+', done.stderr), done.stderr
