"""httpbin, as requests and httpie see it."""

import base64
import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests
from requests.auth import HTTPBasicAuth, HTTPDigestAuth

APP = """
    from httpbin import app

    def application(environ, start_response):
        # It believes that a chunked body ends only when a server of this name says so.
        environ["SERVER_SOFTWARE"] = "gunicorn/" + environ["SERVER_SOFTWARE"]
        return app(environ, start_response)
    """


@pytest.fixture
def httpbin(nginx, group, venv_path, request):
    nginx.write("httpbin.wsgi", APP, invalid=getattr(request, "param", None))
    nginx.configure(
        http=f"""
            wsgi_daemon_process app processes=2 threads=8 python-path={venv_path};
            wsgi_python_path {venv_path};
            """,
        server=f"""
            client_max_body_size 100m;
            wsgi_chunked_request on;
            wsgi_pass_authorization on;
            wsgi_script_alias / {{dir}}/httpbin.wsgi {group} "application-group=%{{GLOBAL}}";
            location /drip {{ wsgi_buffering off; }}
            location /unbuffered {{ wsgi_request_buffering off; rewrite ^/unbuffered(/.*) $1 break; }}
            """,
    )
    nginx.start()
    return nginx


class Session(requests.Session):
    """Paths instead of URLs, and always a timeout."""

    def __init__(self, url):
        super().__init__()
        self.url = url
        self.trust_env = False

    def request(self, method, path, **options):
        url = path if path.startswith("http") else self.url + path
        return super().request(method, url, **{"timeout": 60, **options})


@pytest.fixture
def session(httpbin):
    with Session(httpbin.url) as session:
        yield session


@pytest.fixture
def http(httpbin, tmp_path):
    """Runs httpie's command line; gives what it prints."""

    def run(*arguments, stdin=None, code=0):
        options = ["--ignore-stdin"] if stdin is None else []
        done = subprocess.run(
            [Path(sys.prefix) / "bin" / "http", "--check-status", "--timeout=60", *options, *arguments],
            input=stdin,
            capture_output=True,
            timeout=120,
            cwd=tmp_path,
            env={"HTTPIE_CONFIG_DIR": str(tmp_path), "PATH": os.defpath, "LANG": "C.UTF-8", "NO_PROXY": "*"},
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    return run


def test_methods(session):
    for method in "GET", "POST", "PUT", "PATCH", "DELETE":
        body = None if method == "GET" else {"text": "Grüße 🐍", "list": list(range(1000))}
        answer = session.request(method, "/anything/a%20b?x=1&x=2&y=%C3%A9", json=body)
        assert answer.status_code == 200, answer.text
        seen = answer.json()
        assert (seen["method"], seen["json"]) == (method, body)
        assert seen["args"] == {"x": ["1", "2"], "y": "é"}
        assert seen["origin"] == "127.0.0.1"
        assert seen["url"] == f"{session.url}/anything/a%20b?x=1&x=2&y=é"
        if method != "GET":
            assert session.request(method, f"/{method.lower()}", data={"a": "b"}).json()["form"] == {"a": "b"}
            assert session.get(f"/{method.lower()}").status_code == 405
    answer = session.options("/anything")
    assert (answer.status_code, answer.content) == (200, b"")
    assert {"GET", "POST", "PUT", "PATCH", "DELETE"} <= set(answer.headers["Allow"].split(", "))
    # nginx itself never passes TRACE on.
    assert session.request("TRACE", "/anything").status_code == 405


def test_head_is_get_without_the_body(session):
    for path in "/", "/html", "/json", "/image/png", "/encoding/utf8", "/bytes/1000?seed=1", "/robots.txt":
        get, head = session.get(path), session.head(path)
        assert (head.status_code, head.content) == (200, b"")
        assert get.content
        assert {n: v for n, v in head.headers.items() if n != "Date"} == {
            n: v for n, v in get.headers.items() if n != "Date"
        }


def test_redirects(session):
    for kind in "redirect", "relative-redirect", "absolute-redirect":
        answer = session.get(f"/{kind}/5")
        assert answer.status_code == 200 and len(answer.history) == 5, kind
        assert answer.url == session.url + "/get"
    for status, method in (301, "GET"), (302, "GET"), (303, "GET"), (307, "POST"), (308, "POST"):
        answer = session.post(
            "/redirect-to", params={"url": "/anything", "status_code": status}, data={"a": "b"}
        )
        assert [step.status_code for step in answer.history] == [status]
        assert answer.json()["method"] == method
        assert answer.json()["form"] == ({"a": "b"} if method == "POST" else {})


def test_authentication(session):
    assert session.get("/basic-auth/joe/secret").headers["WWW-Authenticate"] == 'Basic realm="Fake Realm"'
    for path in "/basic-auth/joe/secret", "/hidden-basic-auth/joe/secret":
        assert session.get(path, auth=HTTPBasicAuth("joe", "secret")).json()["user"] == "joe"
        refused = 404 if "hidden" in path else 401
        assert session.get(path, auth=HTTPBasicAuth("joe", "wrong")).status_code == refused
    assert session.get("/bearer").headers["WWW-Authenticate"] == "Bearer"
    assert session.get("/bearer", headers={"Authorization": "Bearer abc"}).json()["token"] == "abc"
    for algorithm in "MD5", "SHA-256", "SHA-512":
        path = f"/digest-auth/auth/joe/secret/{algorithm}"
        answer = session.get(path, auth=HTTPDigestAuth("joe", "secret"))
        assert answer.status_code == 200 and answer.json()["user"] == "joe"
        assert [step.status_code for step in answer.history] == [401]
        assert session.get(path, auth=HTTPDigestAuth("joe", "wrong")).status_code == 401


def test_cookies(session):
    assert session.get("/cookies/set?one=1&two=zwei&three=a%20b").json()["cookies"] == {
        "one": "1",
        "two": "zwei",
        "three": "a b",
    }
    assert session.get("/cookies/set/four/4").json()["cookies"]["four"] == "4"
    assert session.get("/cookies/delete?one=&two=").json()["cookies"] == {"three": "a b", "four": "4"}


def test_compression(session):
    for coding, flag in ("gzip", "gzipped"), ("deflate", "deflated"), ("brotli", "brotli"):
        answer = session.get(f"/{coding}")
        assert answer.headers["Content-Encoding"] == {"brotli": "br"}.get(coding, coding)
        assert answer.json()[flag] is True


@pytest.mark.parametrize("httpbin", ["its 204 has a Content-Type"], indirect=True, ids=[""])
def test_status_codes(session):
    for status in (
        [200, 201, 202, 203, 204, 205, 206, 300, 301, 302, 303, 304, 305, 307, 308]
        + [*range(400, 419), 422, 428, 429, 431, 451]
        + [500, 501, 502, 503, 504, 505, 599]
    ):
        # One that is cut or left over would spoil the next answer on the connection.
        answer = session.request("DELETE", f"/status/{status}", allow_redirects=False)
        assert answer.status_code == status
    tea = session.get("/status/418")
    assert tea.reason == "I'M A TEAPOT" and "teapot" in tea.text


def test_conditional_requests(session):
    tag = '"a tag"'
    assert session.get("/etag/x").headers["ETag"] == "x"
    answer = session.get("/etag/x", headers={"If-None-Match": '"x"'})
    assert (answer.status_code, answer.content) == (304, b"")
    assert session.get("/etag/x", headers={"If-Match": tag}).status_code == 412
    assert session.get("/cache").status_code == 200
    assert session.get("/cache", headers={"If-Modified-Since": "Sat, 21 Nov 2026 00:00:00 GMT"}).status_code == 304
    assert session.get("/cache/60").headers["Cache-Control"] == "public, max-age=60"


def test_ranges(session):
    whole = session.get("/range/100000").content
    assert len(whole) == 100000
    for text, start, stop in ("0-9", 0, 10), ("50000-", 50000, 100000), ("-7", 99993, 100000), ("5-5", 5, 6):
        answer = session.get("/range/100000", headers={"Range": f"bytes={text}"})
        assert answer.status_code == 206
        assert answer.headers["Content-Range"] == f"bytes {start}-{stop - 1}/100000"
        assert answer.content == whole[start:stop]
    answer = session.get("/range/100000", headers={"Range": "bytes=200000-"})
    assert answer.status_code == 416 and answer.headers["Content-Range"] == "bytes */100000"
    assert session.get("/range/10?duration=1&chunk_size=3").content == whole[:10]


def test_bytes(session):
    one, two = (session.get("/bytes/100000?seed=7") for _ in range(2))
    assert len(one.content) == 100000 and one.content == two.content
    answer = session.get("/stream-bytes/100000?seed=7&chunk_size=777")
    assert answer.headers["Transfer-Encoding"] == "chunked"
    assert len(answer.content) == 100000
    for kind in "jpeg", "png", "webp", "svg":
        answer = session.get(f"/image/{kind}")
        assert answer.headers["Content-Type"].startswith(f"image/{kind}")
        assert len(answer.content) == int(answer.headers["Content-Length"])
    text = base64.urlsafe_b64encode("Grüße".encode()).decode()
    assert session.get(f"/base64/{text}").text == "Grüße"
    page = session.get("/encoding/utf8")
    assert page.encoding == "utf-8" and "ᚻᛖ ᚳᚹᚫᚦ" in page.text


def test_response_headers(session):
    answer = session.get("/response-headers?X-One=1&X-Two=a&X-Two=b&Content-Type=text/plain;%20charset=UTF-8")
    assert answer.headers["X-One"] == "1"
    assert answer.raw.headers.getlist("X-Two") == ["a", "b"]
    assert answer.headers["Content-Type"] == "text/plain; charset=UTF-8"


def test_streams_arrive_as_they_are_made(session):
    lines = session.get("/stream/50", stream=True).iter_lines()
    assert [json.loads(line)["id"] for line in lines] == list(range(50))

    with session.get("/drip?numbytes=4&duration=2&delay=0&code=201", stream=True) as answer:
        arrivals = [(part, time.monotonic()) for part in answer.iter_content(1)]
    assert answer.status_code == 201
    assert [part for part, _ in arrivals] == [b"*"] * 4
    # Half a second lies between two of them.
    assert arrivals[3][1] - arrivals[0][1] > 1, arrivals

    started = time.monotonic()
    assert session.post("/delay/1", data={"a": "b"}).json()["form"] == {"a": "b"}
    assert time.monotonic() - started >= 1


@pytest.mark.parametrize("prefix", ["", "/unbuffered"])
def test_uploads(session, prefix):
    contents = {f"file{n}": os.urandom(n * 300_000) for n in range(1, 4)}
    answer = session.post(
        f"{prefix}/post",
        data={"größe": "äöü", "list": ["1", "2"]},
        files={name: (f"{name}.bin", content, "application/x-test") for name, content in contents.items()},
    )
    seen = answer.json()
    assert seen["form"] == {"größe": "äöü", "list": ["1", "2"]}
    for name, content in contents.items():
        kind, _, text = seen["files"][name].partition(",")
        assert kind == "data:application/x-test;base64" or kind == "data:application/octet-stream;base64"
        assert base64.b64decode(text) == content

    def parts():
        for n in range(500):
            yield b"%06d " % n * 1000

    answer = session.put(f"{prefix}/put", data=parts(), headers={"Content-Type": "text/plain"})
    seen = answer.json()
    assert seen["headers"]["Transfer-Encoding"] == "chunked"
    assert "Content-Length" not in seen["headers"]
    assert hashlib.sha256(seen["data"].encode()).digest() == hashlib.sha256(b"".join(parts())).digest()


def test_httpie(httpbin, http, tmp_path):
    url = httpbin.url
    for method in "GET", "POST", "PUT", "PATCH", "DELETE":
        fields = [] if method == "GET" else ["name=Grüße", "number:=1"]
        seen = json.loads(http("--body", method, f"{url}/anything", "q==ü", "X-Header:v", *fields))
        assert (seen["method"], seen["args"], seen["headers"]["X-Header"]) == (method, {"q": "ü"}, "v")
        assert seen["json"] == ({"name": "Grüße", "number": 1} if fields else None)
    assert http("--headers", "HEAD", f"{url}/html").startswith(b"HTTP/1.1 200 OK")
    assert b"Allow: " in http("--headers", "OPTIONS", f"{url}/anything")

    assert json.loads(http("--form", "--body", f"{url}/post", "a=b"))["form"] == {"a": "b"}
    (tmp_path / "file.bin").write_bytes(bytes(range(256)) * 5000)
    seen = json.loads(http("--multipart", "--body", f"{url}/post", "a=b", "file@file.bin"))
    assert base64.b64decode(seen["files"]["file"].split(",")[1]) == (tmp_path / "file.bin").read_bytes()
    seen = json.loads(http("--chunked", "--body", f"{url}/post", "Content-Type:text/plain", stdin=b"word " * 100_000))
    assert seen["headers"]["Transfer-Encoding"] == "chunked"
    assert seen["data"] == "word " * 100_000
    assert seen["headers"].get("Content-Length") is None
    seen = json.loads(http("--compress", "--compress", "--body", f"{url}/post", "text=" + "x" * 10000))
    assert seen["headers"]["Content-Encoding"] == "deflate"

    text = http("--follow", "--all", "--headers", f"{url}/redirect/3")
    assert text.count(b"HTTP/1.1 302") == 3 and text.count(b"HTTP/1.1 200") == 1
    http("--auth", "joe:secret", f"{url}/basic-auth/joe/secret")
    http("--auth", "joe:wrong", f"{url}/basic-auth/joe/secret", code=4)
    http("--auth-type", "digest", "--auth", "joe:secret", f"{url}/digest-auth/auth/joe/secret")
    http("--auth-type", "bearer", "--auth", "token", f"{url}/bearer")
    for coding in "gzip", "deflate", "brotli":
        assert json.loads(http("--body", f"{url}/{coding}"))["method"] == "GET"
    http("--session=s", "--follow", f"{url}/cookies/set?a=b")
    assert json.loads(http("--session=s", "--body", f"{url}/cookies"))["cookies"] == {"a": "b"}
    assert http("--stream", "--body", f"{url}/stream/5").count(b'"id"') == 5
    http("--download", "--output", "image.png", f"{url}/image/png")
    assert (tmp_path / "image.png").read_bytes().startswith(b"\x89PNG")
    http(f"{url}/status/503", code=5)
    assert "∮ E⋅da" in http("--body", f"{url}/encoding/utf8").decode()
