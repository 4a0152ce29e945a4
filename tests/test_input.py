"""Request bodies that arrive slowly, in pieces, too large, or not at all. Both modes."""

import hashlib
import os
import re
import socket
import threading

import pytest

from client import dechunk, exchange, parse
from processes import wait_until

MIB = 1 << 20

APP = """
    import hashlib, os, sys, time

    HERE = os.path.dirname(__file__)

    def wait_for(name):
        deadline = time.monotonic() + 60
        while not os.path.exists(os.path.join(HERE, name)):
            assert time.monotonic() < deadline, name
            time.sleep(0.01)

    def application(environ, start_response):
        respond = globals()[environ['PATH_INFO'].split('/')[-1]]
        return respond(environ, environ['wsgi.input'], start_response)

    def digest(environ, body, start_response):
        found, size = hashlib.sha256(), 0
        while block := body.read(50000):
            found.update(block)
            size += len(block)
        start_response('200 OK', [('Content-Type', 'text/plain')])
        return [f'{size} {found.hexdigest()}'.encode()]

    def first(environ, body, start_response):
        # Shows that the application runs before the body is whole.
        print('first byte', body.read(1), file=environ['wsgi.errors'])
        return digest(environ, body, start_response)

    def patient(environ, body, start_response):
        print('not reading', file=environ['wsgi.errors'])
        wait_for('go')
        return digest(environ, body, start_response)

    def careful(environ, body, start_response):
        print('running', file=environ['wsgi.errors'])
        try:
            body.read()
        except OSError as error:
            print('caught', type(error).__name__, error, file=environ['wsgi.errors'])
        else:
            print('caught nothing', file=environ['wsgi.errors'])
        for method in body.read, body.readline, body.readlines, lambda: next(iter(body)):
            try:
                method()
            except OSError as error:
                print('again', error, file=environ['wsgi.errors'])
        start_response('200 OK', [])
        return [b'survived']

    def unread(environ, body, start_response):
        print('called', file=environ['wsgi.errors'])
        start_response('200 OK', [('Content-Length', '5')])
        return [b'done\\n']

    def talkative(environ, body, start_response):
        start_response('200 OK', [('Content-Type', 'application/octet-stream')])
        block = b'x' * 65536
        for _ in range(16 * 8):
            yield block
        total = 0
        while part := body.read(100000):
            total += len(part)
        yield b'%d' % total

    def echo(environ, body, start_response):
        start_response('200 OK', [('Content-Type', 'application/octet-stream')])
        while block := body.read(65536):
            yield block
    """


@pytest.fixture
def server(nginx, group):
    nginx.write("app.wsgi", APP)
    nginx.configure(
        # One thread: a request that keeps its slot is noticed by the next.
        http="wsgi_daemon_process app threads=1; wsgi_embedded_threads 1;",
        server=f"""
            client_max_body_size 1g;
            wsgi_chunked_request on;
            wsgi_script_alias / {{dir}}/app.wsgi {group};
            location /stream/ {{ wsgi_request_buffering off; }}
            location /stream/direct/ {{ wsgi_request_buffering off; wsgi_buffering off; }}
            location /small/ {{ client_max_body_size 100k; }}
            location /stream/small/ {{ wsgi_request_buffering off; client_max_body_size 100k; }}
            location /impatient/ {{ client_body_timeout 300ms; }}
            location /stream/impatient/ {{ wsgi_request_buffering off; client_body_timeout 300ms; }}
            location /stream/stuck/ {{ wsgi_request_buffering off; wsgi_send_timeout 300ms; }}
            location /refused/ {{ wsgi_chunked_request off; }}
            """,
        workers=1,
    )
    nginx.start()
    return nginx


def connect(server):
    return socket.create_connection(("127.0.0.1", server.port), timeout=60)


def head(path, headers):
    return f"POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n".encode()


def length(n):
    return f"Content-Length: {n}\r\n"


CHUNKED = "Transfer-Encoding: chunked\r\n"


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


def rest(s):
    parts = []
    while part := s.recv(65536):
        parts.append(part)
    return b"".join(parts)


def slot_is_free(server):
    """The only thread of the place answers, and nothing of the request before is left."""
    status, _, body = parse(exchange(server.port, head("/digest", length(3)) + b"abc"))
    assert status == 200 and body.startswith(b"3 "), server.log()


def caught(server):
    """What the careful application met. Once nginx has left it, its lines are in its own log."""
    server.wait_for_log("caught")
    return re.findall(r"caught (.*? closed|nothing)", server.log())


GONE = ["OSError mod_wsgi request data read error: client connection closed"]


@pytest.mark.parametrize("path", ["/stream/first", "/stream/direct/first"])
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_application_runs_while_the_body_arrives(server, path, framing):
    parts = [os.urandom(200_000) for _ in range(5)]
    body = b"".join(parts)
    with connect(server) as s:
        frame = chunk if framing == "chunked" else bytes
        s.sendall(head(path, CHUNKED if framing == "chunked" else length(len(body))))
        s.sendall(frame(parts[0]))
        server.wait_for_log("first byte")
        for part in parts[1:]:
            s.sendall(frame(part))
        if framing == "chunked":
            s.sendall(b"0\r\n\r\n")
        status, _, answer = parse(rest(s))
    expected = f"{len(body) - 1} {hashlib.sha256(body[1:]).hexdigest()}"
    assert (status, answer.decode()) == (200, expected)
    slot_is_free(server)


def test_buffered_body_is_whole_before_the_application_runs(server):
    with connect(server) as s:
        s.sendall(head("/first", length(4)) + b"abc")
        slot_is_free(server)
        assert "first byte" not in server.log()
        s.sendall(b"d")
        assert parse(rest(s))[2].startswith(b"3 ")


def test_slow_reader_holds_the_client_back(server):
    """While the application does not read, the client can send only what socket buffers and one
    buffer of nginx hold, and nginx does not grow."""
    block = b"y" * 65536
    total = 256 * MIB
    with connect(server) as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 << 10)
        s.sendall(head("/stream/patient", length(total)))
        server.wait_for_log("not reading")
        worker = server.workers()[0].pid
        before = resident(worker)
        s.settimeout(1)
        sent = 0
        try:
            while sent < total:
                sent += s.send(block)
        except socket.timeout:
            pass
        assert sent < 24 * MIB, f"{sent >> 20} MiB were taken although nobody reads them"
        assert resident(worker) - before < 8 * MIB
        assert not spooled(worker)
        s.settimeout(60)
        server.write("go", "")
        while sent < total:
            sent += s.send(block[: total - sent])
        status, _, answer = parse(rest(s))
        assert status == 200 and answer.startswith(b"%d " % total)
        assert resident(worker) - before < 16 * MIB
    slot_is_free(server)


def spooled(pid):
    """The temporary files of request bodies that a process has open."""
    links = [os.readlink(entry.path) for entry in os.scandir(f"/proc/{pid}/fd")]
    return [link for link in links if "/client_body/" in link]


def resident(pid):
    with open(f"/proc/{pid}/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGESIZE")


@pytest.mark.parametrize("path", ["/stream/careful", "/stream/direct/careful"])
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_client_gone_inside_the_body(server, path, framing):
    with connect(server) as s:
        if framing == "chunked":
            s.sendall(head(path, CHUNKED) + chunk(b"a" * 1000) + b"ff\r\nshort")
        else:
            s.sendall(head(path, length(5000)) + b"a" * 1000)
        server.wait_for_log("running")
    server.wait_for_log("again .*(?:\n.*)*again .*(?:\n.*)*again .*(?:\n.*)*again ")
    assert caught(server) == GONE
    again = re.findall("again (mod_wsgi request data read error: input is already in error state)", server.log())
    assert len(again) == 4
    slot_is_free(server)


@pytest.mark.parametrize("path", ["/careful", "/unread"])
def test_client_gone_inside_a_buffered_body(server, path):
    with connect(server) as s:
        s.sendall(head(path, length(5000)) + b"a" * 1000)
    server.wait_for_log("client prematurely closed connection")
    slot_is_free(server)
    assert "running" not in server.log() and "called" not in server.log()


@pytest.mark.parametrize("bad", [b"xyz\r\nabc\r\n", b"3\r\nabcdef\r\n", b"ffffffffffffffffff\r\n"])
@pytest.mark.parametrize("path", ["/careful", "/stream/careful"])
def test_bad_chunk(server, path, bad):
    with connect(server) as s:
        s.sendall(head(path, CHUNKED) + chunk(b"good"))
        if path == "/stream/careful":
            server.wait_for_log("running")
        s.sendall(bad)
        assert parse(rest(s))[0] == 400
    if path == "/stream/careful":
        assert caught(server) == GONE
    slot_is_free(server)
    assert ("running" in server.log()) == (path == "/stream/careful")


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("path", ["/small/careful", "/stream/small/careful"])
def test_body_over_the_limit(server, path, framing):
    with connect(server) as s:
        if framing == "length":
            s.sendall(head(path, length(200_000)))
        else:
            s.sendall(head(path, CHUNKED) + chunk(b"a" * 90_000))
            if path.startswith("/stream"):
                server.wait_for_log("running")
            s.sendall(chunk(b"b" * 90_000))
        assert parse(rest(s))[0] == 413
    slot_is_free(server)
    if path.startswith("/stream") and framing == "chunked":
        assert caught(server) == GONE
    else:
        assert "running" not in server.log()


@pytest.mark.parametrize("path", ["/impatient/careful", "/stream/impatient/careful"])
def test_client_that_stops_sending(server, path):
    with connect(server) as s:
        s.sendall(head(path, length(5000)) + b"a" * 1000)
        # nginx logs 408 and closes the connection.
        assert rest(s) == b""
    wait_until(lambda: '" 408 0 ' in (server.dir / "logs" / "access.log").read_text(), "408 in the access log")
    slot_is_free(server)
    if path.startswith("/stream"):
        assert caught(server) == GONE
    else:
        assert "running" not in server.log()


def test_application_that_does_not_read_in_time(server):
    with connect(server) as s:
        s.sendall(head("/stream/stuck/patient", length(64 * MIB)))
        sender = threading.Thread(target=send_all, args=(s, b"z" * (64 * MIB)))
        sender.start()
        status = parse(rest(s))[0]
        sender.join(60)
    assert status == 504
    server.write("go", "")
    server.wait_for_log("request data read error")
    slot_is_free(server)


def send_all(s, data):
    try:
        s.sendall(data)
    except OSError:
        pass


@pytest.mark.parametrize("prefix", ["/", "/stream/", "/stream/direct/"])
def test_large_answer_before_a_large_body_is_read(server, prefix):
    """Neither side waits for the other: the answer comes while the body is still on its way."""
    size = 32 * MIB
    with connect(server) as s:
        sender = threading.Thread(target=send_all, args=(s, head(prefix + "talkative", length(size)) + b"z" * size))
        sender.start()
        status, _, body = parse(rest(s))
        sender.join(60)
        assert not sender.is_alive()
    assert status == 200
    assert body == b"x" * (8 * MIB) + b"%d" % size, (len(body), server.log()[-2000:])
    slot_is_free(server)


@pytest.mark.parametrize("prefix", ["/", "/stream/", "/stream/direct/"])
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_echo(server, prefix, framing):
    data = os.urandom(4 * MIB)
    with connect(server) as s:
        if framing == "chunked":
            body = b"".join(chunk(data[i : i + 10_007]) for i in range(0, len(data), 10_007)) + b"0\r\n\r\n"
            request = head(prefix + "echo", CHUNKED) + body
        else:
            request = head(prefix + "echo", length(len(data))) + data
        sender = threading.Thread(target=send_all, args=(s, request))
        sender.start()
        status, _, answer = parse(rest(s))
        sender.join(60)
    assert status == 200 and answer == data
    slot_is_free(server)


def test_conversation(server):
    """Unbuffered both ways, each side waits for what the other has said."""
    with connect(server) as s:
        s.sendall(head("/stream/direct/echo", CHUNKED))
        received = b""
        for turn in range(5):
            said = bytes([65 + turn]) * 65536
            s.sendall(chunk(said))
            while received.count(said[:1]) < len(said):
                part = s.recv(65536)
                assert part, received[-200:]
                received += part
        s.sendall(b"0\r\n\r\n")
        received += rest(s)
    body = dechunk(received.partition(b"\r\n\r\n")[2])
    assert body == b"".join(bytes([65 + turn]) * 65536 for turn in range(5))
    slot_is_free(server)


@pytest.mark.parametrize("prefix", ["/", "/stream/"])
def test_unread_body(server, prefix):
    with connect(server) as s:
        sender = threading.Thread(target=send_all, args=(s, head(prefix + "unread", length(4 * MIB)) + b"z" * (4 * MIB)))
        sender.start()
        status, _, body = parse(rest(s))
        sender.join(60)
    assert (status, body) == (200, b"done\n")
    slot_is_free(server)


class TestContinue:
    """100 Continue is nginx's to send, when it begins to read a body: after everything that it
    checks itself, before the application runs."""

    EXPECT = "Expect: 100-continue\r\n"

    @pytest.mark.parametrize("prefix", ["/", "/stream/"])
    @pytest.mark.parametrize("name", ["digest", "unread"])
    def test_sent_before_the_body(self, server, prefix, name):
        with connect(server) as s:
            s.sendall(head(prefix + name, length(3) + self.EXPECT))
            interim = b""
            while not interim.endswith(b"\r\n\r\n"):
                interim += s.recv(1)
            assert interim == b"HTTP/1.1 100 Continue\r\n\r\n"
            s.sendall(b"abc")
            status, _, body = parse(rest(s))
        assert (status, body[:2]) == (200, b"3 " if name == "digest" else b"do")
        slot_is_free(server)

    @pytest.mark.parametrize(
        "path, framing, expected",
        [("/small/digest", length(200_000), 413), ("/refused/digest", CHUNKED, 411), ("/digest", "Content-Length: x\r\n", 400)],
    )
    def test_not_sent_for_what_is_refused(self, server, path, framing, expected):
        with connect(server) as s:
            s.sendall(head(path, framing + self.EXPECT))
            answer = b""
            while b"</html>" not in answer:
                part = s.recv(65536)
                assert part, answer
                answer += part
        assert answer.startswith(b"HTTP/1.1 %d " % expected), answer
