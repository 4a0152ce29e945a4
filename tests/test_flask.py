"""The demo's Flask application: JSON, streams, cookies. Both modes, three protocols."""

import json
import shutil
import time

import httpx
import pytest

from client import exchange, parse
from nginx import ROOT
from test_django import make_certificate, open_client


@pytest.fixture
def flask(nginx, group, venv_path):
    shutil.copytree(ROOT / "demo" / "flask", nginx.dir / "flask")
    nginx.validate("flask/app.wsgi")
    certificate, key = make_certificate(nginx.dir)
    nginx.configure(
        http=f"""
            wsgi_daemon_process app processes=2 threads=4 python-path={venv_path};
            wsgi_python_path {venv_path};
            """,
        server=f"""
            listen 127.0.0.1:{nginx.tls_port} ssl http2;
            ssl_certificate {certificate};
            ssl_certificate_key {key};
            wsgi_script_alias /flask {{dir}}/flask/app.wsgi {group} application-group=flask;
            location /flask/stream {{ wsgi_buffering off; }}
            """,
    )
    nginx.start()
    return nginx


@pytest.mark.parametrize("protocol", ["HTTP/1.1", "HTTP/2"])
def test_json_stream_and_cookies(flask, mode, protocol):
    with open_client(flask, protocol) as client:
        page = client.get("/flask/")
        assert page.status_code == 200, flask.log()
        assert page.http_version == protocol
        assert ("nginx's worker" if mode == "embedded" else "process group app") in page.text

        sent = {"text": "Grüße 🐍", "list": list(range(1000)), "nothing": None}
        answer = client.post("/flask/echo", json=sent)
        assert answer.json() == {"got": sent, "path": "/echo", "root": "/flask"}
        assert client.post("/flask/echo", content=b"{", headers={"Content-Type": "application/json"}).status_code == 400

        for count in 1, 2, 3:
            answer = client.get("/flask/visits")
            assert answer.text == f"visit {count}\n"
            assert len(answer.headers.get_list("set-cookie")) == 2

        assert client.get("/flask/nothing").status_code == 404
        assert client.get("/flask/echo").status_code == 405
        assert client.head("/flask/").status_code == 200


@pytest.mark.parametrize("protocol", ["HTTP/1.1", "HTTP/2"])
def test_a_stream_arrives_as_it_is_made(flask, protocol):
    with open_client(flask, protocol) as client:
        client.get("/flask/")
        arrivals = []
        with client.stream("GET", "/flask/stream?n=4&pause=0.5") as answer:
            text = ""
            for part in answer.iter_text():
                if part:
                    arrivals.append(time.monotonic())
                    text += part
        assert text == "".join(f"line {number}\n" for number in range(4))
        # The application pauses half a second after each line.
        assert len(arrivals) == 4 and arrivals[-1] - arrivals[0] > 1, arrivals


def test_http_1_0(flask):
    answer = exchange(flask.port, b"GET /flask/stream?n=3&pause=0 HTTP/1.0\r\n\r\n")
    status, headers, body = parse(answer)
    assert (status, body) == (200, b"line 0\nline 1\nline 2\n")
    assert "transfer-encoding" not in headers

    body = json.dumps({"a": 1}).encode()
    head = b"POST /flask/echo HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    status, _, answer = parse(exchange(flask.port, head % len(body) + body))
    assert status == 200 and json.loads(answer)["got"] == {"a": 1}


def test_continue_is_sent_when_it_is_expected(flask):
    """100 Continue comes before the body does."""
    import socket

    with socket.create_connection(("127.0.0.1", flask.port), timeout=30) as s:
        s.sendall(
            b"POST /flask/echo HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nExpect: 100-continue\r\n"
            b"Content-Type: application/json\r\nContent-Length: 4\r\n\r\n"
        )
        assert s.recv(100).startswith(b"HTTP/1.1 100 ")
        s.sendall(b"null")
        answer = b""
        while part := s.recv(65536):
            answer += part
    status, _, body = parse(answer)
    assert status == 200 and json.loads(body)["got"] is None
