"""socket-timeout: what happens to a request whose connection makes no progress."""

import socket
import time

from client import get

APP = """
    def application(environ, start_response):
        if environ['PATH_INFO'] == '/large':
            start_response('200 OK', [])
            return (b'x' * 65536 for _ in range(1024))
        try:
            answer = b'read %d' % len(environ['wsgi.input'].read())
        except OSError as error:
            answer = str(error).encode()
        start_response('200 OK', [('Content-Length', str(len(answer)))])
        return [answer]
    """


def start(nginx, timeout):
    nginx.write("app.wsgi", APP)
    nginx.configure(
        http=f"wsgi_daemon_process app threads=1 socket-timeout={timeout};",
        server="""
            wsgi_buffering off;
            wsgi_request_buffering off;
            wsgi_script_alias / {dir}/app.wsgi process-group=app;
            """,
    )
    nginx.start()


def connect(nginx, receive_buffer=None):
    client = socket.socket()
    if receive_buffer:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    client.settimeout(30)
    client.connect(("127.0.0.1", nginx.port))
    return client


def post(client, length):
    client.sendall(f"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n".encode())


def answer(client):
    received = b""
    while piece := client.recv(65536):
        received += piece
    return received


def test_a_body_that_does_not_come(nginx):
    start(nginx, 1)
    with connect(nginx) as client:
        post(client, 10)
        client.sendall(b"abc")
        received = answer(client)
    assert received.startswith(b"HTTP/1.1 200")
    assert received.endswith(b"mod_wsgi request data read error: Connection timed out"), received
    assert get(nginx.port, "/")[2] == b"read 0"


def test_a_body_that_comes_slowly(nginx):
    """The timeout is one of each read, not of all."""
    start(nginx, 3)
    with connect(nginx) as client:
        post(client, 8)
        for _ in range(8):
            time.sleep(0.5)
            client.sendall(b"a")
        assert answer(client).endswith(b"read 8")


def test_a_response_that_nobody_takes(nginx):
    start(nginx, 1)
    with connect(nginx, receive_buffer=4096) as client:
        client.sendall(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n")
        nginx.wait_for_log(
            r"\[error\].*response broken off: nothing of it was taken for 1 s \(socket-timeout\), request: \"GET /large\""
        )
        received = answer(client)
    assert len(received) < 1024 * 65536 and not received.endswith(b"0\r\n\r\n"), "it must not look complete"
    assert get(nginx.port, "/")[2] == b"read 0"
