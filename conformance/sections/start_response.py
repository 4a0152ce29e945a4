"""d.4: start_response and its checks, with exact exception types and texts."""

from case import get, head, of

case = of("start_response")


def refused(name, call, **options):
    """What a call of start_response raises; the application answers all the same."""
    case(name, f"""
        outcome = attempt(lambda: 'accepted' if callable({call}) else 'odd')
        return report(start_response, {{"outcome": outcome}})
    """, **options)


def answered(name, status, headers="[]", *requests, **options):
    """What a client is sent for a status and headers."""
    case(name, f"start_response({status}, {headers}); return [b'body']", *requests, **options)


refused("headers-tuple", "start_response('200 OK', ())")
refused("headers-none", "start_response('200 OK', None)")
refused("headers-dict", "start_response('200 OK', {})")
refused("headers-generator", "start_response('200 OK', (x for x in []))")
refused("headers-list-subclass", "start_response('200 OK', type('L', (list,), {})())")
refused("no-arguments", "start_response()")
refused("one-argument", "start_response('200 OK')")
refused("four-arguments", "start_response('200 OK', [], None, None)")
refused("keywords", "start_response(status='200 OK', headers=[])")
refused("exc-info-list", "start_response('200 OK', [], [])")
refused("exc-info-string", "start_response('200 OK', [], 'x')")
refused("exc-info-short", "start_response('200 OK', [], (1, 2))")
refused("exc-info-none", "start_response('200 OK', [], None)")
refused("exc-info-nones", "start_response('200 OK', [], (None, None, None))")
refused("status-bytes", "start_response(b'200 OK', [])")
refused("status-int", "start_response(200, [])")
refused("status-none", "start_response(None, [])")
refused("status-empty", "start_response('', [])")
refused("status-word", "start_response('OK', [])")
refused("status-two-digits", "start_response('20 OK', [])")
refused("status-four-digits", "start_response('2000 OK', [])")
refused("status-no-space", "start_response('200OK', [])")
refused("status-space-first", "start_response(' 200 OK', [])")
refused("status-negative", "start_response('-20 OK', [])")
refused("status-not-latin-1", "start_response('200 \\u20ac', [])")
refused("status-newline", "start_response('200 OK\\r\\nX: y', [])")
refused("status-tab", "start_response('200 O\\tK', [])")
refused("status-delete", "start_response('200 O\\x7fK', [])")
refused("status-only-digits", "start_response('200', [])")
refused("status-trailing-space", "start_response('200 ', [])")
refused("status-double-space", "start_response('200  OK', [])")
refused("status-str-subclass", "start_response(type('S', (str,), {})('200 OK'), [])")
refused("status-tab-separator", "start_response('200\\tOK', [])")
refused("status-999", "start_response('999 X', [])")
refused("header-list-item", "start_response('200 OK', [['A', 'b']])")
refused("header-string-item", "start_response('200 OK', ['A: b'])")
refused("header-none-item", "start_response('200 OK', [None])")
refused("header-short", "start_response('200 OK', [('A',)])")
refused("header-empty-tuple", "start_response('200 OK', [()])")
refused("header-long", "start_response('200 OK', [('A', 'b', 'c')])")
refused("header-name-bytes", "start_response('200 OK', [(b'A', 'b')])")
refused("header-value-bytes", "start_response('200 OK', [('A', b'b')])")
refused("header-value-int", "start_response('200 OK', [('A', 1)])")
refused("header-value-none", "start_response('200 OK', [('A', None)])")
refused("header-name-none", "start_response('200 OK', [(None, 'b')])")
refused("header-name-empty", "start_response('200 OK', [('', 'b')])")
refused("header-name-space", "start_response('200 OK', [('A b', 'c')])")
refused("header-name-newline", "start_response('200 OK', [('A\\n', 'b')])")
refused("header-name-control", "start_response('200 OK', [('A\\x01', 'b')])")
refused("header-name-delete", "start_response('200 OK', [('A\\x7f', 'b')])")
refused("header-name-colon", "start_response('200 OK', [('A:', 'b')])")
refused("header-name-separators", "start_response('200 OK', [('A(/)', 'b')])")
refused("header-name-not-latin-1", "start_response('200 OK', [('\\u20ac', 'b')])")
refused("header-value-cr", "start_response('200 OK', [('A', 'b\\rc')])")
refused("header-value-lf", "start_response('200 OK', [('A', 'b\\nc')])")
refused("header-value-folded", "start_response('200 OK', [('A', 'b\\r\\n c')])")
refused("header-value-control", "start_response('200 OK', [('A', 'b\\x01c')])")
refused("header-value-not-latin-1", "start_response('200 OK', [('A', '\\u20ac')])")
refused("header-tuple-subclass", "start_response('200 OK', [type('T', (tuple,), {})(('A', 'b'))])")
refused("content-length-checked-late", "start_response('200 OK', [('Content-Length', 'x')])")

answered("reason-custom", "'200 Fine and dandy'")
answered("reason-latin-1", "'200 Gr\\xfc\\xdfe'")
answered("reason-none", "'200'")
answered("reason-empty", "'200 '")
answered("status-unknown", "'299 Something'")
answered("status-404", "'404 Gone fishing'")
answered("status-500", "'500 Sorry'")
answered("status-599", "'599 Odd'")
answered("status-999-sent", "'999 Odd'")
answered("status-204", "'204 No Content'")
answered("status-205", "'205 Reset Content'")
answered("status-304", "'304 Not Modified'", "[('ETag', '\"x\"')]")
answered("status-204-with-length", "'204 No Content'", "[('Content-Length', '4')]")
answered("status-302", "'302 Found'", "[('Location', 'http://localhost/elsewhere')]")
answered("status-302-relative", "'302 Found'", "[('Location', '/elsewhere')]")
answered("status-200-error", "'200 Error'")
answered("status-200-continue", "'200 Continue'")
answered("status-200-rejected", "'200 Rejected'")
answered("status-200-timeout", "'200 Timeout'")
answered("status-100", "'100 Continue'")
answered("status-103", "'103 Early Hints'")
answered("value-nul", "'200 OK'", "[('X-A', 'b\\0c')]")
answered("value-latin-1", "'200 OK'", "[('X-A', 'caf\\xe9')]")
answered("value-empty", "'200 OK'", "[('X-A', '')]")
answered("value-blanks", "'200 OK'", "[('X-A', '  b  ')]")
answered("repeated", "'200 OK'", "[('Set-Cookie', 'a=1'), ('Set-Cookie', 'b=2'), ('Set-Cookie', 'a=3')]")
answered("repeated-other", "'200 OK'", "[('X-A', '1'), ('X-B', '-'), ('X-A', '2'), ('x-a', '3')]")
answered("repeated-vary-cache-control", "'200 OK'",
         "[('Vary', 'A'), ('Vary', 'B'), ('Cache-Control', 'a'), ('Cache-Control', 'b')]")
answered("repeated-link", "'200 OK'", "[('Link', '<a>'), ('Link', '<b>')]")
answered("www-authenticate", "'401 Unauthorized'",
         "[('WWW-Authenticate', 'Basic realm=\"a\"'), ('WWW-Authenticate', 'Digest realm=\"b\"')]")
answered("content-type-odd", "'200 OK'", "[('content-TYPE', 'Text/X-Odd; a=\"b\"')]")
answered("content-type-twice", "'200 OK'", "[('Content-Type', 'text/a'), ('Content-Type', 'text/b')]")
answered("no-headers", "'200 OK'")
answered("date-server", "'200 OK'", "[('Date', 'never'), ('Server', 'none'), ('X-A', '1')]")
answered("last-modified", "'200 OK'", "[('Last-Modified', 'Sat, 01 Jan 2022 00:00:00 GMT')]")
answered("connection-header", "'200 OK'", "[('Connection', 'close'), ('X-A', '1')]")
answered("transfer-encoding-header", "'200 OK'", "[('Transfer-Encoding', 'chunked')]")
answered("status-header", "'200 OK'", "[('Status', '404 Not Found')]")
answered("location-internal", "'200 OK'", "[('Location', '/start_response/no-headers')]")
answered("etag-conditional", "'200 OK'", "[('ETag', '\"x\"'), ('Last-Modified', 'Sat, 01 Jan 2022 00:00:00 GMT')]",
         get("", 'If-None-Match: "x"'), get("", "If-Modified-Since: Sat, 01 Jan 2022 00:00:00 GMT"))
answered("range", "'200 OK'", "[('Content-Length', '4')]", get("", "Range: bytes=1-2"))
answered("many-headers", "'200 OK'", "[('X-%d' % i, 'v' * 20) for i in range(60)]")
answered("head-status", "'404 Nothing'", "[('X-A', '1')]", head())

case("twice-before-commit", """
    start_response('200 First', [('X-A', '1')])
    start_response('201 Second', [('X-B', '2')])
    return [b'body']
""")
case("twice-with-exc-info", """
    import sys
    start_response('200 First', [('X-A', '1')])
    try:
        raise KeyError('x')
    except KeyError:
        start_response('500 Second', [('X-B', '2')], sys.exc_info())
    return [b'body']
""")
case("twice-after-commit", """
    start_response('200 First', [])(b'one ')
    return [attempt(start_response, '201 Second', []).encode()]
""")
case("exc-info-after-commit", """
    import sys
    start_response('200 First', [])(b'one ')
    try:
        raise KeyError('x')
    except KeyError:
        return [attempt(start_response, '500 Second', [], sys.exc_info()).encode()]
""")
case("exc-info-short-after-commit", """
    start_response('200 First', [])(b'one ')
    return [attempt(start_response, '500 Second', [], info).encode() + b'; ' for info in ((), (1, 2), (1, 2, 3, 4))]
""")
for name, info in (("nones", "(None, None, None)"), ("class", "(ValueError, None, None)"), ("odd", "(1, 2, 3)")):
    case(f"exc-info-{name}-after-commit", f"""
        start_response('200 First', [])(b'one ')
        return [attempt(start_response, '500 Second', [], {info}).encode()]
    """, server="crashing")
case("invalid-after-commit", """
    start_response('200 First', [])(b'one ')
    return [attempt(start_response, 'x', 1).encode(), attempt(start_response, 'x', []).encode()]
""")
case("failed-call-keeps-first", """
    start_response('200 First', [('X-A', '1')])
    outcome = attempt(start_response, '20x', [])
    return [outcome.encode()]
""")
case("in-generator", """
    def respond():
        start_response('202 Late', [('X-A', '1')])
        yield b'late'
    return respond()
""")
case("changed-list-after-call", """
    headers = [('X-A', '1')]
    start_response('200 OK', headers)
    headers.append(('X-B', '2'))
    return [b'body']
""")
case("after-request", """
    import time
    def application(environ, start_response):
        if environ['QUERY_STRING']:
            outcome = attempt(application.kept, '200 OK', [])
            return report(start_response, {'outcome': outcome, 'write': attempt(application.write, b'')})
        application.kept = start_response
        application.write = start_response('200 OK', [])
        return [b'kept']
""", get(label="first"), get("?again", label="second"))
case("event-before-validation", """
    import mod_wsgi
    seen = []
    mod_wsgi.subscribe_events(lambda name, **payload: seen.append((name, payload.get('response_status'))))
    def application(environ, start_response):
        attempt(start_response, 'bad', [])
        started = [status for name, status in seen if name == 'response_started']
        return report(start_response, {'started': started})
""", application_group="start_response_event")
