"""Request bodies that nginx has put into a file: the application reads that file. Both modes."""

import hashlib
import http.client
import os
import re
import time
from pathlib import Path

import pytest

from processes import wait_until

MIB = 1 << 20

APP = """
    import fcntl, hashlib, os

    HERE = os.path.dirname(__file__)

    def uploads():
        # Temporary files of nginx that this process has open, with the mode.
        for name in os.listdir('/proc/self/fd'):
            try:
                if 'client_body' in os.readlink('/proc/self/fd/' + name):
                    yield fcntl.fcntl(int(name), fcntl.F_GETFL) & os.O_ACCMODE
            except OSError:
                pass

    def digest(body):
        return hashlib.sha256(body).hexdigest()

    def whole(body, environ):
        data = body.read()
        return f'{digest(data)} {body.read()} {body.readline()}'

    def sized(body, environ):
        return digest(body.read(int(environ['CONTENT_LENGTH']))) + f' {body.read(1)}'

    def pieces(body, environ):
        parts = []
        while part := body.read(100001):
            parts.append(part)
        return digest(b''.join(parts))

    def lines(body, environ):
        first = body.readline()
        short = body.readline(3)
        found = [first, short, *body]
        return digest(b''.join(found)) + f' {len(found)}'

    def mixed(body, environ):
        found = [body.readline(), body.read(70000), body.readline(), body.read(10), body.read()]
        return digest(b''.join(found)) + f' {[len(part) for part in found[:-1]]}'

    def some(body, environ):
        return repr(body.read(5))

    def nothing(body, environ):
        return ''

    def opened(body, environ):
        body.read(1)
        return repr(sorted(uploads()))

    def again(body, environ):
        # The first process that gets it dies of it.
        path = os.path.join(HERE, 'died')
        body.read(1000)
        if not os.path.exists(path):
            open(path, 'w').close()
            os._exit(1)
        return digest(body.read())

    def application(environ, start_response):
        answer = globals()[environ['PATH_INFO'][1:]](environ['wsgi.input'], environ).encode()
        start_response('200 OK', [('Content-Type', 'text/plain'), ('Content-Length', str(len(answer)))])
        return [answer]
"""
BODY = b"".join(b"%d a line of the body\n" % number for number in range(100000))
DIGEST = hashlib.sha256(BODY).hexdigest()


@pytest.fixture
def serve(nginx):
    def serve(group, directives="", processes=1):
        nginx.dir.chmod(0o777)
        nginx.write("app.wsgi", APP, invalid="wsgiref.validate wants a size with every read()")
        nginx.configure(
            http=f"client_max_body_size 100m; wsgi_daemon_process app threads=2 processes={processes};",
            server=f"wsgi_script_alias / {{dir}}/app.wsgi {group};\n{directives}",
            workers=1,
        )
        nginx.start()
        return http.client.HTTPConnection("127.0.0.1", nginx.port, timeout=60)

    return serve


def post(connection, path, body=BODY, **options):
    connection.request("POST", path, body, **options)
    answer = connection.getresponse()
    text = answer.read().decode()
    assert answer.status == 200, text
    return text


@pytest.mark.parametrize("size", ["", "client_body_buffer_size 4m;", "client_body_in_file_only clean;"])
def test_every_way_of_reading(serve, group, size):
    connection = serve(group, size)
    assert post(connection, "/whole") == f"{DIGEST} b'' b''"
    assert post(connection, "/sized") == f"{DIGEST} b''"
    assert post(connection, "/pieces") == DIGEST
    assert post(connection, "/lines") == f"{DIGEST} 100001"
    text = BODY
    lengths = []
    for take in (None, 70000, None, 10):
        length = text.index(b"\n") + 1 if take is None else take
        lengths.append(length)
        text = text[length:]
    assert post(connection, "/mixed") == f"{DIGEST} {lengths}"


def test_chunked(serve, group):
    connection = serve(group, "wsgi_chunked_request on;")
    for path in ("/whole", "/pieces"):
        assert post(connection, path, iter([BODY[:50000], BODY[50000:]]), encode_chunked=True).startswith(DIGEST)


def test_what_is_not_read_disturbs_nobody(serve, group):
    connection = serve(group)
    for _ in range(5):
        assert post(connection, "/some") == "b'0 a l'"
        assert post(connection, "/nothing") == ""
        assert post(connection, "/some", b"tiny body") == "b'tiny '"
        assert post(connection, "/nothing", b"tiny body") == ""


def test_the_file_is_the_process_s_to_read_only(serve):
    connection = serve("process-group=app")
    assert post(connection, "/opened") == str([os.O_RDONLY])
    assert post(connection, "/opened", b"short") == "[]"


def test_unbuffered_bodies_are_in_no_file(serve, group):
    connection = serve(group, "wsgi_request_buffering off;")
    assert post(connection, "/whole") == f"{DIGEST} b'' b''"
    assert post(connection, "/opened") == "[]"


def test_nobody_is_woken_for_the_pieces_of_an_unbuffered_body(serve, nginx, group):
    connection = serve(group, "wsgi_request_buffering off;")
    assert post(connection, "/whole", b"first") != DIGEST

    def switches():
        """How often each request thread has gone to sleep."""
        found = {}
        for process in [*nginx.workers(), *nginx.daemons()]:
            for task in Path(f"/proc/{process.pid}/task").iterdir():
                if re.match(r"wsgi-\d", (task / "comm").read_text()):
                    found[task.name] = int(re.search(r"^voluntary_ctxt_switches:\s*(\d+)", (task / "status").read_text(), re.M)[1])
        return found

    def pieces():
        for _ in range(200):
            time.sleep(0.005)
            yield b"x" * 1000

    before = switches()
    digest = post(connection, "/whole", pieces(), headers={"Content-Length": "200000"}).split()[0]
    assert digest == hashlib.sha256(b"x" * 200000).hexdigest()
    waits = sorted(count - before.get(task, 0) for task, count in switches().items())
    # One reads; the others have something to do when the request begins and when it ends.
    assert waits[-1] > 100 and sum(waits[:-1]) < 50, waits
    # The connection is still heard of.
    assert post(connection, "/whole", b"last") != DIGEST


def test_another_process_gets_the_whole_file(serve, nginx):
    connection = serve("process-group=app", "wsgi_next_upstream error non_idempotent;", processes=2)
    assert post(connection, "/again") == hashlib.sha256(BODY[1000:]).hexdigest()
    assert (nginx.dir / "died").exists()


def test_no_descriptor_is_left(serve, nginx, group):
    connection = serve(group)

    def counts():
        return [len(os.listdir(f"/proc/{process.pid}/fd")) for process in [*nginx.workers(), *nginx.daemons()]]

    def visit():
        for path in ("/whole", "/some", "/nothing"):
            post(connection, path)

    visit()
    before = counts()
    for _ in range(30):
        visit()
    wait_until(lambda: counts() <= before, lambda: f"descriptors to be closed: {before}, {counts()}")
