"""d.5 to d.8: write(), iterables, close(), lengths, files, HEAD."""

from case import MEBIBYTE, Await, Pause, Request, abort, get, head, of, post

case = of("output")


def body(name, expression, *requests, headers="[]", **options):
    """What a client gets of an iterable."""
    case(name, f"start_response('200 OK', {headers}); return {expression}", *requests, **options)


def fails(name, app, *requests, log=(), **options):
    """An application that raises: what the client gets, and the exception in the log."""
    case(name, app, *requests, log=log, **options)


body("list", "[b'hello']")
body("tuple", "(b'a', b'b')")
body("generator", "(bytes([65 + i]) for i in range(5))")
body("iterator", "iter([b'a', b'b'])")
body("bytes", "b'abc'")
body("string", "'abc'")
body("dict", "{b'a': 1, b'b': 2}")
body("set", "{b'a'}")
body("empty-list", "[]")
body("empty-generator", "(x for x in [])")
body("empty-items", "[b'', b'', b'a', b'']")
body("only-empty-items", "[b'', b'']")
body("bytes-subclass", "[type('B', (bytes,), {})(b'abc')]")
body("bytearray", "[bytearray(b'abc')]")
body("memoryview", "[memoryview(b'abc')]")
body("str-item", "['abc']")
body("int-item", "[1]")
body("none-item", "[None]")
body("bad-item-later", "[b'good', 'bad']")
body("none", "None")
body("int", "42")
body("getitem", "type('S', (), {'__getitem__': lambda s, i: [b'a', b'b'][i]})()")
body("large", f"[b'0123456789abcdef' * {MEBIBYTE // 4}]")
body("large-pieces", f"(b'%07d\\n' % i for i in range({MEBIBYTE // 64}))")
body("large-pieces-64k", "(b'x' * 65536 for i in range(64))")
body("http-1.0", "[b'one', b'two']", get(version="1.0"))
body("http-1.0-length", "[b'one', b'two']", get(version="1.0"), headers="[('Content-Length', '6')]")
body("nuls", "[bytes(range(256))]")

body("length-right", "[b'hello']", headers="[('Content-Length', '5')]")
body("length-short", "[b'hello']", headers="[('Content-Length', '10')]")
body("length-over", "[b'hello']", headers="[('Content-Length', '3')]")
body("length-over-later", "[b'hel', b'lo', b'!']", headers="[('Content-Length', '3')]")
body("length-zero", "[]", headers="[('Content-Length', '0')]")
body("length-zero-body", "[b'x']", headers="[('Content-Length', '0')]")
body("length-word", "[b'x']", headers="[('Content-Length', 'x')]")
body("length-negative", "[b'x']", headers="[('Content-Length', '-1')]")
body("length-float", "[b'x']", headers="[('Content-Length', '1.0')]")
body("length-huge", "[b'x']", headers="[('Content-Length', '9' * 30)]")
body("length-plus", "[b'x']", headers="[('Content-Length', '+1')]")
body("length-empty", "[b'x']", headers="[('Content-Length', '')]")
body("length-blanks", "[b'body']", headers="[('Content-Length', ' 4 ')]")
body("length-zeros", "[b'body']", headers="[('Content-Length', '0004')]")
body("length-twice-same", "[b'body']", headers="[('Content-Length', '4'), ('Content-Length', '4')]")
body("length-twice-other", "[b'body']", headers="[('Content-Length', '3'), ('Content-Length', '4')]")

body("head", "[b'hello']", head())
body("head-length", "[b'hello']", head(), headers="[('Content-Length', '5')]")
body("head-empty", "[]", head())
body("head-many", "(b'x' * 1000 for i in range(100))", head())
case("head-method", "start_response('200 OK', [('X-Method', environ['REQUEST_METHOD'])]); return []", head())
for value in ("On", "Off", "Auto"):
    case(f"head-map-{value.lower()}", """
        start_response('200 OK', [('X-Method', environ['REQUEST_METHOD'])])
        return [b'hello']
    """, head(), get(), post(b""), config=f"WSGIMapHEADToGET {value}")

case("write", """
    write = start_response('200 OK', [])
    write(b'one ')
    write(b'')
    write(b'two ')
    return [b'three']
""")
case("write-only", "start_response('200 OK', [])(b'all'); return []")
case("write-empty-commits", """
    start_response('200 OK', [])(b'')
    return [attempt(start_response, '500 No', []).encode()]
""")
for name, value in (("str", "'x'"), ("none", "None"), ("bytearray", "bytearray(b'x')"), ("int", "1"),
                    ("memoryview", "memoryview(b'x')")):
    case(f"write-{name}", f"""
        write = start_response('200 OK', [])
        return [attempt(write, {value}).encode()]
    """)
case("write-no-arguments", "return [attempt(start_response('200 OK', [])).encode()]")
case("write-two-arguments", "return [attempt(start_response('200 OK', []), b'', b'').encode()]")
case("write-keyword", "return [attempt(start_response('200 OK', []), data=b'x').encode()]")
case("write-first-without-start", "return [b'x']")
case("write-content-length-bad", """
    write = start_response('200 OK', [('Content-Length', 'x')])
    outcome = attempt(write, b'x')
    return report(start_response, {'outcome': outcome})
""")
case("write-over-length", """
    write = start_response('200 OK', [('Content-Length', '3')])
    write(b'hello')
    return [b' more']
""")

fails("raise", "raise ValueError(NAME)")
fails("raise-unicode", "raise ValueError(NAME + ' caf\\xe9 \\u20ac')")
fails("raise-multiline", "raise ValueError(NAME + ' first\\nsecond')", log=["^second$"])
fails("raise-empty", "raise ValueError")
fails("raise-after-start", "start_response('200 OK', []); raise ValueError(NAME)")
fails("raise-after-write", "start_response('200 OK', [])(b'begun'); raise ValueError(NAME)")
fails("raise-after-write-length", """
    start_response('200 OK', [('Content-Length', '100')])(b'begun')
    raise ValueError(NAME)
""")
fails("raise-in-first-item", """
    def respond():
        raise ValueError(NAME)
        yield b''
    start_response('200 OK', [])
    return respond()
""")
fails("raise-after-empty-item", """
    def respond():
        yield b''
        raise ValueError(NAME)
    start_response('200 OK', [('X-A', '1')])
    return respond()
""")
fails("raise-in-second-item", """
    def respond():
        yield b'begun'
        raise ValueError(NAME)
    start_response('200 OK', [])
    return respond()
""")
fails("raise-in-second-item-length", """
    def respond():
        yield b'begun'
        raise ValueError(NAME)
    start_response('200 OK', [('Content-Length', '100')])
    return respond()
""")
fails("raise-in-second-item-1.0", """
    def respond():
        yield b'begun'
        raise ValueError(NAME)
    start_response('200 OK', [])
    return respond()
""", get(version="1.0"))
fails("raise-in-iter", """
    class Iterable:
        def __iter__(self):
            raise ValueError(NAME)
    start_response('200 OK', [])
    return Iterable()
""")
fails("system-exit", "raise SystemExit(3)", get(), get(), log=["SystemExit exception raised by WSGI script '[^']*'"])
fails("system-exit-in-iteration", """
    def respond():
        yield b'begun'
        raise SystemExit(NAME)
    start_response('200 OK', [])
    return respond()
""")
fails("keyboard-interrupt", "raise KeyboardInterrupt(NAME)")
fails("base-exception", "raise BaseException(NAME)")
fails("generator-exit", "raise GeneratorExit(NAME)")
fails("exception-str-raises", """
    class Odd(Exception):
        def __str__(self):
            raise ValueError('str')
    raise Odd
""", log=[".*Odd:.*"])
fails("chained", """
    try:
        raise KeyError('inner')
    except KeyError as error:
        raise ValueError(NAME) from error
""")
fails("application-arguments", "def application(environ): pass")
fails("application-not-callable", "application = 'text'")
fails("application-none", "application = None")
case("application-class", """
    class application:
        def __init__(self, environ, start_response):
            start_response('200 OK', [])
        def __iter__(self):
            yield b'instance'
""")
case("application-instance", """
    class Application:
        def __call__(self, environ, start_response):
            start_response('200 OK', [])
            return [b'called']
    application = Application()
""")
case("application-partial", """
    import functools
    def respond(text, environ, start_response):
        start_response('200 OK', [])
        return [text]
    application = functools.partial(respond, b'partial')
""")

CLOSING = """
    class Body:
        def __init__(self, items):
            self.items = items
        def __iter__(self):
            return iter(self.items) if not callable(self.items) else self.items()
        def close(self):
            application.closed += 1
            print('closed', application.closed, NAME)
            {close}
    def raising():
        yield b'begun'
        raise ValueError(NAME)
    def application(environ, start_response):
        start_response('200 OK', [])
        return Body({items})
    application.closed = 0
"""


def closes(name, items, close="pass", *requests, **options):
    case(name, CLOSING.format(items=items, close=close), *requests,
         log=[r"closed \d"], **options)


closes("close", "[b'a']")
closes("close-twice-requested", "[b'a']", "pass", get(), get())
closes("close-after-error", "raising")
closes("close-after-bad-item", "[1]")
closes("close-empty", "[]")
closes("close-head", "[b'a']", "pass", head())
closes("close-raises", "[b'a']", "raise ValueError(NAME)")
closes("close-raises-after-error", "raising", "raise KeyError(NAME)")
closes("close-system-exit", "[b'a']", "raise SystemExit(NAME)")
case("close-not-callable", """
    class Body(list):
        close = 1
    start_response('200 OK', [])
    return Body([b'a'])
""")
case("close-property-raises", """
    class Body(list):
        @property
        def close(self):
            raise KeyError(NAME)
    start_response('200 OK', [])
    return Body([b'a'])
""")
case("close-property-attribute-error", """
    class Body(list):
        @property
        def close(self):
            raise AttributeError(NAME)
    start_response('200 OK', [])
    return Body([b'a'])
""")
case("close-writes-log-and-input", """
    class Body:
        def __iter__(self):
            yield b'a'
        def close(self):
            print(NAME, 'input', environ['wsgi.input'].read(), file=environ['wsgi.errors'])
    start_response('200 OK', [])
    return Body()
""", post(b"rest"), log=["input b'.*'"])
case("write-in-iteration", """
    def respond():
        yield b'one '
        write(b'two ')
        yield b'three'
    write = start_response('200 OK', [])
    return respond()
""")
case("client-leaves", """
    import time
    def respond():
        try:
            while True:
                time.sleep(0.01)
                yield b'x' * 65536
        except GeneratorExit:
            print(NAME, 'generator closed')
            raise
    start_response('200 OK', [])
    return respond()
""", Request(b"GET {mount} HTTP/1.1\r\nHost: localhost\r\n\r\n", Await(b"xxx"), abort),
     log=["generator closed"], quick=True)
case("client-leaves-write", """
    import time
    write = start_response('200 OK', [])
    def send():
        while True:
            time.sleep(0.01)
            write(b'x' * 65536)
    print(NAME, 'write', attempt(send), file=environ['wsgi.errors'])
    return []
""", Request(b"GET {mount} HTTP/1.1\r\nHost: localhost\r\n\r\n", Await(b"xxx"), abort),
     log=["write .*"])
case("slow-reader", f"start_response('200 OK', []); return (b'y' * 65536 for i in range({64}))",
     Request(b"GET {mount} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", Pause(0.5)))
case("flushed-at-once", """
    import time
    def respond():
        yield b'first'
        deadline = time.monotonic() + 10
        while not application.told and time.monotonic() < deadline:
            time.sleep(0.01)
        yield b' told' if application.told else b' never'
    def application(environ, start_response):
        start_response('200 OK', [])
        if environ['QUERY_STRING']:
            application.told = True
            return [b'ok']
        return respond()
    application.told = False
""", Request(b"GET {mount} HTTP/1.1\r\nHost: localhost\r\n\r\n", Await(b"first"),
             lambda connection: tell(connection), label="stream", keep=True))


def tell(connection):
    """Another request, on a connection of its own, which lets the first go on."""
    import socket
    server = connection.socket.getpeername()
    with socket.create_connection(server, timeout=10) as other:
        other.sendall(b"GET /output/flushed-at-once?told HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        while other.recv(4096):
            pass


FILE = "open(__file__.replace('.wsgi', '.txt'), 'rb')"
TEXT = "0123456789" * 100


def file(name, expression, *requests, headers="[]", prepare="", log=(), files=True):
    case(name, f"""
        file = {FILE if files else 'None'}
        wrapper = environ['wsgi.file_wrapper']
        {prepare or 'pass'}
        start_response('200 OK', {headers})
        return {expression}
    """, *requests, files={f"output-{name}.txt": TEXT} if files else {}, log=log)


file("file", "wrapper(file)")
file("file-blksize", "wrapper(file, 7)")
file("file-keywords", "wrapper(filelike=file, blksize=7)")
file("file-position", "wrapper(file)", prepare="file.seek(990)")
file("file-position-end", "wrapper(file)", prepare="file.seek(1000)")
file("file-position-past", "wrapper(file)", prepare="file.seek(2000)")
file("file-length", "wrapper(file)", headers="[('Content-Length', '10')]")
file("file-length-position", "wrapper(file)", headers="[('Content-Length', '10')]", prepare="file.seek(5)")
file("file-length-too-long", "wrapper(file)", headers="[('Content-Length', '2000')]")
file("file-length-bad", "wrapper(file)", headers="[('Content-Length', 'x')]")
file("file-length-zero", "wrapper(file)", headers="[('Content-Length', '0')]")
file("file-head", "wrapper(file)", head())
file("file-range", "wrapper(file)", get("", "Range: bytes=10-19"))
file("file-subclass", "type('W', (wrapper,), {})(file)")
file("file-subclass-iter", "type('W', (wrapper,), {'__iter__': lambda self: iter([b'own'])})(file)")
file("file-after-write", "wrapper(file)", prepare="start_response('200 OK', [])(b'first ')")
file("file-closed", "wrapper(file)", prepare="file.close()")
file("file-in-list", "[b''.join(wrapper(file, 300))]")
file("file-iterated", "list(wrapper(file, 300))")
file("file-text-mode", "wrapper(open(file.name))")
file("file-unbuffered", "wrapper(open(file.name, 'rb', 0))")
file("file-gzip", "wrapper(__import__('gzip').GzipFile(fileobj=file))")
file("file-read-ahead", "wrapper(file)", prepare="file.read(10)")
file("file-1.0", "wrapper(file)", get(version="1.0"))
file("file-bytesio", "wrapper(__import__('io').BytesIO(b'x' * 20000))", files=False)
file("file-bytesio-position", "wrapper(b)", prepare="b = __import__('io').BytesIO(b'0123456789'); b.seek(5)", files=False)
file("file-stringio", "wrapper(__import__('io').StringIO('text'))", files=False)
file("file-only-read", "wrapper(type('R', (), {'n': 3, 'read': lambda s, k: (setattr(s, 'n', s.n - 1), b'%d ' % k * (s.n > -1))[1]})(), 5)", files=False)
file("file-no-read", "wrapper(object())", files=False)
file("file-read-raises", "wrapper(type('R', (), {'read': lambda s, k: 1 / 0})())", files=False)
file("file-read-none", "wrapper(type('R', (), {'read': lambda s, k: None})())", files=False)
file("file-pipe", "wrapper(os.fdopen(r, 'rb'))", prepare="import os; r, w = os.pipe(); os.write(w, b'piped'); os.close(w)", files=False)
file("file-empty", "wrapper(__import__('tempfile').TemporaryFile())", files=False)
file("file-large", "wrapper(t)", prepare=f"import tempfile; t = tempfile.TemporaryFile(); t.write(b'0123456789abcdef' * {MEBIBYTE // 4}); t.seek(3)", files=False)
file("file-close-called", "wrapper(type('R', (), {'read': lambda s, k: b'', 'close': lambda s: print('closed', NAME)})())", files=False, log=["closed"])
file("file-close-raises", "wrapper(type('R', (), {'read': lambda s, k: b'', 'close': lambda s: 1 / 0})())", files=False)
case("file-wrapper-api", """
    wrapper = environ['wsgi.file_wrapper']
    import io, mod_wsgi
    made = wrapper(io.BytesIO(b'abcdef'), 4)
    facts = {
        'class': describe(wrapper),
        'same': wrapper is mod_wsgi.FileWrapper,
        'filelike': describe(made.filelike),
        'blksize': made.blksize,
        'set filelike': attempt(setattr, made, 'filelike', 1),
        'set blksize': attempt(setattr, made, 'blksize', 1),
        'items': describe(list(made)),
        'again': describe(list(made)),
        'iter is self': iter(made) is made,
        'close': attempt(made.close),
        'close again': attempt(made.close),
        'filelike closed': attempt(lambda: made.filelike),
        'blksize closed': attempt(lambda: made.blksize),
        'next closed': attempt(next, made),
        'iter closed': attempt(list, made),
        'no arguments': attempt(wrapper),
        'three arguments': attempt(wrapper, 1, 2, 3),
        'blksize str': attempt(wrapper, 1, 'x'),
        'blksize negative': attempt(wrapper, 1, -1),
        'blksize zero': attempt(lambda: list(wrapper(io.BytesIO(b'abc'), 0))),
        'blksize default': attempt(lambda: wrapper(1).blksize),
        'odd keyword': attempt(wrapper, 1, size=3),
        'no read': attempt(lambda: next(wrapper(object()))),
        'read returns str': attempt(lambda: next(wrapper(io.StringIO('x')))),
        'attributes': sorted(name for name in dir(made) if not name.startswith('_')),
    }
    return report(start_response, facts)
""", quick=True)
