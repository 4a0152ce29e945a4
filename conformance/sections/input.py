"""d.1 to d.3: wsgi.input, and how bodies arrive."""

from case import (MEBIBYTE, Await, Pause, abort, chunked, chunks, get, half_close, of, post, request, slowly)

case = of("input")
BODY = b"first line\nsecond\n\nlast without end"


def reads(name, *calls, body=BODY, requests=None, **options):
    """What each call on wsgi.input gives, one after the other."""
    case(name, f"""
        input = environ['wsgi.input']
        facts = {{}}
        for number, call in enumerate({calls!r}, 1):
            facts[f'{{number}} {{call}}'] = attempt(eval, call, {{'input': input}})
        return report(start_response, facts)
    """, *(requests or [post(body)]), **options)


reads("read", "input.read()", "input.read()", "input.read(1)")
reads("read-negative", "input.read(-1)")
reads("read-very-negative", "input.read(-1000)")
reads("read-zero", "input.read(0)", "input.read()")
reads("read-some", "input.read(5)", "input.read(1)", "input.read(1000)", "input.read(5)")
reads("read-huge-size", "input.read(2 ** 40)")
reads("read-overflow", "input.read(2 ** 100)", "input.readline(2 ** 100)")
reads("read-none", "input.read(None)", "input.readline(None)", "input.readlines(None)")
reads("read-str", "input.read('3')", "input.read(b'3')", "input.read(3.0)")
reads("read-true", "input.read(True)")
reads("read-index", "input.read(type('I', (), {'__index__': lambda s: 4})())")
reads("read-keyword", "input.read(size=3)", "input.readline(size=3)", "input.readlines(hint=3)")
reads("read-two-arguments", "input.read(1, 2)", "input.readline(1, 2)", "input.readlines(1, 2)")
reads("readline", "input.readline()", "input.readline()", "input.readline()", "input.readline()", "input.readline()")
reads("readline-size", "input.readline(3)", "input.readline(3)", "input.readline(100)", "input.readline(0)", "input.readline(-1)")
reads("readline-zero-first", "input.readline(0)", "input.read()")
reads("readlines", "input.readlines()", "input.readlines()")
reads("readlines-hint", "input.readlines(1)", "input.readlines(12)", "input.readlines(0)")
reads("readlines-negative", "input.readlines(-1)")
reads("iteration", "list(input)", "list(input)")
reads("next", "next(input)", "iter(input) is input", "next(input)")
reads("mixed", "input.readline()", "input.read(3)", "next(input)", "input.readlines()", "input.read()")
reads("close", "input.close()", "input.read(3)", "input.close()", "input.read()")
reads("absent", "input.seek(0)", "input.tell()", "input.fileno()", "input.readinto(bytearray(3))", "input.closed",
      "input.readable()", "input.__enter__()")
reads("attributes", "sorted(name for name in dir(input) if not name.startswith('_'))", "type(input).__name__",
      "type(input)()", "input.x", "setattr(input, 'x', 1)", "repr(input).split(' at ')[0]")
reads("no-body", "input.read()", "input.readline()", "list(input)", requests=[get()])
reads("empty-body", "input.read()", "input.readline()", body=b"")
reads("get-with-body", "input.read()", requests=[request("GET", body=BODY)])
reads("only-newlines", "input.readlines()", body=b"\n\n\n")
reads("carriage-returns", "input.readlines()", body=b"a\r\nb\rc\n")
reads("nuls", "input.read()", body=bytes(range(256)))
reads("long-line", "len(input.readline())", "input.readline()", body=b"x" * 200000 + b"\nnext\n")
reads("large", "__import__('hashlib').sha256(input.read()).hexdigest()", body=b"0123456789abcdef" * (MEBIBYTE // 2))
reads("large-pieces", "sum(len(piece) for piece in iter(lambda: input.read(10000), b''))", body=b"x" * 3 * MEBIBYTE)
reads("large-lines", "sum(1 for line in input)", body=b"some line\n" * 100000)
reads("subclass", "type('I', (type(input),), {})")

# Arriving slowly.
reads("slow", "input.read(3)", "input.readline()", "input.read()",
      requests=[slowly(post(BODY), BODY[:2], Pause(0.2), BODY[2:8], Pause(0.2), BODY[8:])])
case("not-read", "start_response('200 OK', []); return [b'ignored']", post(b"x" * 100000))
case("not-read-large", "start_response('200 OK', [('Content-Length', '7')]); return [b'ignored']", post(b"x" * 3 * MEBIBYTE))
case("partly-read", "environ['wsgi.input'].read(10); start_response('200 OK', []); return [b'enough']", post(b"x" * 100000))
case("read-while-answering", """
    def respond():
        yield b'begin '
        yield environ['wsgi.input'].read(5)
        yield b' end '
        yield environ['wsgi.input'].read()
    start_response('200 OK', [])
    return respond()
""", post(BODY))
case("echo-lines", """
    start_response('200 OK', [])
    return environ['wsgi.input']
""", post(BODY))
case("echo-file-wrapper", """
    start_response('200 OK', [])
    return environ['wsgi.file_wrapper'](environ['wsgi.input'], 7)
""", post(BODY))
case("after-request", """
    def application(environ, start_response):
        if environ['QUERY_STRING']:
            kept = application.kept
            calls = dict(read=lambda: kept.read(), size=lambda: kept.read(1), zero=lambda: kept.read(0), line=lambda: kept.readline(),
                         lines=lambda: kept.readlines(), next=lambda: next(kept), list=lambda: list(kept),
                         close=lambda: kept.close(), iter=lambda: iter(kept) is kept)
            return report(start_response, {name: attempt(call) for name, call in calls.items()})
        application.kept = environ['wsgi.input']
        start_response('200 OK', [])
        return [b'kept']
""", post(BODY, label="first"), get("?later", label="second"), quick=True)
case("in-other-thread", """
    import threading
    got = []
    thread = threading.Thread(target=lambda: got.append(attempt(environ['wsgi.input'].read)))
    thread.start()
    thread.join()
    return report(start_response, {'got': got[0]})
""", post(BODY))
case("wrapped", """
    import io
    text = io.TextIOWrapper(io.BufferedReader(io.BytesIO(environ['wsgi.input'].read())), 'latin-1')
    return report(start_response, {'lines': list(text)})
""", post(BODY))

# 100-continue.
EXPECT = "Expect: 100-continue"
case("continue-read", "return report(start_response, {'body': environ['wsgi.input'].read().decode()})",
     slowly(request("POST", "", EXPECT, body=b"abc"), Await(b"100 Continue", 3), b"abc"), quick=True)
case("continue-not-read", "start_response('200 OK', [('Content-Length', '2')]); return [b'no']",
     slowly(request("POST", "", EXPECT, body=b"abc"), Await(b"\r\n\r\n", 3), b"abc"))
case("continue-read-zero", "return report(start_response, {'body': environ['wsgi.input'].read(0).decode()})",
     slowly(request("POST", "", EXPECT, body=b"abc"), Await(b"\r\n\r\n", 3), b"abc"))
case("continue-1.0", "return report(start_response, {'body': environ['wsgi.input'].read().decode()})",
     request("POST", "", EXPECT, body=b"abc", version="1.0"))
case("continue-body-at-once", "return report(start_response, {'body': environ['wsgi.input'].read().decode()})",
     request("POST", "", EXPECT, body=b"abc"))
case("continue-odd-expectation", "start_response('200 OK', []); return [b'fine']",
     request("POST", "", "Expect: something", body=b"abc"))
case("continue-refused", "start_response('403 No', [('Content-Length', '2')]); return [b'no']",
     slowly(request("POST", "", EXPECT, body=b"abc"), Await(b"\r\n\r\n", 3), b"abc"))
case("continue-too-large", "start_response('200 OK', []); return [b'no']",
     slowly(request("POST", "", EXPECT, "Content-Length: 1000"), Await(b"\r\n\r\n", 3)),
     apache="LimitRequestBody 100", nginx="client_max_body_size 100;")

# Chunked coding.
CHUNKED = {"config": "WSGIChunkedRequest On"}
reads("chunked-off", "input.read()", requests=[chunked(chunks(BODY))])
reads("chunked", "input.read()", requests=[chunked(chunks(BODY[:4], BODY[4:9], BODY[9:]))], **CHUNKED)
reads("chunked-pieces", "input.read(3)", "input.read(5)", "input.readline()", "input.read()", "input.read()",
      requests=[chunked(chunks(BODY[:4], BODY[4:9], BODY[9:]))], **CHUNKED)
reads("chunked-empty", "input.read()", requests=[chunked(chunks())], **CHUNKED)
reads("chunked-one-byte", "input.readlines()", requests=[chunked(chunks(*[bytes([byte]) for byte in BODY]))], **CHUNKED)
reads("chunked-large", "__import__('hashlib').sha256(input.read()).hexdigest()",
      requests=[chunked(chunks(*[b"0123456789abcdef" * 4096] * 40))], **CHUNKED)
reads("chunked-extension", "input.read()", requests=[chunked(b"3;a=b\r\nabc\r\n0;c\r\n\r\n")], **CHUNKED)
reads("chunked-trailers", "input.read()", requests=[chunked(chunks(b"abc", end=b"0\r\nX-Trailer: 1\r\n\r\n"))], **CHUNKED)
reads("chunked-upper-case", "input.read()", requests=[chunked(b"A\r\n0123456789\r\n0\r\n\r\n")], **CHUNKED)
reads("chunked-zeros", "input.read()", requests=[chunked(b"0003\r\nabc\r\n000\r\n\r\n")], **CHUNKED)
reads("chunked-slow", "input.read(2)", "input.read()",
      requests=[slowly(chunked(b""), b"3\r\na", Pause(0.2), b"bc\r\n3\r", Pause(0.2), b"\ndef\r\n0\r\n\r\n")], **CHUNKED)
reads("chunked-continue", "input.read()",
      requests=[slowly(chunked(b"", EXPECT), Await(b"100 Continue", 3), chunks(b"abc"))], **CHUNKED)
case("chunked-huge-size", "start_response('200 OK', []); return [environ['wsgi.input'].read()]",
     chunked(b"fffffffffffffffff\r\nabc\r\n0\r\n\r\n"), **CHUNKED)
case("chunked-and-length", "return report(start_response, {'body': environ['wsgi.input'].read().decode(), 'length': environ.get('CONTENT_LENGTH')})",
     request("POST", "", "Transfer-Encoding: chunked", "Content-Length: 3", body=chunks(b"abcdef")), **CHUNKED)
case("chunked-1.0", "return report(start_response, {'body': environ['wsgi.input'].read().decode()})",
     request("POST", "", "Transfer-Encoding: chunked", body=chunks(b"abc"), version="1.0"), **CHUNKED)
case("chunked-limit", "return report(start_response, {'body': attempt(environ['wsgi.input'].read)})",
     chunked(chunks(b"x" * 60, b"y" * 60)), apache="LimitRequestBody 100", nginx="client_max_body_size 100;", **CHUNKED)

# Bodies that never arrive whole. The server reads the body while the application runs, or before. The
# pauses let the application begin: nginx refuses at once what is wrong from the start.
READING = """
    print(NAME, 'some', attempt(environ['wsgi.input'].read, 2), file=environ['wsgi.errors'])
    print(NAME, 'rest', attempt(environ['wsgi.input'].read), file=environ['wsgi.errors'])
    print(NAME, 'then', attempt(environ['wsgi.input'].readline), file=environ['wsgi.errors'])
    start_response('200 OK', [])
    return [b'answer']
"""
# Why it failed is said in the words of the server.
FOUND = [r"some \w+: mod_wsgi request data read error|some b.*", r"rest \w+: mod_wsgi request data read error|rest b.*",
         r"then \w+: mod_wsgi request data read error: .*|then b.*"]
for name, broken in {
    "short": slowly(post(b"x" * 1000), b"x" * 500, Pause(0.1), half_close),
    "left": slowly(post(b"x" * 1000), b"x" * 500, Pause(0.1), abort),
    "left-early": slowly(post(b"x" * 1000), Pause(0.2), abort),
    "bad-chunk": slowly(chunked(b""), Pause(0.2), b"xyz\r\nabc\r\n0\r\n\r\n"),
    "bad-later-chunk": slowly(chunked(b""), b"3\r\nabc\r\n", Pause(0.2), b"zz\r\n"),
    "long-chunk": slowly(chunked(b""), b"3\r\nabc", Pause(0.2), b"def\r\n0\r\n\r\n"),
    "cut-chunk": slowly(chunked(b""), b"5\r\nab", Pause(0.1), half_close),
    "no-last-chunk": slowly(chunked(b""), b"3\r\nabc\r\n", Pause(0.1), half_close),
}.items():
    case(f"broken-{name}", READING, broken, log=FOUND, **CHUNKED)
    case(f"broken-streamed-{name}", READING, broken, log=FOUND, nginx="wsgi_request_buffering off;", **CHUNKED)
STREAMED = {"nginx": "wsgi_request_buffering off;", **CHUNKED}
reads("streamed", "input.read(5)", "input.readline()", "input.read()", "input.read()", **STREAMED)
reads("streamed-chunked", "input.read(5)", "input.readline()", "input.read()", requests=[chunked(chunks(BODY[:7], BODY[7:]))], **STREAMED)
reads("streamed-slow", "input.read(3)", "input.readline()", "input.read()",
      requests=[slowly(post(BODY), BODY[:2], Pause(0.2), BODY[2:8], Pause(0.2), BODY[8:])], **STREAMED)
reads("streamed-large", "__import__('hashlib').sha256(input.read()).hexdigest()", body=b"0123456789abcdef" * (MEBIBYTE // 2), **STREAMED)
reads("streamed-none", "input.read()", requests=[get()], **STREAMED)
case("streamed-not-read", "start_response('200 OK', [('Content-Length', '7')]); return [b'ignored']", post(b"x" * 3 * MEBIBYTE), **STREAMED)
case("streamed-continue-read", "return report(start_response, {'body': environ['wsgi.input'].read().decode()})",
     slowly(request("POST", "", EXPECT, body=b"abc"), Await(b"100 Continue", 3), b"abc"), **STREAMED)
case("streamed-continue-not-read", "start_response('200 OK', [('Content-Length', '2')]); return [b'no']",
     slowly(request("POST", "", EXPECT, body=b"abc"), Await(b"\r\n\r\n", 3), b"abc"), **STREAMED)
case("streamed-while-sending", """
    def respond():
        yield environ['wsgi.input'].read(3) + b' '
        yield environ['wsgi.input'].read()
    start_response('200 OK', [])
    return respond()
""", slowly(post(b"abcdef"), b"abc", Await(b"abc ", 3), b"def"), modes=("embedded",), **STREAMED)
