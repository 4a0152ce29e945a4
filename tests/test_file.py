"""Files that the application hands to nginx, and hosts that hand it something else."""

import hashlib
import os
import socket
import time

import pytest

from client import exchange, get, parse
from test_django import make_certificate, open_client
from processes import wait_until

MIB = 1 << 20
HIDDEN = "wsgiref.validate hides the file"

APP = """
    import os

    NAME = os.path.join(os.path.dirname(__file__), 'file.bin')

    def application(environ, start_response):
        headers = [('Content-Type', 'text/plain'), ('ETag', '"tag"')]
        if environ['QUERY_STRING']:
            headers.append(tuple(environ['QUERY_STRING'].split('=')))
        start_response('200 OK', headers)
        if environ['PATH_INFO'] == '/short':
            return [b'of the application']
        return environ['wsgi.file_wrapper'](open(NAME, 'rb'))
"""


def serve(nginx, group, size, server="", threads=2):
    data = os.urandom(4096) * (size // 4096)
    (nginx.dir / "file.bin").write_bytes(data)
    nginx.write("app.wsgi", APP, invalid=HIDDEN)
    nginx.configure(
        http=f"sendfile on; wsgi_embedded_threads {threads}; wsgi_daemon_process app threads={threads};",
        server=f"wsgi_script_alias / {{dir}}/app.wsgi {group};\n{server}",
        workers=1,
    )
    nginx.start()
    return data


def test_large_file(nginx, group):
    data = serve(nginx, group, 32 * MIB)
    status, headers, body = get(nginx.port, "/")
    assert (status, headers["accept-ranges"]) == (200, "bytes")
    assert body == data
    status, _, body = get(nginx.port, "/", headers="Range: bytes=1000000-20000000\r\n")
    assert status == 206 and body == data[1000000:20000001]
    status, headers, body = get(nginx.port, "/", version="1.0")
    assert (status, body) == (200, data)


def test_http2(nginx, group):
    certificate, key = make_certificate(nginx.dir)
    data = serve(
        nginx,
        group,
        8 * MIB,
        f"listen 127.0.0.1:{nginx.tls_port} ssl http2; ssl_certificate {certificate}; ssl_certificate_key {key};",
    )
    with open_client(nginx, "HTTP/2") as client:
        answer = client.get("/")
        assert answer.status_code == 200
        assert hashlib.sha256(answer.content).digest() == hashlib.sha256(data).digest()
        answer = client.get("/", headers={"Range": "bytes=4096-8191"})
        assert (answer.status_code, answer.content) == (206, data[4096:8192])
        assert client.get("/", headers={"If-None-Match": '"tag"'}).status_code == 304


def test_the_thread_is_free_while_the_client_reads(nginx, group):
    data = serve(nginx, group, 64 * MIB, threads=1)
    with socket.create_connection(("127.0.0.1", nginx.port), timeout=30) as slow:
        slow.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        parts = [slow.recv(1000)]
        for _ in range(3):
            assert get(nginx.port, "/short")[2] == b"of the application"
        while part := slow.recv(MIB):
            parts.append(part)
    assert parse(b"".join(parts))[2] == data


@pytest.mark.parametrize("how", ["directive", "header"])
def test_the_rate_to_the_client(nginx, group, how):
    # nginx counts whole seconds of its clock, so the first and the last may be short.
    data = serve(nginx, group, 512 << 10, "location /limited { limit_rate 128k; }")
    since = time.monotonic()
    path = "/limited" if how == "directive" else "/?X-Accel-Limit-Rate=131072"
    assert get(nginx.port, path)[2] == data
    assert time.monotonic() - since >= 1.5


def test_a_file_that_is_truncated_while_it_is_sent(nginx, group):
    serve(nginx, group, 64 * MIB)
    with socket.create_connection(("127.0.0.1", nginx.port), timeout=30) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        parts = [client.recv(1000)]
        os.truncate(nginx.dir / "file.bin", 0)
        while part := client.recv(MIB):
            parts.append(part)
    status, headers, body = parse(b"".join(parts))
    assert (status, headers["content-length"], body) == (200, str(64 * MIB), None)
    nginx.wait_for_log(r'sendfile\(\) reported that "file of .*app\.wsgi" was truncated')


def test_no_descriptor_is_left(nginx, group):
    serve(nginx, group, MIB)

    def visit():
        assert get(nginx.port, "/")[0] == 200
        assert get(nginx.port, "/", headers="Range: bytes=0-9\r\n")[0] == 206
        assert get(nginx.port, "/", headers="Range: bytes=99999999-\r\n")[0] == 416
        assert get(nginx.port, "/", headers='If-None-Match: "tag"\r\n')[0] == 304
        assert get(nginx.port, "/?X-Accel-Redirect=/short")[0] == 200
        head = b"HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        assert exchange(nginx.port, head).startswith(b"HTTP/1.1 200")
        # A client that does not stay.
        with socket.create_connection(("127.0.0.1", nginx.port), timeout=30) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            client.recv(1)

    def regular():
        processes = [*nginx.workers(), *nginx.daemons()]
        files = [os.path.realpath(path) for process in processes for path in links(process.pid)]
        return [path for path in files if path.endswith("file.bin")]

    for _ in range(40):
        visit()
    wait_until(lambda: not regular(), lambda: f"files to be closed: {regular()}\n{nginx.log()}")
    counts = [len(links(process.pid)) for process in [*nginx.workers(), *nginx.daemons()]]
    for _ in range(40):
        visit()
    wait_until(
        lambda: [len(links(process.pid)) for process in [*nginx.workers(), *nginx.daemons()]] <= counts,
        lambda: f"descriptors to be closed, before there were {counts}",
    )


def links(pid):
    return [f"/proc/{pid}/fd/{name}" for name in os.listdir(f"/proc/{pid}/fd")]


HOSTILE = """
    import array, os, socket, stat, struct

    DIR = os.path.dirname(__file__)
    END = struct.pack('<IBBHB', 1, 21, 0, 0, 0)
    LINE = b'200 OK'
    RESPONSE = struct.pack('<HI', 200, len(LINE)) + LINE + struct.pack('<H', 0)
    RESPONSE = struct.pack('<IBBH', len(RESPONSE), 16, 0, 0) + RESPONSE

    def file_frame(offset=0, length=10):
        return struct.pack('<IBBHQQ', 16, 18, 1, 0, offset, length)

    def connection():
        # To nginx: the only connected socket that has the name of one that listens.
        for name in os.listdir('/proc/self/fd'):
            try:
                if not stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                    continue
                found = socket.socket(fileno=os.dup(int(name)))
                listens = found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
                if found.family == socket.AF_UNIX and not listens and found.getsockname():
                    return found
            except OSError:
                pass

    def opened(name='file.bin', flags=os.O_RDONLY):
        return os.open(os.path.join(DIR, name), flags)

    def device():
        return [file_frame() + RESPONSE + END], [opened('/dev/zero')]

    def directory():
        return [file_frame() + RESPONSE + END], [opened('/')]

    def pipe():
        return [file_frame() + RESPONSE + END], [os.pipe()[0]]

    def path():
        return [file_frame() + RESPONSE + END], [opened(flags=os.O_PATH)]

    def write_only():
        memory = os.memfd_create('file')
        os.write(memory, b'0123456789')
        return [file_frame() + RESPONSE + END], [os.open(f'/proc/self/fd/{memory}', os.O_WRONLY)]

    def beyond():
        return [file_frame(offset=1 << 40) + RESPONSE + END], [opened()]

    def overflow():
        return [file_frame(offset=2 ** 64 - 1, length=2) + RESPONSE + END], [opened()]

    def nothing():
        return [file_frame(length=0) + RESPONSE + END], [opened()]

    def two():
        return [file_frame() + RESPONSE + END], [opened(), opened()]

    def many():
        return [file_frame() + RESPONSE + END], [opened() for _ in range(200)]

    def twice():
        return [file_frame(), file_frame() + RESPONSE + END], [opened()]

    def none():
        return [file_frame() + RESPONSE + END], []

    def stray():
        return [RESPONSE + END], [opened()]

    def late():
        return [RESPONSE, file_frame() + END], [opened()]

    def lent():
        # Only a host in nginx's own process can lend anything.
        return [RESPONSE + struct.pack('<IBBHQ', 8, 23, 0, 0, 0) + END], []

    def data():
        return [file_frame() + RESPONSE + struct.pack('<IBBH', 3, 17, 0, 0) + b'abc' + END], [opened()]

    def application(environ, start_response):
        name = environ['PATH_INFO'][1:]
        if name:
            parts, fds = globals()[name]()
            with connection() as nginx:
                for part in parts:
                    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', fds))] if fds else []
                    nginx.sendmsg([part], rights)
            for fd in fds:
                os.close(fd)
        start_response('200 OK', [('Content-Type', 'text/plain')])
        return [b'well']
"""
REFUSALS = {
    "device": "the file of a File frame is not a regular file",
    "directory": "the file of a File frame is not a regular file",
    "pipe": "the file of a File frame is not a regular file",
    "path": "the file of a File frame is not open for reading",
    "write_only": "the file of a File frame is not open for reading",
    "beyond": "the file of a File frame is shorter than it was",
    "overflow": 'frame field "length" is invalid',
    "nothing": 'frame field "length" is invalid',
    "two": "a descriptor from upstream is lost: it sent more than one",
    "many": "a descriptor from upstream is lost: it sent more than one",
    "none": "File frame without its descriptor",
    "stray": "a descriptor without its frame",
    "data": "unexpected Data frame",
}


@pytest.fixture
def hostile(nginx):
    (nginx.dir / "file.bin").write_bytes(b"0123456789" * 100)
    nginx.write("app.wsgi", HOSTILE)
    nginx.configure(
        http="wsgi_daemon_process app threads=1;",
        server="wsgi_script_alias / {dir}/app.wsgi process-group=app;",
        workers=1,
    )
    nginx.start()
    assert get(nginx.port, "/")[2] == b"well"
    return nginx


@pytest.mark.parametrize("what", REFUSALS)
def test_what_a_hostile_host_passes_is_refused(hostile, what):
    [worker] = hostile.workers()
    before = len(links(worker.pid))
    for _ in range(3):
        status, _, body = get(hostile.port, f"/{what}")
        if what in ("two", "many"):
            # The system has closed what was too much.
            assert status in (200, 502)
        else:
            assert status == 502
    assert REFUSALS[what] in hostile.log()
    # It answers each of these twice, so that the next request may get an answer too many.
    wait_until(lambda: get(hostile.port, "/")[2] == b"well", lambda: hostile.log())
    wait_until(lambda: len(links(worker.pid)) <= before, lambda: f"descriptors to be closed: {links(worker.pid)}")


@pytest.mark.parametrize("what", ["twice", "late", "lent"])
def test_a_file_out_of_place(hostile, what):
    [worker] = hostile.workers()
    before = len(links(worker.pid))
    for _ in range(3):
        status, _, body = get(hostile.port, f"/{what}")
        assert status == 502 or body is None
    assert get(hostile.port, "/")[2] == b"well"
    assert "upstream sent an invalid response" in hostile.log()
    wait_until(lambda: len(links(worker.pid)) <= before, lambda: f"descriptors to be closed: {links(worker.pid)}")
