"""wsgi_embedded_threads 0: applications on the event loop's own thread. t/049-inline.t has what one request shows."""

import hashlib
import shutil
import signal
import socket
import time

import pytest

from client import Load, exchange, get, parse
from nginx import ROOT, free_port
from processes import wait_until
from test_django import make_certificate, open_client

MIB = 1 << 20

APP = """
    import atexit, hashlib, os, time

    HERE = os.path.dirname(__file__)
    BLOCK = bytes(range(256)) * 256

    def mark(name):
        open(os.path.join(HERE, 'marks', name), 'w').close()

    atexit.register(mark, 'atexit')

    class Blocks:
        def __init__(self, count):
            self.left = count

        def __iter__(self):
            return self

        def __next__(self):
            if not self.left:
                raise StopIteration
            self.left -= 1
            return BLOCK

        def close(self):
            mark('closed')

    def application(environ, start_response):
        kind, _, count = environ['PATH_INFO'][1:].partition('/')
        long = [('X-Long', 'x' * 3000)] * int(count) if kind == 'headers' else []
        start_response('200 OK', [('Content-Type', 'text/plain'), *long])
        if kind == 'headers':
            return iter([b'behind ', b'them'])
        if kind == 'one':
            return [BLOCK * int(count)]
        if kind == 'blocks':
            return Blocks(int(count))
        if kind == 'sleep':
            mark('asleep')
            time.sleep(float(count))
        if kind == 'digest':
            return [hashlib.md5(environ['wsgi.input'].read()).hexdigest().encode()]
        return [b'ok']
"""
BLOCK = bytes(range(256)) * 256


def serve(nginx, server="", workers=1, **more):
    nginx.write("app.wsgi", APP)
    (nginx.dir / "marks").mkdir()
    (nginx.dir / "marks").chmod(0o777)
    nginx.configure(
        http="wsgi_embedded_threads 0; client_max_body_size 100m;",
        server=f'wsgi_script_alias / {{dir}}/app.wsgi "application-group=%{{GLOBAL}}";\n{server}',
        workers=workers,
        **more,
    )
    nginx.start()


def marked(nginx, name):
    return (nginx.dir / "marks" / name).exists()


def ask(nginx, path):
    """A request whose answer is not read yet, into a small buffer."""
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
    s.settimeout(60)
    s.connect(("127.0.0.1", nginx.port))
    s.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    return s


def read_all(s):
    parts = []
    while part := s.recv(1 << 16):
        parts.append(part)
    s.close()
    return b"".join(parts)


def test_a_body_follows_headers_that_wait_for_the_client(nginx):
    """What nginx cannot send at once it keeps, and the body goes behind it."""
    port = free_port()
    serve(nginx, f"listen 127.0.0.1:{port} sndbuf=4k; wsgi_buffer_size 512k; wsgi_buffers 4 512k; postpone_output 0;")
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    s.settimeout(60)
    s.connect(("127.0.0.1", port))
    request = b"GET %s HTTP/1.1\r\nHost: localhost\r\n%s\r\n"
    s.sendall(request % (b"/headers/100", b""))
    wait_until(lambda: s.recv(1, socket.MSG_PEEK), "the answer to begin")
    assert get(nginx.port, "/")[2] == b"ok"
    s.sendall(request % (b"/", b"Connection: close\r\n"))
    answer = read_all(s)
    head, _, rest = answer.partition(b"\r\n\r\n")
    assert head.count(b"X-Long: " + b"x" * 3000) == 100
    first, _, second = rest.partition(b"0\r\n\r\n")
    assert first == b"7\r\nbehind \r\n4\r\nthem\r\n"
    assert parse(second)[0] == 200


def test_what_has_arrived_meanwhile_is_not_too_late(nginx):
    """Timers that ran out while the application did are seen after what they waited for."""
    serve(nginx, "keepalive_timeout 1s;")
    request = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with socket.create_connection(("127.0.0.1", nginx.port), timeout=60) as kept:
        kept.sendall(request)
        wait_until(lambda: b"0\r\n\r\n" in kept.recv(1 << 16, socket.MSG_PEEK), "the first answer")
        first = kept.recv(1 << 16)
        with ask(nginx, "/sleep/2") as sleeper:
            wait_until(lambda: marked(nginx, "asleep"), "the application to sleep")
            kept.sendall(request)
            assert parse(read_all(sleeper))[0] == 200
        assert kept.recv(len(first))[:15] == first[:15]


@pytest.mark.parametrize("server", ["", "wsgi_max_temp_file_size 0;"], ids=["file", "memory"])
@pytest.mark.parametrize("path", ["/one/160", "/blocks/160"])
def test_a_slow_reader_holds_up_nobody(nginx, path, server):
    serve(nginx, server)
    slow = ask(nginx, path)
    wait_until(lambda: slow.recv(1, socket.MSG_PEEK), "the answer to begin")
    # The application is done, and others are served while its response waits.
    for _ in range(5):
        assert get(nginx.port, "/")[2] == b"ok"
    status, _, body = parse(read_all(slow))
    assert status == 200
    assert hashlib.md5(body).digest() == hashlib.md5(BLOCK * 160).digest()
    assert not [path for path in (nginx.dir / "temp" / "wsgi").rglob("*") if path.is_file()]


def test_what_a_client_does_not_take_is_limited(nginx):
    serve(nginx, "wsgi_max_temp_file_size 1m;")
    # More than the buffers of any socket.
    slow = ask(nginx, "/blocks/3200")
    wait_until(lambda: "response broken off" in nginx.log(), "the limit")
    assert marked(nginx, "closed")
    status, _, body = parse(read_all(slow))
    assert (status, body) == (200, None)
    assert 'what waits is over "wsgi_max_temp_file_size"' in nginx.log()
    assert get(nginx.port, "/")[2] == b"ok"


@pytest.mark.parametrize("before", [0, MIB])
def test_a_client_that_goes_away_ends_a_stream(nginx, before):
    serve(nginx)
    leaving = ask(nginx, "/blocks/1000000000")
    left = before
    while left > 0:
        left -= len(leaving.recv(1 << 16))
    leaving.close()
    wait_until(lambda: marked(nginx, "closed"), lambda: "the stream to end: " + nginx.log()[-2000:])
    assert get(nginx.port, "/")[2] == b"ok"


def test_uploads(nginx):
    serve(nginx)
    for size in (0, 1, 100_000, 20 * MIB):
        data = (BLOCK * (size // len(BLOCK) + 1))[:size]
        head = f"POST /digest/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {size}\r\n\r\n"
        status, _, body = parse(exchange(nginx.port, head.encode() + data))
        assert (status, body.decode()) == (200, hashlib.md5(data).hexdigest())


def test_a_reload_loses_nothing(nginx):
    serve(nginx, workers=2)
    with Load(nginx.port, "/sleep/0.01") as load:
        load.wait_for(20)
        nginx.reload()
        load.wait_for(20)
    assert {(status, body) for _, _, status, body in load.results} == {(200, b"ok")}
    assert marked(nginx, "atexit")


@pytest.mark.parametrize("number", [signal.SIGQUIT, signal.SIGTERM])
def test_nginx_ends_when_the_application_lets_it(nginx, number):
    serve(nginx)
    sleeping = ask(nginx, "/sleep/0.5")
    wait_until(lambda: marked(nginx, "asleep"), "the application to sleep")
    nginx.stop(number)
    sleeping.close()
    assert marked(nginx, "atexit")


def test_in_a_single_process(nginx):
    serve(nginx, master="off")
    assert get(nginx.port, "/one/1")[2] == BLOCK
    nginx.stop()
    assert marked(nginx, "atexit")


@pytest.mark.parametrize("protocol", ["HTTP/1.1", "HTTP/2"])
def test_flask(nginx, venv_path, protocol):
    shutil.copytree(ROOT / "demo" / "flask", nginx.dir / "flask")
    nginx.validate("flask/app.wsgi")
    certificate, key = make_certificate(nginx.dir)
    nginx.configure(
        http=f"wsgi_embedded_threads 0; wsgi_lazy_initialization off; wsgi_python_path {venv_path};",
        server=f"""
            listen 127.0.0.1:{nginx.tls_port} ssl http2;
            ssl_certificate {certificate};
            ssl_certificate_key {key};
            gzip on;
            wsgi_script_alias /flask {{dir}}/flask/app.wsgi application-group=flask;
            """,
    )
    nginx.start()
    with open_client(nginx, protocol) as client:
        page = client.get("/flask/")
        assert (page.status_code, page.http_version) == (200, protocol), nginx.log()
        assert "thread 1." in page.text
        sent = {"text": "Grüße 🐍", "list": list(range(20000))}
        assert client.post("/flask/echo", json=sent).json()["got"] == sent
        for count in 1, 2, 3:
            answer = client.get("/flask/visits")
            assert answer.text == f"visit {count}\n"
            assert len(answer.headers.get_list("set-cookie")) == 2
        assert client.get("/flask/nothing").status_code == 404
        assert client.head("/flask/").status_code == 200
        arrivals = []
        with client.stream("GET", "/flask/stream?n=4&pause=0.3") as answer:
            for part in answer.iter_text():
                if part:
                    arrivals.append(time.monotonic())
        # The application pauses after each line.
        assert len(arrivals) == 4 and arrivals[-1] - arrivals[0] > 0.6, arrivals
