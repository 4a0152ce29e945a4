"""HTTP/1.0, kept connections, pipelines, and both directions at once."""

from case import MEBIBYTE, Pause, chunked, chunks, get, head, of, pipeline, post, raw, request

case = of("connection")
ECHO = """
    body = environ['wsgi.input'].read()
    start_response('200 OK', [('Content-Length', str(len(body) + len(environ['PATH_INFO'])))])
    return [environ['PATH_INFO'].encode('latin-1'), body]
"""
STREAM = "start_response('200 OK', []); return [environ['PATH_INFO'].encode('latin-1'), b' streamed']"

case("kept", ECHO, pipeline(get("/1")), quick=True)
case("kept-stream", STREAM, pipeline(get("/1")))
case("pipeline", ECHO, pipeline(get("/1"), get("/2"), get("/3")))
case("pipeline-bodies", ECHO, pipeline(post(b"one", "/1"), get("/2"), post(b"three", "/3")), quick=True)
case("pipeline-stream", STREAM, pipeline(get("/1"), get("/2")))
case("pipeline-head", ECHO, pipeline(head("/1"), get("/2"), head("/3")))
case("pipeline-unread-body", STREAM, pipeline(post(b"unread", "/1"), get("/2")))
case("pipeline-unread-large", STREAM, pipeline(post(b"x" * 100000, "/1"), get("/2")))
case("pipeline-partly-read", "environ['wsgi.input'].read(3); start_response('200 OK', []); return [b'some']",
     pipeline(post(b"abcdef", "/1"), get("/2")))
case("pipeline-chunked", ECHO, pipeline(chunked(chunks(b"ab", b"c")), get("/2")), config="WSGIChunkedRequest On")
case("pipeline-after-error", "raise ValueError", pipeline(get("/1"), get("/2")))
case("pipeline-204", "start_response('204 No Content', []); return []", pipeline(get("/1"), get("/2")))
case("pipeline-304", "start_response('304 Not Modified', []); return []", pipeline(get("/1"), get("/2")))
case("pipeline-continue", ECHO, pipeline(request("POST", "/1", "Expect: 100-continue", body=b"abc"), get("/2")))
case("pipeline-short-body", "start_response('200 OK', [('Content-Length', '9')]); return [b'short']",
     pipeline(get("/1"), get("/2")))
case("pipeline-cut-body", """
    def respond():
        yield b'begun'
        raise ValueError
    start_response('200 OK', [])
    return respond()
""", pipeline(get("/1"), get("/2")))
case("1.0", ECHO, get("/1", version="1.0"))
case("1.0-no-host", ECHO, get("/1", version="1.0", host=None))
case("1.0-kept", ECHO, pipeline(get("/1", "Connection: keep-alive", version="1.0")))
case("1.0-kept-stream", STREAM, get("/1", "Connection: keep-alive", version="1.0"))
case("1.0-post", ECHO, post(b"body", "/1", version="1.0"))
case("1.0-head", ECHO, head("/1", version="1.0"))
case("close-asked", STREAM, get("/1", "Connection: close"))
case("close-by-application", "start_response('200 OK', [('Connection', 'close'), ('Content-Length', '1')]); return [b'x']",
     pipeline(get("/1"), get("/2")))
case("slow-request", ECHO, raw(b"GET {mount}/x HTTP/1.1\r\nHo", Pause(0.1), b"st: localhost\r\nConnection: close\r", Pause(0.1), b"\n\r\n"))

SIZE = 2 * MEBIBYTE
# mod_wsgi's daemon mode hangs in these.
HANGS = {"patience": 4}
case("duplex-echo", """
    def respond():
        while True:
            block = environ['wsgi.input'].read(10000)
            if not block:
                return
            yield block
    start_response('200 OK', [])
    return respond()
""", post(b"0123456789abcdef" * (SIZE // 16), **HANGS), quick=True)
case("duplex-answer-first", f"""
    def respond():
        yield b'a' * {SIZE}
        yield b'%d' % len(environ['wsgi.input'].read())
    start_response('200 OK', [])
    return respond()
""", post(b"x" * SIZE, **HANGS))
case("duplex-chunked", """
    start_response('200 OK', [])
    return iter(lambda: environ['wsgi.input'].read(4096), b'')
""", chunked(chunks(*[b"y" * 30000] * 40), **HANGS), config="WSGIChunkedRequest On")
case("large-answer-unread-body", f"start_response('200 OK', []); return [b'a' * {SIZE}]", post(b"x" * MEBIBYTE, **HANGS))
