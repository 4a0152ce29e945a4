"""TLS connections, as mod_ssl describes them to applications. Both modes."""

import json
import socket
import ssl
import subprocess

import pytest

from client import get, parse
from test_django import make_certificate

APP = """
    import json

    def application(environ, start_response):
        wanted = ('SSL_', 'HTTPS', 'REQUEST_SCHEME', 'wsgi.url_scheme', 'SERVER_PORT')
        facts = {key: value for key, value in environ.items() if key.startswith(wanted)}
        body = json.dumps(facts).encode()
        start_response('200 OK', [('Content-Type', 'application/json'), ('Content-Length', str(len(body)))])
        return [body]
    """

SUBJECT = "/C=DE/O=Some, Org/OU=First/OU=Second/CN=René/emailAddress=rene@example.com"


def openssl(directory, *arguments):
    subprocess.run(["openssl", *arguments], cwd=directory, check=True, capture_output=True)


def make_client_certificates(directory):
    """An authority, and two certificates: one of it, one that nobody knows."""
    new = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-utf8"]
    openssl(directory, *new, "-subj", "/CN=Authority", "-keyout", "ca.key", "-out", "ca.pem")
    openssl(directory, *new, "-subj", "/CN=nobody", "-keyout", "unknown.key", "-out", "unknown.pem")
    request = ["req", "-newkey", "rsa:2048", "-nodes", "-utf8", "-subj", SUBJECT]
    openssl(directory, *request, "-keyout", "client.key", "-out", "client.csr")
    sign = ["x509", "-req", "-in", "client.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-days", "2"]
    openssl(directory, *sign, "-set_serial", "0xAB12", "-out", "client.pem")


@pytest.fixture
def server(nginx, group):
    certificate, key = make_certificate(nginx.dir)
    make_client_certificates(nginx.dir)
    nginx.write("app.wsgi", APP)
    nginx.configure(
        http="wsgi_daemon_process app threads=4;",
        server=f"""
            listen 127.0.0.1:{nginx.tls_port} ssl;
            ssl_certificate {certificate};
            ssl_certificate_key {key};
            ssl_protocols TLSv1.2 TLSv1.3;
            ssl_verify_client optional_no_ca;
            ssl_client_certificate {{dir}}/ca.pem;
            ssl_session_cache shared:tls:1m;
            wsgi_script_alias / {{dir}}/app.wsgi {group};
            location /off {{ wsgi_param HTTPS off; wsgi_param SSL_PROTOCOL fake; }}
            location /more {{ wsgi_param SSL_CLIENT_CERT $ssl_client_raw_cert; }}
            """,
    )
    nginx.start()
    return nginx


def ask(server, path="/", name="some.example", certificate=None, version=None, ciphers=None, session=None):
    """The facts of a request on a connection of its own, and the connection's session."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if certificate:
        context.load_cert_chain(server.dir / f"{certificate}.pem", server.dir / f"{certificate}.key")
    if version:
        context.maximum_version = context.minimum_version = version
    if ciphers:
        context.set_ciphers(ciphers)
    context = session[0] if session else context
    with socket.create_connection(("127.0.0.1", server.tls_port), timeout=30) as plain:
        with context.wrap_socket(plain, server_hostname=name, session=session and session[1]) as s:
            s.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
            answer = b""
            while part := s.recv(65536):
                answer += part
            kept = context, s.session
    status, _, body = parse(answer)
    assert status == 200, server.log()
    return json.loads(body), kept


def test_plain_connection_has_no_such_facts(server):
    facts = json.loads(get(server.port, "/")[2])
    assert facts == {"REQUEST_SCHEME": "http", "wsgi.url_scheme": "http", "SERVER_PORT": str(server.port)}


def test_connection(server):
    facts, _ = ask(server, version=ssl.TLSVersion.TLSv1_2, ciphers="ECDHE-RSA-AES128-GCM-SHA256")
    facts.pop("SSL_SESSION_ID", None)
    assert facts == {
        "REQUEST_SCHEME": "https",
        "wsgi.url_scheme": "https",
        "SERVER_PORT": str(server.tls_port),
        "SSL_PROTOCOL": "TLSv1.2",
        "SSL_CIPHER": "ECDHE-RSA-AES128-GCM-SHA256",
        "SSL_CIPHER_EXPORT": "false",
        "SSL_COMPRESS_METHOD": "NULL",
        "SSL_CIPHER_USEKEYSIZE": "128",
        "SSL_CIPHER_ALGKEYSIZE": "128",
        "SSL_SESSION_RESUMED": "Initial",
        "SSL_TLS_SNI": "some.example",
        "SSL_CLIENT_VERIFY": "NONE",
    }


def test_tls_1_3_without_a_name(server):
    facts, _ = ask(server, name=None, version=ssl.TLSVersion.TLSv1_3)
    assert facts["SSL_PROTOCOL"] == "TLSv1.3"
    assert facts["SSL_CIPHER"].startswith("TLS_")
    assert facts["SSL_CIPHER_USEKEYSIZE"] == "256"
    assert "SSL_TLS_SNI" not in facts


def test_resumed_session(server):
    first, session = ask(server, version=ssl.TLSVersion.TLSv1_2)
    second, _ = ask(server, session=session)
    assert (first["SSL_SESSION_RESUMED"], second["SSL_SESSION_RESUMED"]) == ("Initial", "Resumed")
    assert second["SSL_SESSION_ID"] == session[1].id.hex()


def test_certificate(server):
    facts, _ = ask(server, "/more", certificate="client")
    assert facts.pop("SSL_CLIENT_CERT").startswith("-----BEGIN CERTIFICATE-----\n")
    found = {key: value for key, value in facts.items() if key.startswith("SSL_CLIENT_")}
    dates = [found.pop("SSL_CLIENT_V_START"), found.pop("SSL_CLIENT_V_END")]
    printed = subprocess.run(
        ["openssl", "x509", "-in", server.dir / "client.pem", "-noout", "-dates"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert dates == [line.split("=")[1] for line in printed.stdout.splitlines()]
    assert found.pop("SSL_CLIENT_V_REMAIN") in ("1", "2")
    latin = {key: value.encode("latin-1").decode() for key, value in found.items()}
    assert latin == {
        "SSL_CLIENT_VERIFY": "SUCCESS",
        "SSL_CLIENT_M_SERIAL": "AB12",
        "SSL_CLIENT_S_DN": "emailAddress=rene@example.com,CN=René,OU=Second,OU=First,O=Some\\, Org,C=DE",
        "SSL_CLIENT_S_DN_C": "DE",
        "SSL_CLIENT_S_DN_O": "Some, Org",
        "SSL_CLIENT_S_DN_OU": "First",
        "SSL_CLIENT_S_DN_OU_1": "Second",
        "SSL_CLIENT_S_DN_CN": "René",
        "SSL_CLIENT_S_DN_Email": "rene@example.com",
        "SSL_CLIENT_I_DN": "CN=Authority",
        "SSL_CLIENT_I_DN_CN": "Authority",
    }


def test_certificate_of_nobody(server):
    facts, _ = ask(server, certificate="unknown")
    assert facts["SSL_CLIENT_VERIFY"].startswith("FAILED:self"), facts
    assert facts["SSL_CLIENT_S_DN_CN"] == "nobody"


def test_what_nginx_knows_counts_more_than_a_parameter(server):
    facts, _ = ask(server, "/off")
    assert facts["wsgi.url_scheme"] == "https"
    assert facts["SSL_PROTOCOL"] != "fake"
    assert "HTTPS" not in facts
