"""Requests over HTTP/2: what their environ says, and bodies without a length. Both modes."""

import hashlib
import json
import os

import pytest

from test_django import make_certificate, open_client

APP = """
    import hashlib, json

    def application(environ, start_response):
        found, size = hashlib.sha256(), 0
        while block := environ['wsgi.input'].read(50000):
            found.update(block)
            size += len(block)
        keys = ('SERVER_PROTOCOL', 'HTTP_HOST', 'HTTP_COOKIE', 'CONTENT_LENGTH', 'HTTP_TRANSFER_ENCODING',
                'REQUEST_METHOD', 'REQUEST_URI', 'wsgi.url_scheme', 'SSL_PROTOCOL')
        answer = {key: environ[key] for key in keys if key in environ}
        answer |= {'size': size, 'digest': found.hexdigest(), 'odd': [key for key in environ if ':' in key]}
        start_response('200 OK', [('Content-Type', 'application/json')])
        return [json.dumps(answer).encode()]
    """


@pytest.fixture
def client(nginx, group):
    certificate, key = make_certificate(nginx.dir)
    nginx.write("app.wsgi", APP)
    nginx.configure(
        http="wsgi_daemon_process app threads=4;",
        server=f"""
            listen 127.0.0.1:{nginx.tls_port} ssl http2;
            ssl_certificate {certificate};
            ssl_certificate_key {key};
            client_max_body_size 100m;
            wsgi_chunked_request on;
            wsgi_script_alias / {{dir}}/app.wsgi {group};
            location /stream/ {{ wsgi_request_buffering off; }}
            location /small/ {{ client_max_body_size 10k; wsgi_request_buffering off; }}
            location /refused/ {{ wsgi_chunked_request off; }}
            """,
    )
    nginx.start()
    with open_client(nginx, "HTTP/2") as client:
        yield client


def test_environ(client):
    answer = client.get("/a%20b?c=d", headers=[("cookie", "a=1"), ("cookie", "b=2")])
    assert answer.http_version == "HTTP/2"
    assert json.loads(answer.content) == {
        "SERVER_PROTOCOL": "HTTP/2.0",
        "HTTP_HOST": str(client.base_url.netloc, "ascii"),
        "HTTP_COOKIE": "a=1; b=2",
        "REQUEST_METHOD": "GET",
        "REQUEST_URI": "/a%20b?c=d",
        "wsgi.url_scheme": "https",
        "SSL_PROTOCOL": json.loads(answer.content)["SSL_PROTOCOL"],
        "size": 0,
        "digest": hashlib.sha256().hexdigest(),
        "odd": [],
    }


@pytest.mark.parametrize("path", ["/", "/stream/"])
@pytest.mark.parametrize("known", [True, False], ids=["length", "no-length"])
def test_body(client, path, known):
    body = os.urandom(3 << 20)
    parts = (body[at : at + 10007] for at in range(0, len(body), 10007))
    answer = json.loads(client.post(path, content=body if known else parts).content)
    assert (answer["size"], answer["digest"]) == (len(body), hashlib.sha256(body).hexdigest())
    assert answer.get("CONTENT_LENGTH") == (str(len(body)) if known else None)
    assert "HTTP_TRANSFER_ENCODING" not in answer


def test_streamed_body_over_the_limit(client):
    answer = client.post("/small/", content=(b"x" * 10000 for _ in range(3)))
    assert answer.status_code == 413
    assert client.get("/").status_code == 200


def test_body_without_a_length_is_refused_unless_allowed(client):
    assert client.post("/refused/", content=(b"x" for _ in range(3))).status_code == 411
    assert client.post("/refused/", content=b"xxx").status_code == 200
