"""Dispatch scripts beside the event loop: slow ones, clients that leave, bodies, reloads."""

import os
import re
import signal
import socket
import time

import h2.connection
import pytest
from h2.errors import ErrorCodes
from h2.events import DataReceived, ResponseReceived, StreamEnded

from client import exchange, get, parse
from processes import alive, wait_until
from test_hooks import began, in_background, let_go

APPLICATION = """
    def application(environ, start_response):
        body = environ['wsgi.input'].read()
        start_response('200 OK', [('Content-Type', 'text/plain')])
        answer = environ['mod_wsgi.process_group'] + '/' + environ['mod_wsgi.application_group'] + ' '
        return [answer.encode() + body]
"""

SLOW = """
    import os, time

    def application_group(environ):
        query = environ['QUERY_STRING']
        if query.startswith('slow'):
            open({began!r} + query, 'w').close()
            while not os.path.exists({go!r}):
                time.sleep(0.01)
        return 5 if query == 'slow-bad' else 'chosen'
"""


def start(nginx, group, threads=2, workers=1, directives=""):
    nginx.write("app.wsgi", APPLICATION)
    nginx.write("files/a.txt", "content")
    for name in ("began", "going"):
        (nginx.dir / name).mkdir()
        (nginx.dir / name).chmod(0o777)
    nginx.write("dispatch.py", SLOW.format(began=str(nginx.dir / "began") + "/", go=str(nginx.dir / "going" / "go")))
    nginx.configure(
        http=f"""
        wsgi_daemon_process app threads=2;
        wsgi_embedded_threads {threads};
        log_format names '$status <$wsgi_process_group> <$wsgi_application_group> $request';
        access_log {{dir}}/logs/names.log names;
        """,
        server=f"""
        wsgi_dispatch_script {{dir}}/dispatch.py;
        {directives}
        wsgi_script_alias / {{dir}}/app.wsgi {group};
        location /files/ {{ root {{dir}}; }}
        location /off/ {{ wsgi_dispatch_script off; wsgi_application_group configured; }}
        """,
        workers=workers,
    )
    nginx.start()


def chosen(group, name="chosen"):
    """What the application says of where it runs."""
    return ("app" if "=app" in group else "").encode() + b"/" + name.encode() + b" "


def fetch(nginx, path):
    status, _, body = get(nginx.port, path)
    return status, body


def descriptors(nginx):
    (worker,) = nginx.workers()
    return len(os.listdir(f"/proc/{worker.pid}/fd"))


def test_a_slow_script_delays_its_own_request_only(nginx, group):
    start(nginx, group)
    slow = in_background(fetch, nginx, "/x?slow")
    bad = in_background(fetch, nginx, "/x?slow-bad")
    began(nginx, 2)
    # The only worker is free, whatever its Python threads do.
    assert fetch(nginx, "/files/a.txt") == (200, b"content")
    if "=app" in group:
        assert fetch(nginx, "/off/x") == (200, b"app/configured ")
    let_go(nginx)
    assert slow() == (200, chosen(group)) and bad()[0] == 500
    lines = (nginx.dir / "logs" / "names.log").read_text().splitlines()
    where = "app" if "=app" in group else ""
    assert f"200 <{where}> <chosen> GET /x?slow HTTP/1.1" in lines
    assert nginx.log().count("has to return str, bytes or None, not int") == 1


def test_scripts_and_applications_share_one_thread(nginx, group):
    start(nginx, group, threads=1)
    waiting = [in_background(fetch, nginx, f"/x?slow{number}") for number in range(5)]
    began(nginx, 1)
    assert fetch(nginx, "/files/a.txt") == (200, b"content")
    let_go(nginx)
    assert [result() for result in waiting] == [(200, chosen(group))] * 5


def test_clients_that_go_away_leave_nothing(nginx, group):
    start(nginx, group)
    assert fetch(nginx, "/x") == (200, chosen(group))
    before = descriptors(nginx)
    connections = []
    for number in range(6):
        connection = socket.create_connection(("127.0.0.1", nginx.port))
        request = b"POST /x?slow%d HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\n\r\nhalf of it" % number
        connection.sendall(request if number % 2 else request.replace(b"Content-Length: 50\r\n", b"")[:-10])
        connections.append(connection)
    began(nginx, 2)
    for connection in connections:
        connection.close()
    # Four of them waited for a thread, and nobody was asked about those.
    wait_until(lambda: nginx.log().count("client prematurely closed connection") == 6, nginx.log)
    let_go(nginx)
    for _ in range(5):
        assert fetch(nginx, "/x") == (200, chosen(group))
    assert len(list((nginx.dir / "began").iterdir())) == 2
    wait_until(lambda: descriptors(nginx) <= before, lambda: f"{before} descriptors, not {descriptors(nginx)}")
    lines = (nginx.dir / "logs" / "names.log").read_text().splitlines()
    # They went nowhere.
    assert sorted(line for line in lines if line.startswith("499")) == [
        f"499 <-> <-> POST /x?slow{number} HTTP/1.1" for number in range(6)
    ]


def test_clients_that_may_go_away(nginx, group):
    start(nginx, group, directives="wsgi_ignore_client_abort on;")
    with socket.create_connection(("127.0.0.1", nginx.port)) as connection:
        connection.sendall(b"GET /x?slow HTTP/1.1\r\nHost: a\r\n\r\n")
        began(nginx, 1)
    let_go(nginx)
    log = nginx.dir / "logs" / "names.log"
    wait_until(lambda: re.search(r"^200 <\w*> <chosen> GET /x\?slow ", log.read_text(), re.M), log.read_text)


def test_a_script_that_takes_too_long(nginx, group):
    start(nginx, group, directives="wsgi_read_timeout 200ms;")
    assert fetch(nginx, "/x?slow")[0] == 504
    assert "no answer of a hook within 200 ms (wsgi_read_timeout)" in nginx.log()
    let_go(nginx)
    wait_until(lambda: fetch(nginx, "/x") == (200, chosen(group)), nginx.log)


@pytest.mark.parametrize("buffering", ("on", "off"))
def test_the_body_is_read_when_the_script_has_answered(nginx, group, buffering):
    start(nginx, group, directives=f"wsgi_request_buffering {buffering};")
    body = b"0123456789" * 20000
    with socket.create_connection(("127.0.0.1", nginx.port), timeout=30) as connection:
        head = b"POST /x?slow HTTP/1.1\r\nHost: a\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n"
        connection.sendall(head % len(body))
        began(nginx, 1)
        # nginx asks for the body when it begins to read it.
        connection.settimeout(0.2)
        with pytest.raises(socket.timeout):
            connection.recv(1)
        connection.settimeout(30)
        let_go(nginx)
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    status, _, found = parse(answer)
    assert (status, found) == (200, chosen(group) + body)


def test_a_body_that_comes_meanwhile(nginx, group):
    start(nginx, group, directives="wsgi_chunked_request on;")
    parts = [b"%x\r\n%s\r\n" % (size, b"y" * size) for size in (1, 1000, 70000)]
    with socket.create_connection(("127.0.0.1", nginx.port), timeout=30) as connection:
        connection.sendall(b"POST /x?slow HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n" + parts[0])
        began(nginx, 1)
        connection.sendall(parts[1])
        let_go(nginx)
        connection.sendall(parts[2] + b"0\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert parse(answer)[::2] == (200, chosen(group) + b"y" * 71001)


def test_a_connection_is_kept(nginx, group):
    start(nginx, group)
    request = b"GET /x?%d HTTP/1.1\r\nHost: a\r\n\r\n"
    posted = b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
    last = b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    pipeline = (request % 1, request % 2, posted, posted, request % 3, last)
    answers = exchange(nginx.port, b"".join(pipeline))
    assert re.findall(rb"HTTP/1.1 (\d+)", answers) == [b"200"] * 6
    assert answers.count(chosen(group) + b"abc") == 2


def test_http2(nginx, group):
    start(nginx, group)
    listen = f"listen 127.0.0.1:{nginx.tls_port} http2; listen 127"
    nginx.conf.write_text(nginx.conf.read_text().replace("listen 127", listen, 1))
    nginx.send(signal.SIGHUP)

    def listens():
        with socket.socket() as connection:
            return connection.connect_ex(("127.0.0.1", nginx.tls_port)) == 0

    wait_until(listens, nginx.log)
    with socket.create_connection(("127.0.0.1", nginx.tls_port), timeout=30) as connection:
        client = h2.connection.H2Connection()
        client.initiate_connection()
        for stream, path in ((1, "/x?slow1"), (3, "/x?slow2"), (5, "/x?slow-bad"), (7, "/files/a.txt")):
            method = "GET" if path.endswith(".txt") else "POST"
            headers = [(":method", method), (":path", path), (":scheme", "http"), (":authority", "a")]
            headers += [("content-length", "1000")] if method == "POST" else []
            client.send_headers(stream, headers, end_stream=method == "GET")
        for stream in (1, 3, 5):
            client.send_data(stream, b"z" * 500)
        connection.sendall(client.data_to_send())
        assert answers2(connection, client, {7}) == {7: (b"200", b"content")}
        began(nginx, 2)
        client.reset_stream(3, ErrorCodes.CANCEL)
        connection.sendall(client.data_to_send())
        wait_until(lambda: "/x?slow2" in (nginx.dir / "logs" / "names.log").read_text(), nginx.log)
        # What is left of the bodies.
        for stream in (1, 5):
            client.send_data(stream, b"z" * 500, end_stream=True)
        connection.sendall(client.data_to_send())
        let_go(nginx)
        found = answers2(connection, client, {1, 5})
    assert found[1] == (b"200", chosen(group) + b"z" * 1000) and found[5][0] == b"500"


def answers2(connection, client, streams):
    """Status and body of HTTP/2 streams, read until they end."""
    status, body, left = {}, dict.fromkeys(streams, b""), set(streams)
    while left:
        data = connection.recv(65536)
        assert data, f"closed before the end of {left}"
        for event in client.receive_data(data):
            stream = getattr(event, "stream_id", None)
            if isinstance(event, ResponseReceived):
                status[stream] = dict(event.headers)[b":status"]
            elif isinstance(event, DataReceived) and stream in body:
                body[stream] += event.data
            elif isinstance(event, StreamEnded):
                left.discard(stream)
        connection.sendall(client.data_to_send())
    return {stream: (status[stream], body[stream]) for stream in streams}


def test_a_reload_loses_no_request(nginx, group):
    start(nginx, group)
    slow = in_background(fetch, nginx, "/x?slow")
    began(nginx, 1)
    (old,) = nginx.workers()
    nginx.send(signal.SIGHUP)
    wait_until(lambda: nginx.workers() and old.pid not in {worker.pid for worker in nginx.workers()}, "a new worker")
    assert fetch(nginx, "/x") == (200, chosen(group))
    let_go(nginx)
    assert slow() == (200, chosen(group))
    wait_until(lambda: not alive(old.pid), "the old worker to end")


def test_nginx_ends_while_a_script_runs(nginx, group):
    start(nginx, group)
    slow = in_background(fetch, nginx, "/x?slow")
    began(nginx, 1)
    nginx.send(signal.SIGTERM)
    wait_until(lambda: not alive(nginx.master), "nginx to end")
    assert slow()[0] == 0


def test_a_changed_script_is_loaded_again(nginx, group):
    start(nginx, group, directives="location /fixed/ { wsgi_dispatch_script {dir}/fixed.py; wsgi_script_reloading off; }")
    script = nginx.dir / "dispatch.py"
    fixed = nginx.write("fixed.py", "def application_group(environ):\n    return 'fixed'\n")
    assert fetch(nginx, "/fixed/") == (200, chosen(group, "fixed"))
    fixed.write_text("def application_group(environ):\n    return 'changed'\n")
    assert fetch(nginx, "/fixed/") == (200, chosen(group, "fixed"))
    for number, name in enumerate(("one", "two", "1 / 0", "three")):
        answer = repr(name) if name.isalpha() else name
        script.write_text(f"def application_group(environ):\n    return {answer}\n")
        # A time of its own, whatever the clock's resolution.
        stamp = time.time_ns() - 10**10 * (1 + number)
        os.utime(script, ns=(stamp, stamp))
        expected = (200, chosen(group, name)) if name.isalpha() else 500
        for _ in range(3):
            status, body = fetch(nginx, "/x")
            assert expected in (status, (status, body)), (status, body, nginx.log()[-2000:])


def test_a_script_that_breaks_leaves_what_is_configured(nginx, group):
    start(nginx, group)
    assert fetch(nginx, "/x") == (200, chosen(group))
    script = nginx.dir / "dispatch.py"
    script.write_text("import nothing_of_that_name\n")
    stamp = time.time_ns() - 10**10
    os.utime(script, ns=(stamp, stamp))
    status, body = fetch(nginx, "/x")
    assert status == 200 and b"/chosen" not in body
    assert "No module named 'nothing_of_that_name'" in nginx.log()


def test_many_requests(nginx, group):
    start(nginx, group, threads=3, workers=2)
    request = b"POST /x?%d HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab"
    last = b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"

    def work():
        answers = exchange(nginx.port, b"".join(request % number for number in range(30)) + last)
        return answers.count(b"HTTP/1.1 200 OK"), answers.count(chosen(group) + b"ab")

    results = [in_background(work) for _ in range(16)]
    assert [result() for result in results] == [(31, 30)] * 16
