"""The demo's Django project: log in, create, upload, download. Both modes, three protocols."""

import hashlib
import os
import re
import shutil
import subprocess
import sys

import httpx
import pytest

from client import exchange, parse
from nginx import IS_ROOT, ROOT

PASSWORD = "a-password"
SIZE = 50 << 20


@pytest.fixture(scope="session")
def project(tmp_path_factory):
    """The project with its database, a user and the collected static files."""
    site = tmp_path_factory.mktemp("django") / "site"
    shutil.copytree(ROOT / "demo" / "site", site, ignore=shutil.ignore_patterns("__pycache__"))
    (site / "data" / "media").mkdir(parents=True)
    (site / "data" / "secret").write_text("only for the test")
    for command in (
        ["migrate", "--noinput"],
        ["collectstatic", "--noinput"],
        ["createsuperuser", "--noinput", "--username", "admin", "--email", "a@localhost"],
    ):
        done = subprocess.run(
            [sys.executable, "manage.py", *command],
            cwd=site,
            env={**os.environ, "DJANGO_SUPERUSER_PASSWORD": PASSWORD},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    return site


@pytest.fixture
def django(nginx, mode, group, venv_path, project):
    """An nginx that serves the project, over HTTP and TLS."""
    site = nginx.dir / "site"
    shutil.copytree(project, site)
    nginx.validate("site/demo/wsgi.py")
    if IS_ROOT:
        subprocess.run(["chown", "-R", "www-data:", site / "data"], check=True)
    certificate, key = make_certificate(nginx.dir)
    nginx.configure(
        http=f"""
            wsgi_daemon_process app processes=2 threads=4 home={site} python-path={venv_path};
            wsgi_python_path {site}:{venv_path};
            """,
        server=f"""
            listen 127.0.0.1:{nginx.tls_port} ssl http2;
            ssl_certificate {certificate};
            ssl_certificate_key {key};
            client_max_body_size 100m;
            wsgi_script_alias / {site}/demo/wsgi.py {group} "application-group=%{{GLOBAL}}";
            # What browsers ask for.
            location = /favicon.ico {{ empty_gif; }}
            location /static/ {{
                alias {site}/static/;
                types {{ text/css css; text/javascript js; image/svg+xml svg; }}
            }}
            """,
    )
    nginx.start()
    return nginx


def make_certificate(directory):
    certificate, key = directory / "cert.pem", directory / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
        + ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate],
        check=True,
        capture_output=True,
    )
    return certificate, key


def open_client(nginx, protocol):
    if protocol == "HTTP/2":
        import ssl

        trusted = ssl.create_default_context(cafile=str(nginx.dir / "cert.pem"))
        return httpx.Client(
            base_url=f"https://127.0.0.1:{nginx.tls_port}", http2=True, verify=trusted, timeout=120
        )
    return httpx.Client(base_url=nginx.url, timeout=120)


def token(page):
    assert page.status_code == 200, page.text[:500]
    return re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text).group(1)


def log_in(client):
    page = client.get("/admin/login/")
    answer = client.post(
        "/admin/login/",
        data={
            "csrfmiddlewaretoken": token(page),
            "username": "admin",
            "password": PASSWORD,
            "next": "/admin/",
        },
        headers={"Referer": str(page.url)},
    )
    assert answer.status_code == 302 and answer.headers["Location"] == "/admin/", answer.text[:500]
    assert "sessionid" in client.cookies


@pytest.mark.parametrize("protocol", ["HTTP/1.1", "HTTP/2"])
def test_admin_upload_and_download(django, protocol):
    with open_client(django, protocol) as client:
        assert client.get("/admin/").status_code == 302
        log_in(client)
        assert "Site administration" in client.get("/admin/").text

        page = client.get("/admin/library/book/add/")
        assert page.http_version == protocol
        answer = client.post(
            "/admin/library/book/add/",
            data={"csrfmiddlewaretoken": token(page), "title": "Der Prozeß", "author": "Kafka"},
            headers={"Referer": str(page.url)},
        )
        assert answer.status_code == 302, answer.text[:500]
        assert "Der Prozeß" in client.get("/admin/library/book/").text

        content = os.urandom(1 << 20) * (SIZE >> 20)
        page = client.get("/upload/")
        answer = client.post(
            "/upload/",
            data={"csrfmiddlewaretoken": token(page), "title": "Large"},
            files={"file": ("large.bin", content)},
            headers={"Referer": str(page.url)},
        )
        assert answer.status_code == 302, answer.text[:500]
        link = re.search(r"/books/\d+/download/", client.get("/").text).group()
        answer = client.get(link)
        assert answer.status_code == 200
        assert int(answer.headers["Content-Length"]) == SIZE
        assert hashlib.sha256(answer.content).digest() == hashlib.sha256(content).digest()

        # Without the token Django refuses.
        assert client.post("/upload/", data={"title": "x"}).status_code == 403
        assert client.get("/static/admin/css/base.css").status_code == 200
        assert client.get("/nothing/here").status_code == 404


def test_http_1_0(django):
    with httpx.Client(base_url=django.url) as client:
        log_in(client)
        cookies = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
        page = client.get("/upload/")
    content = os.urandom(100000)
    boundary = b"a-boundary"
    fields = [("csrfmiddlewaretoken", token(page)), ("title", "Old protocol")]
    body = b"".join(
        b'--%s\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n'
        % (boundary, name.encode(), value.encode())
        for name, value in fields
    )
    body += b'--%s\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n%s\r\n--%s--\r\n' % (
        boundary,
        content,
        boundary,
    )
    head = (
        f"POST /upload/ HTTP/1.0\r\nHost: 127.0.0.1:{django.port}\r\nCookie: {cookies}\r\n"
        f"Content-Type: multipart/form-data; boundary={boundary.decode()}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    status, headers, _ = parse(exchange(django.port, head.encode() + body))
    assert (status, headers["location"]) == (302, "/")

    get = "GET {} HTTP/1.0\r\nHost: localhost\r\n\r\n"
    status, _, index = parse(exchange(django.port, get.format("/").encode()))
    assert status == 200
    link = re.search(rb"/books/\d+/download/", index).group().decode()
    answer = exchange(django.port, get.format(link).encode())
    status, headers, downloaded = parse(answer)
    assert (status, downloaded) == (200, content)
    assert "transfer-encoding" not in headers
