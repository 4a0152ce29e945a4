"""a.8: what is refused before the application is called."""

from case import chunked, chunks, get, of, post, raw, request

case = of("dispatch")
ANSWER = "start_response('200 OK', []); return [b'called']"


def head_of(*lines):
    return raw("".join(line + "\r\n" for line in [*lines, "Connection: close", ""]).encode("latin-1"))


case("missing-script", None, get(), get("/more"), target="dispatch-nothing-here.wsgi")
case("directory", None, target="dispatch-directory", files={"dispatch-directory/x": ""})
case("unmounted", ANSWER, raw(b"GET /nowhere HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
case("unreadable-handled", ANSWER, get("/a/b/c"))
case("transfer-encoding-gzip", ANSWER, request("POST", "", "Transfer-Encoding: gzip", body=b"abc"))
case("transfer-encoding-gzip-chunked", ANSWER, request("POST", "", "Transfer-Encoding: gzip, chunked", body=chunks(b"abc")), config="WSGIChunkedRequest On")
case("transfer-encoding-identity", ANSWER, request("POST", "", "Transfer-Encoding: identity", body=b""))
case("transfer-encoding-case", ANSWER, request("POST", "", "Transfer-Encoding: Chunked", body=chunks(b"abc")), config="WSGIChunkedRequest On")
case("transfer-encoding-twice", ANSWER, request("POST", "", "Transfer-Encoding: chunked", "Transfer-Encoding: chunked", body=chunks(b"abc")), config="WSGIChunkedRequest On")
case("chunked-off", ANSWER, chunked(chunks(b"abc")))
case("chunked-off-get", ANSWER, request("GET", "", "Transfer-Encoding: chunked", body=chunks(b"abc")))
for name, value in (("word", "x"), ("negative", "-1"), ("plus", "+3"), ("float", "3.0"), ("empty", ""),
                    ("two", "3, 3"), ("hexadecimal", "0x3"), ("huge", "9" * 30), ("blank", "3 3")):
    case(f"length-{name}", ANSWER, request("POST", "", f"Content-Length: {value}", body=b"abc"))
case("length-twice-same", ANSWER, request("POST", "", "Content-Length: 3", "Content-Length: 3", body=b"abc"))
case("length-twice-other", ANSWER, request("POST", "", "Content-Length: 3", "Content-Length: 4", body=b"abcd"))
LIMIT = {"apache": "LimitRequestBody 100", "nginx": "client_max_body_size 100;"}
case("too-large", ANSWER, post(b"x" * 101), **LIMIT)
case("too-large-much", ANSWER, post(b"x" * 300000), **LIMIT)
case("not-too-large", ANSWER, post(b"x" * 100), **LIMIT)
case("unknown-group", ANSWER, env={"GROUP": "nobody"},
     group="%{ENV:GROUP}", modes=("daemon",), log=["nobody"])
case("no-host", ANSWER, head_of("GET {mount} HTTP/1.1"))
case("two-hosts", ANSWER, head_of("GET {mount} HTTP/1.1", "Host: localhost", "Host: localhost"))
case("bad-host", ANSWER, head_of("GET {mount} HTTP/1.1", "Host: a/b"))
case("no-version", ANSWER, raw(b"GET {mount}\r\n\r\n"))
case("http-0.9-word", ANSWER, head_of("GET {mount} HTTP/0.9", "Host: localhost"))
case("http-1.2", ANSWER, head_of("GET {mount} HTTP/1.2", "Host: localhost"))
case("http-2.0", ANSWER, head_of("GET {mount} HTTP/2.0", "Host: localhost"))
case("bad-protocol", ANSWER, head_of("GET {mount} FTP/1.1", "Host: localhost"))
case("bad-method", ANSWER, head_of("G(ET {mount} HTTP/1.1", "Host: localhost"))
case("bad-header", ANSWER, head_of("GET {mount} HTTP/1.1", "Host: localhost", "no colon"))
case("empty-header-name", ANSWER, head_of("GET {mount} HTTP/1.1", "Host: localhost", ": x"))
case("only-newlines", ANSWER, raw(b"GET {mount} HTTP/1.1\nHost: localhost\nConnection: close\n\n"))
case("newline-first", ANSWER, raw(b"\r\nGET {mount} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
case("options-star", ANSWER, head_of("OPTIONS * HTTP/1.1", "Host: localhost"))
case("connect", ANSWER, head_of("CONNECT localhost:80 HTTP/1.1", "Host: localhost"))
case("access-denied", ANSWER, apache="Require all denied", nginx="deny all;")
case("uri-too-long", ANSWER, get("/" + "a" * 9000))
case("header-too-long", ANSWER, get("", "X-A: " + "a" * 40000))
