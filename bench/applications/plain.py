"""What the workloads ask for that needs no framework, by path."""

import os
import time

TEXT = [("Content-Type", "text/plain"), ("Content-Length", "13")]
FILE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "file.bin")
BODIES = {"/body-64k": b"x" * 65536, "/body-1m": b"x" * 1048576}
BLOCK = b"x" * 1024


def hello(environ, start_response):
    start_response("200 OK", TEXT)
    return [b"Hello, World!"]


def walk(environ, start_response):
    """Looks at all of environ, as an application with middleware does."""
    headers = sum(1 for name, value in environ.items() if name.startswith("HTTP_X_HEADER_") and value)
    start_response("200 OK", TEXT)
    return [b"%13d" % headers]


def body(environ, start_response):
    data = BODIES[environ["PATH_INFO"]]
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(data)))])
    return [data]


def file(environ, start_response):
    stream = open(FILE, "rb")
    size = os.fstat(stream.fileno()).st_size
    start_response("200 OK", [("Content-Type", "application/octet-stream"), ("Content-Length", str(size))])
    wrapper = environ.get("wsgi.file_wrapper")
    return wrapper(stream, 65536) if wrapper else iter(lambda: stream.read(65536), b"")


def post(environ, start_response):
    """Reads the body to its end and says how long it was."""
    stream, length = environ["wsgi.input"], 0
    while data := stream.read(65536):
        length += len(data)
    answer = b"%d" % length
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(answer)))])
    return [answer]


def blocks(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return (BLOCK for _ in range(200))


def flushed_blocks(environ, start_response):
    """Tells nginx not to gather them; mod_wsgi never does."""
    start_response("200 OK", [("Content-Type", "text/plain"), ("X-Accel-Buffering", "no")])
    return (BLOCK for _ in range(200))


def sleep(environ, start_response):
    time.sleep(0.02)
    return hello(environ, start_response)


PATHS = {
    "/": hello,
    "/hello": hello,
    "/environ": walk,
    "/body-64k": body,
    "/body-1m": body,
    "/file": file,
    "/post": post,
    "/blocks": blocks,
    "/flushed-blocks": flushed_blocks,
    "/sleep": sleep,
}


def application(environ, start_response):
    return PATHS[environ["PATH_INFO"]](environ, start_response)
