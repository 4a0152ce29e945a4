"""Measures under valgrind whether requests leak: python tests/leaks.py [requests of each kind]

Run by scripts/leaks. One nginx serves N requests of each kind, another one 2 N; at the end memcheck
says how much memory in their processes nobody refers to any more, and that has to be the same.
"""

import os
import re
import signal
import socket
import sys
import time
from pathlib import Path

from client import exchange, parse
from nginx import BINARY, Nginx
from processes import become_subreaper, wait_until

# scripts/valgrind has put its nginx where memcheck writes.
LOGS = Path(BINARY).parent

APP = '''
import logging, mod_wsgi, os, subprocess, sys, tempfile, threading, warnings

def plain(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain'), ('Content-Length', '6')])
    return [b'hello\\n']

def environ(environ, start_response):
    start_response('200 OK', [('X-Name', 'value'), ('Set-Cookie', 'a=b'), ('Set-Cookie', 'c=d')])
    return [repr(sorted(environ.items(), key=lambda item: item[0])).encode()]

def generator(environ, start_response):
    start_response('200 OK', [])
    for number in range(5):
        yield b'line %d\\n' % number

def large(environ, start_response):
    start_response('200 OK', [])
    return [b'x' * 300000, b'', b'y' * 300000]

def write(environ, start_response):
    write = start_response('200 OK', [])
    write(b'written ')
    write(b'x' * 100000)
    return [b'returned']

def read(environ, start_response):
    data = environ['wsgi.input'].read()
    start_response('200 OK', [])
    return [data]

def lines(environ, start_response):
    stream = environ['wsgi.input']
    got = [stream.readline(), stream.readline(3), stream.read(7), *stream.readlines(20), *stream]
    start_response('200 OK', [])
    return got

def unread(environ, start_response):
    start_response('200 OK', [])
    return [b'not read\\n']

def wrapper(environ, start_response):
    file = tempfile.TemporaryFile()
    file.write(b'z' * 70000)
    file.seek(10)
    start_response('200 OK', [])
    return environ['wsgi.file_wrapper'](file, 4096)

def wrapped_object(environ, start_response):
    import io
    start_response('200 OK', [])
    return environ['wsgi.file_wrapper'](io.BytesIO(b'z' * 7000), 1024)

def raising(environ, start_response):
    raise ValueError('on purpose')

def raising_late(environ, start_response):
    start_response('200 OK', [('Content-Length', '100')])
    yield b'some'
    raise ValueError('on purpose')

def exc_info(environ, start_response):
    start_response('200 OK', [])
    try:
        raise ValueError('on purpose')
    except ValueError:
        start_response('500 Sorry', [('X', 'y')], sys.exc_info())
    return [b'sorry']

def bad_status(environ, start_response):
    start_response(200, [])
    return []

def bad_header(environ, start_response):
    start_response('200 OK', [('A', 'b\\r\\nc')])
    return []

def bad_body(environ, start_response):
    start_response('200 OK', [])
    return ['text']

def no_start(environ, start_response):
    return [b'x']

def exiting(environ, start_response):
    sys.exit(3)

class Closing:
    def __iter__(self):
        return iter([b'a', b'b'])
    def close(self):
        raise RuntimeError('in close')

def closing(environ, start_response):
    start_response('200 OK', [])
    return Closing()

def logs(environ, start_response):
    environ['wsgi.errors'].write('one\\ntwo')
    environ['wsgi.errors'].writelines(['a', 'b\\n'])
    environ['wsgi.errors'].flush()
    print('printed')
    handler = mod_wsgi.LogHandler()
    handler.handle(logging.LogRecord('name', logging.WARNING, 'file', 1, 'text %s', ('x',), None))
    warnings.warn('careful')
    start_response('200 OK', [])
    return [repr(sorted(mod_wsgi.request_data())).encode(), repr(len(mod_wsgi.active_requests)).encode()]

local = threading.local()

def threads(environ, start_response):
    local.seen = getattr(local, 'seen', 0) + 1
    thread = threading.Thread(target=print, args=('in a thread',))
    thread.start()
    thread.join()
    start_response('200 OK', [])
    return [b'%d' % local.seen]

def child(environ, start_response):
    start_response('200 OK', [])
    return [b'%d' % subprocess.run(['/bin/true']).returncode]

def pid(environ, start_response):
    start_response('200 OK', [])
    return [b'%d' % os.getpid()]

def endless(environ, start_response):
    start_response('200 OK', [])
    while True:
        yield b'x' * 10000

def application(environ, start_response):
    return globals()[environ['PATH_INFO'].split('/')[1]](environ, start_response)
'''


def request(line, headers="", body=b""):
    return f"{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n".encode() + body


def with_body(path, body, headers=""):
    return request(f"POST {path}", f"Content-Length: {len(body)}\r\n{headers}", body)


def chunked(path, body, size=1000):
    chunks = [body[at : at + size] for at in range(0, len(body), size)]
    body = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    return request(f"POST {path}", "Transfer-Encoding: chunked\r\n", body)


# What the application is asked for with GET, and the status that answers.
GET = {
    "plain": 200, "environ": 200, "generator": 200, "large": 200, "write": 200, "wrapper": 200,
    "wrapped_object": 200, "raising": 500, "raising_late": 200, "exc_info": 500, "bad_status": 500,
    "bad_header": 500, "bad_body": 500, "no_start": 500, "exiting": 500, "closing": 200, "logs": 200,
    "threads": 200, "child": 200,
}  # fmt: skip
LINES = b"a line\n" * 1000


def kinds(server):
    """The kinds of requests: a name, the status that answers, and how to make one below an alias."""

    def to(status, name, make):
        return name, status, lambda at: exchange(server.port, make(at), 300)

    for name, status in GET.items():
        yield to(status, name, lambda at, name=name: request(f"GET {at}/{name}?a=b&c=%20"))
    for name in "read", "lines", "unread":
        for way in with_body, chunked:
            yield to(200, f"{name} {way.__name__}", lambda at, name=name, way=way: way(f"{at}/{name}", LINES))
    yield to(200, "streamed upload", lambda at: chunked(f"/streamed{at}/read", LINES))
    yield to(200, "HEAD", lambda at: request(f"HEAD {at}/large"))
    yield to(200, "HTTP/1.0", lambda at: f"GET {at}/generator HTTP/1.0\r\n\r\n".encode())
    kept = "GET {}/plain HTTP/1.1\r\nHost: localhost\r\n\r\n"
    yield to(200, "kept connection", lambda at: kept.format(at).encode() * 3 + request(f"GET {at}/plain"))
    bad = b"3\r\nabcd\r\nzz\r\n"
    yield to(400, "bad chunk", lambda at: request(f"POST {at}/read", "Transfer-Encoding: chunked\r\n", bad))
    yield to(404, "no script", lambda at: request(f"GET /missing{at}"))
    yield to(500, "script that raises", lambda at: request(f"GET /broken{at}"))
    yield "reloaded script", 200, lambda at: reloaded(server, at)
    yield "client leaves the response", None, lambda at: leave(server.port, request(f"GET {at}/endless"), 20000)
    yield "client leaves its upload", None, lambda at: leave(
        server.port, request(f"POST /streamed{at}/read", "Content-Length: 9999\r\n", b"some"), 0
    )


def leave(port, data, wanted):
    with socket.create_connection(("127.0.0.1", port), timeout=300) as s:
        s.sendall(data)
        while wanted > 0:
            wanted -= len(s.recv(65536)) or wanted
        time.sleep(0.05)


def reloaded(server, at):
    script = server.dir / "changing.wsgi"
    changed = script.stat().st_mtime_ns + 10**9
    os.utime(script, ns=(changed, changed))
    return exchange(server.port, request(f"GET /changing{at}"), 300)


def aliases(at, options):
    scripts = {"": "app", "/missing": "nothing", "/broken": "broken", "/changing": "changing"}
    # nginx takes the first alias that matches.
    return "\n".join(
        f"wsgi_script_alias {prefix}{at} {{dir}}/{name}.wsgi {options};" for prefix, name in reversed(scripts.items())
    )


WAYS = {
    "/embedded": '"process-group=%{GLOBAL}" "application-group=%{GLOBAL}"',
    "/embedded-sub": '"process-group=%{GLOBAL}" application-group=sub',
    "/daemon": 'process-group=app "application-group=%{GLOBAL}"',
    "/daemon-sub": "process-group=app application-group=sub",
}


def configure(server):
    server.write("app.wsgi", APP)
    server.write("broken.wsgi", "import no_such_module\n")
    server.write(
        "changing.wsgi",
        """
        class Made:
            def __call__(self, environ, start_response):
                start_response('200 OK', [])
                return [b'changed']

        application = Made()
        application.itself = application
        """,
    )
    # memcheck looks for leaks when the process has ended otherwise, which takes its time.
    group = "wsgi_daemon_process app processes=1 threads=2 shutdown-timeout=300;"
    streamed = [f"wsgi_script_alias /streamed{at} {{dir}}/app.wsgi {options};" for at, options in WAYS.items()]
    buffered = [aliases(at, options) for at, options in WAYS.items()]
    lines = [*buffered, "location /streamed {", "wsgi_request_buffering off;", *streamed, "}"]
    settings = group + "wsgi_embedded_threads 2; wsgi_chunked_request on;"
    server.configure(workers=1, http=settings, server="\n".join(lines))


LOST = re.compile(r"definitely lost: ([\d,]+) bytes in ([\d,]+) blocks|All heap blocks were freed")


def lost(pid):
    """Bytes and blocks that nobody referred to when a process ended, and memcheck's report of them."""
    log = LOGS / f"{pid}.log"
    found = wait_until(lambda: LOST.search(log.read_text(errors="replace")), lambda: f"a leak summary in {log}", 120)
    return *(int((number or "0").replace(",", "")) for number in found.groups()), log.read_text(errors="replace")


def pid_of(server, at):
    answer = exchange(server.port, request(f"GET {at}/pid"), 300)
    return int(answer.partition(b"\r\n\r\n")[2].split(b"\r\n")[1])


def measure(count):
    """What the embedded and the daemon process have lost after so many requests of each kind."""
    server = Nginx()
    try:
        configure(server)
        server.start()
        pids = {mode: pid_of(server, f"/{mode}") for mode in ("embedded", "daemon")}
        made = 0
        for name, status, make in kinds(server):
            for at in WAYS:
                for _ in range(count):
                    answer = make(at)
                    if status is not None:
                        assert parse(answer)[0] == status, f"{name} {at}: {answer[:500]}\n{server.log()[-2000:]}"
                    made += 1
        assert pids == {mode: pid_of(server, f"/{mode}") for mode in pids}, server.log()
        server.send(signal.SIGQUIT)
        server.wait_until_gone()
        return made, {mode: lost(pid) for mode, pid in pids.items()}
    finally:
        server.end()


def main(count):
    become_subreaper()
    once, few = measure(count)
    twice, many = measure(2 * count)
    status = 0
    for mode in few:
        (size, blocks, _), (more, more_blocks, report) = few[mode], many[mode]
        print(
            f"{mode}: {size} bytes in {blocks} blocks lost after {once} requests of both modes,"
            f" {more} bytes in {more_blocks} blocks after {twice}"
        )
        if more_blocks > blocks or more > size:
            print(report)
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 25))
