"""Bodies of one large block, which nginx reads where the embedded application has them."""

import hashlib
import os
import signal
import socket
from contextlib import ExitStack

import pytest

from client import exchange, get, parse
from processes import wait_until
from test_django import make_certificate, open_client
from test_file import links

MIB = 1 << 20
EMBEDDED = '"process-group=%{GLOBAL}"'
BUFFERED = "is buffered to a temporary file"

APP = """
    import os, sys, time

    BODY = os.urandom(%d)
    running = 0

    def application(environ, start_response):
        global running
        path = environ['PATH_INFO']
        if path == '/references':
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return [b'%%d %%d' %% (sys.getrefcount(BODY), running)]
        if path == '/wait':
            running += 1
            while not os.path.exists(os.path.join(os.path.dirname(__file__), 'go')):
                time.sleep(0.01)
            running -= 1
        if path == '/later':
            return later(start_response)
        length = len(BODY) + (1 if path == '/short' else 0)
        start_response('200 OK', [('Content-Type', 'text/plain'), ('Content-Length', str(length))])
        return [BODY]

    def later(start_response):
        start_response('200 OK', [('Content-Type', 'text/plain'), ('Content-Length', str(len(BODY)))])
        yield BODY
        while not os.path.exists(os.path.join(os.path.dirname(__file__), 'go')):
            time.sleep(0.01)
"""


def serve(nginx, group, size, server="", threads=2, invalid=None):
    nginx.write("app.wsgi", APP % size, invalid=invalid)
    nginx.configure(
        http=f"wsgi_embedded_threads {threads}; wsgi_daemon_process app threads={threads};"
        "log_format lengths 'sent $body_bytes_sent of $upstream_response_length'; access_log logs/lengths.log lengths;",
        server=f"wsgi_script_alias / {{dir}}/app.wsgi {group};\n{server}",
        workers=1,
    )
    nginx.start()


def references(nginx):
    return [int(number) for number in get(nginx.port, "/references")[2].split()]


def stuck(nginx, path="/"):
    """A client that has read the header, and no more."""
    client = socket.create_connection(("127.0.0.1", nginx.port), timeout=30)
    client.sendall(b"GET %s HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" % path.encode())
    return client, client.recv(100)


def rest(client, start):
    parts = [start]
    with client:
        while part := client.recv(MIB):
            parts.append(part)
    return parse(b"".join(parts))


@pytest.mark.parametrize("group", [EMBEDDED, "process-group=app"], ids=["embedded", "daemon"])
def test_a_client_has_all_before_the_application_is_done(nginx, group):
    serve(nginx, group, 32 * MIB)
    with socket.create_connection(("127.0.0.1", nginx.port), timeout=30) as client:
        client.sendall(b"GET /later HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        received = b""
        while len(received) < 32 * MIB:
            received += client.recv(MIB)
        (nginx.dir / "go").touch()


def test_a_slow_client_holds_up_neither_thread_nor_disk(nginx):
    serve(nginx, EMBEDDED, 32 * MIB, threads=1)
    [before, _] = references(nginx)
    client, start = stuck(nginx)
    assert references(nginx)[0] == before + 1
    status, headers, body = rest(client, start)
    assert (status, headers["content-length"]) == (200, str(32 * MIB)) and body is not None
    assert BUFFERED not in nginx.log()
    # None of these requests drops it by the way.
    wait_until(lambda: references(nginx)[0] == before, lambda: f"the reference to be dropped: {references(nginx)}")
    # The same bytes in every way.
    assert body == get(nginx.port, "/", version="1.0")[2]


def test_what_all_slow_clients_keep_in_memory_is_limited(nginx):
    serve(nginx, EMBEDDED, 24 * MIB, threads=1)
    [before, _] = references(nginx)
    digest = hashlib.sha256(get(nginx.port, "/")[2]).digest()
    with ExitStack() as stack:
        clients = [stuck(nginx) for _ in range(4)]
        for client, _ in clients:
            stack.enter_context(client)
        assert references(nginx)[0] == before + 2
        nginx.wait_for_log(BUFFERED)
        for client, start in clients:
            assert hashlib.sha256(rest(client, start)[2]).digest() == digest
    wait_until(lambda: references(nginx)[0] == before, lambda: f"references to be dropped: {references(nginx)}")
    client, start = stuck(nginx)
    assert references(nginx)[0] == before + 1
    assert rest(client, start)[2] is not None


def test_clients_that_go(nginx):
    serve(nginx, EMBEDDED, 32 * MIB)
    [before, _] = references(nginx)
    for _ in range(5):
        client, _ = stuck(nginx)
        client.close()
    wait_until(lambda: references(nginx)[0] == before, lambda: f"references to be dropped: {references(nginx)}")


def test_a_client_that_has_gone_before_the_answer(nginx):
    serve(nginx, EMBEDDED, 32 * MIB)
    [before, _] = references(nginx)
    with socket.create_connection(("127.0.0.1", nginx.port), timeout=30) as client:
        client.sendall(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
        wait_until(lambda: references(nginx)[1] == 1, lambda: "the application to run")
    (nginx.dir / "go").touch()
    wait_until(lambda: references(nginx) == [before, 0], lambda: f"references to be dropped: {references(nginx)}")


def test_less_than_the_length_says(nginx, group):
    serve(nginx, group, MIB, invalid="too few bytes")
    status, headers, body = get(nginx.port, "/short")
    assert (status, headers["content-length"], body) == (200, str(MIB + 1), None)
    assert get(nginx.port, "/")[2] is not None


@pytest.mark.parametrize("buffering", ["on", "off"])
def test_what_nginx_counts(nginx, group, buffering):
    serve(nginx, group, MIB, f"wsgi_buffering {buffering};")
    assert len(get(nginx.port, "/")[2]) == MIB
    log = nginx.dir / "logs" / "lengths.log"
    wait_until(lambda: log.read_text().count("\n") == 1, lambda: "the log line")
    _, sent, _, received = log.read_text().split()
    # Between nginx and the application there are some bytes more.
    assert int(sent) == MIB and MIB <= int(received) < MIB + 1000


def test_http2(nginx, group):
    certificate, key = make_certificate(nginx.dir)
    # The default application group depends on the port.
    serve(
        nginx,
        group + ' "application-group=%{GLOBAL}"',
        8 * MIB,
        f"listen 127.0.0.1:{nginx.tls_port} ssl http2; ssl_certificate {certificate}; ssl_certificate_key {key};",
    )
    [before, _] = references(nginx) if group == EMBEDDED else [0, 0]
    body = get(nginx.port, "/")[2]
    for version in ("HTTP/2", "HTTP/1.1"):
        with open_client(nginx, version) as client:
            for _ in range(3):
                answer = client.get("/")
                assert (answer.status_code, answer.content == body) == (200, True)
                assert "accept-ranges" not in answer.headers
            assert client.head("/").headers["content-length"] == str(8 * MIB)
    if before:
        wait_until(lambda: references(nginx)[0] == before, lambda: f"references to be dropped: {references(nginx)}")


def test_a_worker_that_ends_while_its_client_reads(nginx, group):
    serve(nginx, group, 32 * MIB)
    client, start = stuck(nginx)
    nginx.send(signal.SIGHUP)
    nginx.wait_for_log("gracefully shutting down")
    assert rest(client, start)[2] is not None
    assert get(nginx.port, "/")[0] == 200


def test_nothing_is_left(nginx, group):
    serve(nginx, group, MIB)

    def visit():
        assert get(nginx.port, "/")[0] == 200
        assert exchange(nginx.port, b"HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").startswith(b"HTTP/1.1 200")
        stuck(nginx)[0].close()

    def state():
        processes = [*nginx.workers(), *nginx.daemons()]
        return [len(links(process.pid)) for process in processes]

    for _ in range(40):
        visit()
    before = state()
    for _ in range(40):
        visit()
    wait_until(lambda: state() <= before, lambda: f"descriptors to be closed: {before}, {state()}")
    size = [int(open(f"/proc/{worker.pid}/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE") for worker in nginx.workers()]
    assert max(size) < 200 * MIB
