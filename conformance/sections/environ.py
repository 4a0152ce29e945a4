"""c.1 to c.5: the environ."""

from case import chunked, chunks, get, head, of, post, raw, request

case = of("environ")
ALL = "return report(start_response, environment(environ))"


def keys(name, wanted, *requests, **options):
    """The values of some keys of the environ."""
    case(name, f"""
        import re
        facts = environment(environ)
        return report(start_response, {{k: v for k, v in facts.items() if re.fullmatch({wanted!r}, k)}})
    """, *requests, **options)


PATHS = "SCRIPT_NAME|PATH_INFO|REQUEST_URI|QUERY_STRING|SCRIPT_FILENAME|mod_wsgi.(script_name|path_info)"

case("all", ALL, quick=True)
case("all-post", ALL, post(b"a=1", "/more?q", "Content-Type: application/x-www-form-urlencoded", "Cookie: a=b"))
case("all-1.0", ALL, get("/x?y", version="1.0", host=None))
case("all-tls", ALL, get("/x?y", tls=True), quick=True)
case("all-single", ALL, group="single")
case("all-multi", ALL, group="multi")
case("all-global", ALL, application_group="%{GLOBAL}")
case("all-resource", ALL, get("/deeper"), application_group="%{RESOURCE}")
case("all-server-group", ALL, application_group="%{SERVER}")
case("group-from-env", ALL, env={"GROUP": "from-env"}, application_group="%{ENV:GROUP}")
case("all-root", ALL, get("/some/where?q=1", host="root.test"), host="root.test", url="/")
case("all-options", "other = None\ndef application(environ, start_response): pass\ndef other(environ, start_response):\n    " + ALL,
     options="callable-object=other application-group=elsewhere pass-authorization=On",
     *[get("", "Authorization: Basic abc")])

keys("methods", "REQUEST_METHOD", *[request(method, label=method) for method in
     ("PUT", "DELETE", "OPTIONS", "PATCH", "PROPFIND", "REPORT", "FOO")])
keys("method-lower", "REQUEST_METHOD", request("get"))
keys("method-head", "REQUEST_METHOD|HTTP_.*", head())
keys("method-trace", "REQUEST_METHOD", request("TRACE"))
keys("query", "QUERY_STRING|REQUEST_URI|PATH_INFO",
     *[get(query, label=query) for query in ("?", "?a=b&c=d", "?a%20b", "?a+b?c", "??", "?caf%C3%A9", "?/../x", "?%zz")])
keys("query-raw-bytes", "QUERY_STRING|REQUEST_URI", raw(b"GET {mount}?caf\xe9 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))

keys("path", PATHS, get(), get("/"), get("/a/b"), get("/a/b/"), get("/a;b=c/d"))
keys("path-slashes", PATHS, get("//"), get("//a///b//"), get("/a/b//?q=//x"))
keys("path-slashes-front", PATHS, raw(b"GET //environ//path-slashes-front//a HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
keys("path-dots", PATHS, get("/a/../b"), get("/./a/."), get("/a/%2e%2e/b"))
keys("path-dots-out", PATHS, get("/../../environ/path-dots-out/x"))
keys("path-escaped", PATHS, get("/a%20b"), get("/caf%C3%A9"), get("/caf%E9"), get("/%E2%82%AC"), get("/a%3Fb"), get("/a%23b"), get("/a%25b"))
keys("path-raw-bytes", PATHS, raw(b"GET {mount}/caf\xc3\xa9 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
keys("path-slash-escaped", PATHS, get("/a%2Fb"), get("/a%2F%2Fb"))
keys("path-plus", PATHS, get("/a+b"))
keys("path-mount-escaped", PATHS, raw(b"GET /environ/path%2Dmount-escaped/x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
keys("path-absolute-uri", PATHS + "|HTTP_HOST|SERVER_NAME",
     raw(b"GET http://localhost/environ/path-absolute-uri/x?y HTTP/1.1\r\nHost: other.test\r\nConnection: close\r\n\r\n"))
keys("path-segment", PATHS, raw(b"GET {mount}s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
keys("path-control", PATHS, get("/a%01b"), get("/a%7Fb"), get("/a%0Ab"), get("/a%09b"))
keys("path-nul", PATHS, get("/a%00b"))
keys("path-bad-escape", PATHS, get("/a%zz"), get("/a%2"))
keys("path-blank", PATHS, raw(b"GET {mount}/a b HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
keys("path-long", "PATH_INFO", get("/" + "a" * 4000))
keys("path-root", PATHS, get("", host="root2.test"), get("/", host="root2.test"), get("//a", host="root2.test"),
     get("/a%2fb/", host="root2.test"), host="root2.test", url="/")
keys("path-mount-with-slash", PATHS, get("a/b"), get(""), url="/environ/with-slash/",
     target="environ-path-mount-with-slash.wsgi")
keys("path-mount-deep", PATHS, get("/x"), url="/environ/deep/er/mount")
keys("path-mount-odd", PATHS, raw(b"GET /environ/a%20b/x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"), url="/environ/a%20b")
keys("path-directory", PATHS, get("/one.wsgi/x/y"), get("/sub/two.wsgi"), get("/missing.wsgi"), get("/sub"), get(""),
     get("//one.wsgi//x"), target="environ-directory",
     files={f"environ-directory/{name}": """
def application(environ, start_response):
    body = '\\n'.join(repr((k, environ[k])) for k in ('SCRIPT_NAME', 'PATH_INFO')).encode()
    start_response('200 OK', [('Content-Type', 'text/plain'), ('Content-Length', str(len(body)))])
    return [body]
""" for name in ("one.wsgi", "sub/two.wsgi")})

HEADERS = "HTTP_.*|CONTENT_.*"
keys("header-names", HEADERS, get("", "X-Simple: 1", "x-LOWER-case: 2", "X123: 3", "X: 4"))
keys("header-underscore", HEADERS, get("", "Foo_Bar: evil", "Foo-Bar: good"), get("", "Foo_Bar: evil"))
keys("header-dot", HEADERS, get("", "Foo.Bar: x"))
keys("header-odd-token", HEADERS, get("", "Foo!Bar: x", "A~b: y", "C'd: z", "E*f: w"))
keys("header-blank-before-colon", HEADERS, get("", "Foo : x"))
keys("header-proxy", HEADERS, get("", "Proxy: http://evil", "Proxy-X: 1"))
keys("header-repeated", HEADERS, get("", "X-A: 1", "X-B: -", "X-A: 2", "x-a: 3"))
keys("header-repeated-cookie", HEADERS, get("", "Cookie: a=1", "Cookie: b=2"))
keys("header-repeated-forwarded", HEADERS, get("", "X-Forwarded-For: 1.1.1.1", "X-Forwarded-For: 2.2.2.2"))
keys("header-repeated-accept", HEADERS, get("", "Accept: a/b", "Accept: c/d", "Accept-Language: x", "Accept-Language: y"))
keys("header-repeated-user-agent", HEADERS, get("", "User-Agent: a", "User-Agent: b"))
keys("header-repeated-content-type", HEADERS, get("", "Content-Type: a/b", "Content-Type: c/d"))
keys("header-empty", HEADERS, get("", "X-A:", "X-B:  "))
keys("header-blanks", HEADERS, get("", "X-A:  a  b  ", "X-B:\tc\t"))
keys("header-latin-1", HEADERS, get("", "X-A: caf\xe9", "X-B: \xc3\xa9"))
keys("header-folded", HEADERS, get("", "X-A: a\r\n b"))
keys("header-control", HEADERS, get("", "X-A: a\x01b"))
keys("header-quoted", HEADERS, get("", 'X-A: "a\\"b", c'))
keys("header-long", HEADERS, get("", "X-A: " + "a" * 6000))
keys("header-many", HEADERS, get("", *[f"X-{number}: {number}" for number in range(60)]))
keys("header-content-type", HEADERS, get("", "Content-Type: Text/X; a=b"))
keys("header-content-length-get", HEADERS, request("GET", "", body=b"abc"))
keys("header-content-length-zero", HEADERS, post(b""))
keys("header-content-length-zeros", HEADERS, request("POST", "", "Content-Length: 003", body=b"abc"))
keys("header-content-md5", HEADERS, get("", "Content-MD5: x", "Content-Encoding: y"))
keys("header-chunked", HEADERS, chunked(chunks(b"abc")), config="WSGIChunkedRequest On")
keys("header-te", HEADERS, get("", "TE: trailers", "Upgrade: x", "Connection: close, upgrade"))
keys("header-if-modified-since", HEADERS, get("", "If-Modified-Since: x", "If-None-Match: y", "Range: bytes=0-1", "If-Range: z"))
keys("header-expect", HEADERS, request("POST", "", "Expect: 100-continue", body=b"abc"))
keys("header-host-port", HEADERS + "|SERVER_.*", get(host="localhost:8000"))
keys("header-host-case", HEADERS + "|SERVER_.*", get(host="LocalHost"))
keys("header-host-unknown", HEADERS + "|SERVER_.*", get(host="unknown.test"))
keys("authorization", HEADERS + "|AUTH_TYPE|REMOTE_USER", get("", "Authorization: Basic dTpw", "Proxy-Authorization: Basic dTpw"))
keys("authorization-pass", HEADERS + "|AUTH_TYPE|REMOTE_USER", get("", "Authorization: Basic dTpw", "Proxy-Authorization: Basic dTpw"),
     config="WSGIPassAuthorization On")
keys("authorization-pass-option", HEADERS, get("", "Authorization: Bearer x"), options="pass-authorization=On")
keys("authorization-option-off", HEADERS, get("", "Authorization: Bearer x"), options="pass-authorization=Off", config="WSGIPassAuthorization On")
# The user is "user", the password "secret".
PASSWORDS = "user:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n"
keys("authenticated", HEADERS + "|AUTH_TYPE|REMOTE_USER",
     get("", "Authorization: Basic dXNlcjpzZWNyZXQ="), get(), get("", "Authorization: Basic dXNlcjp3cm9uZw=="),
     files={"passwords": PASSWORDS},
     apache='AuthType Basic\nAuthName "realm"\nAuthUserFile {dir}/passwords\nRequire valid-user',
     nginx='auth_basic "realm"; auth_basic_user_file {dir}/passwords;')

keys("setenv", "FOO|foo|Foo", env={"FOO": "bar", "foo": "other"})
keys("setenv-empty", "FOO", env={"FOO": ""})
keys("setenv-text", "FOO", env={"FOO": "a b; c=d caf\u00e9"})
keys("setenv-collision", "PATH_INFO|path_info|REQUEST_METHOD|SCRIPT_NAME|QUERY_STRING|SERVER_NAME|REMOTE_ADDR|HTTP_X_A|SERVER_PROTOCOL",
     get("/x", "X-A: real"),
     env={name: "set" for name in ("PATH_INFO", "REQUEST_METHOD", "SCRIPT_NAME", "QUERY_STRING", "SERVER_NAME", "REMOTE_ADDR", "HTTP_X_A", "SERVER_PROTOCOL")})
keys("setenv-collision-case", "(?i)PATH_INFO|SCRIPT_NAME", get("/x"), env={"path_info": "set", "script_name": "set"})
keys("setenv-content", "CONTENT_.*|HTTP_.*", env={"CONTENT_TYPE": "a/b", "CONTENT_LENGTH": "3", "HTTP_X_MADE": "up"})
keys("setenv-server", "SERVER_SOFTWARE|DOCUMENT_ROOT|SERVER_ADMIN|REMOTE_USER|AUTH_TYPE|GATEWAY_INTERFACE|PATH",
     env={"REMOTE_USER": "someone", "AUTH_TYPE": "own", "GATEWAY_INTERFACE": "x", "PATH": "/x"})
keys("setenv-wsgi", r"wsgi\.(url_scheme|version|run_once|x)|mod_wsgi\.(version|process_group|x)",
     env={"wsgi.url_scheme": "x", "wsgi.version": "x", "wsgi.run_once": "x", "mod_wsgi.version": "x",
          "mod_wsgi.process_group": "x", "mod_wsgi.x": "x", "wsgi.x": "x"})
for value in ("on", "ON", "1", "off", "true"):
    keys(f"setenv-https-{value}", "HTTPS|wsgi.url_scheme|REQUEST_SCHEME", env={"HTTPS": value})
keys("setenv-not-in-os", "x", env={"NOT_IN_OS": "1"})
case("os-environ-untouched", "import os; return report(start_response, {'os': os.environ.get('CONF_X')})", env={"CONF_X": "1"})
keys("tls", "SSL_.*|HTTPS|wsgi.url_scheme|REQUEST_SCHEME|SERVER_PORT", get(tls=True))
keys("tls-setenv-off", "HTTPS|wsgi.url_scheme", get(tls=True), env={"HTTPS": "off"})
case("types", """
    return report(start_response, {
        'environ': describe(type(environ)),
        'exact dict': type(environ) is dict,
        'keys': sorted({type(key).__name__ for key in environ}),
        'start_response': callable(start_response),
        'input': sorted(name for name in dir(environ['wsgi.input']) if not name.startswith('_')),
        'errors': sorted(name for name in dir(environ['wsgi.errors']) if not name.startswith('_')),
    })
""")
case("own-copy", """
    environ['changed'] = 'x'
    environ.clear()
    return report(start_response, {'cleared': len(environ)})
""", get(), get())
case("threads", """
    return report(start_response, {k: environ[k] for k in ('wsgi.multithread', 'wsgi.multiprocess', 'wsgi.run_once')})
""", group="single")
case("times", """
    times = [environ['mod_wsgi.' + name] for name in ('request_start', 'queue_start', 'daemon_start', 'application_start')]
    own = [time for time in times if time]
    return report(start_response, {'types': [type(time).__name__ for time in times], 'set': [bool(t) for t in times],
                                   'in order': own == sorted(own)})
""")
case("request-id-unique", """
    seen = application.__dict__.setdefault('seen', set())
    seen.add(environ['mod_wsgi.request_id'])
    return report(start_response, {'seen': len(seen)})
""", get(), get(), get())
