"""Hooks for access, authentication and groups, as clients meet them."""

import hashlib
import itertools
import os
import re
import signal
import socket
import subprocess
import threading
import time

import h2.connection
import h2.events
import httpx
import pytest
import requests
from requests.auth import HTTPBasicAuth, HTTPDigestAuth

from client import exchange, get
from processes import alive, wait_until

APPLICATION = """
    def application(environ, start_response):
        user = environ.get('REMOTE_USER', '-') + ' ' + environ.get('AUTH_TYPE', '-')
        body = environ['wsgi.input'].read()
        start_response('200 OK', [('Content-Type', 'text/plain')])
        return [user.encode('latin-1') + body]
"""

DIGEST = """
    import hashlib

    def get_realm_hash(environ, user, realm):
        with open({log!r}, 'a') as log:
            log.write('asked\\n')
        if user == 'nobody':
            return None
        secret = '%s:%s:secret' % (user, realm)
        return hashlib.{algorithm}(secret.encode('latin-1')).hexdigest()

    def groups_for_user(environ, user):
        return ['admins'] if user == 'bob' else []
"""

WHERE = {
    "application": "wsgi_script_alias / {dir}/app.wsgi GROUP;",
    "static": "root {dir}/files;",
    "proxy": "location / { proxy_pass http://unix:{dir}/back.sock:; }",
}


def start_digest(nginx, where="static", group="", algorithm="md5", directives="", workers=2, realm="the realm"):
    nginx.write("app.wsgi", APPLICATION)
    (nginx.dir / "asked").touch()
    (nginx.dir / "asked").chmod(0o666)
    nginx.write("auth.py", DIGEST.format(log=str(nginx.dir / "asked"), algorithm=algorithm))
    nginx.write("files/a.txt", "content")
    nginx.write("files/index.html", "index")
    nginx.configure(
        http="""
        log_format user '$status [$remote_user] $request';
        access_log {dir}/logs/users.log user;
        wsgi_daemon_process app threads=2;
        server { listen unix:{dir}/back.sock; location / { root {dir}/files; } }
        """,
        server=f"""
        wsgi_auth_type digest;
        wsgi_auth_name '{realm}';
        wsgi_auth_user_script {{dir}}/auth.py;
        wsgi_auth_group_script {{dir}}/auth.py;
        {directives}
        {WHERE[where].replace("GROUP", group)}
        """,
        workers=workers,
    )
    nginx.start()


def curl(nginx, path, *options):
    """Status of the last answer, and its body."""
    command = ["curl", "-sS", "-w", "\n%{http_code}", *options, nginx.url + path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    body, _, status = done.stdout.rpartition("\n")
    return int(status), body


def challenge(nginx, path="/a.txt", headers=""):
    status, fields, _ = get(nginx.port, path, headers=headers)
    assert status == 401, (status, nginx.log())
    field = fields["www-authenticate"]
    assert field.startswith("Digest ")
    found = re.findall(r'(\w+)=(?:"((?:[^"\\]|\\.)*)"|([^, ]+))', field)
    return {name: re.sub(r"\\(.)", r"\1", quoted) or plain for name, quoted, plain in found}


def credentials(asked, uri="/a.txt", user="bob", password="secret", method="GET", count=1, **changes):
    """An Authorization header that answers a challenge."""
    algorithm = {"MD5": hashlib.md5, "SHA-256": hashlib.sha256}[asked["algorithm"]]

    def digest(*parts):
        return algorithm(":".join(parts).encode("latin-1")).hexdigest()

    fields = dict(
        username=user,
        realm=asked["realm"],
        nonce=asked["nonce"],
        uri=uri,
        cnonce="0a4f113b",
        nc=f"{count:08x}",
        qop="auth",
        algorithm=asked["algorithm"],
        opaque=asked["opaque"],
    )
    fields.update(changes)
    proof = digest(fields["username"], fields["realm"], password)
    request = digest(method, fields["uri"])
    fields["response"] = digest(proof, fields["nonce"], fields["nc"], fields["cnonce"], "auth", request)
    bare = ("nc", "qop", "algorithm")

    def written(name, value):
        if name in bare:
            return f"{name}={value}"
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'{name}="{escaped}"'

    return "Authorization: Digest " + ", ".join(written(*field) for field in fields.items()) + "\r\n"


@pytest.mark.parametrize("where", list(WHERE))
def test_clients_of_digest(nginx, mode, group, where):
    if where != "application" and mode == "daemon":
        pytest.skip("the content is nginx's own")
    start_digest(nginx, where, group)
    expected = "bob Digest" if where == "application" else "content"
    assert curl(nginx, "/a.txt", "--digest", "-u", "bob:secret") == (200, expected)
    assert curl(nginx, "/a.txt", "--digest", "-u", "bob:wrong")[0] == 401
    assert curl(nginx, "/a.txt", "--digest", "-u", "nobody:secret")[0] == 401
    assert curl(nginx, "/a.txt", "-u", "bob:secret")[0] == 401
    with requests.Session() as session:
        session.auth = HTTPDigestAuth("bob", "secret")
        for path in ("/a.txt", "/a.txt?x=1", "/a.txt?y=a,b%22"):
            answer = session.get(nginx.url + path)
            assert (answer.status_code, answer.text) == (200, expected)
    assert requests.get(nginx.url + "/a.txt", auth=HTTPDigestAuth("bob", "no")).status_code == 401
    assert requests.get(nginx.url + "/a.txt", auth=HTTPBasicAuth("bob", "secret")).status_code == 401
    lines = (nginx.dir / "logs" / "users.log").read_text().splitlines()
    assert "200 [bob] GET /a.txt HTTP/1.1" in lines
    assert not [line for line in lines if line.startswith("401 [bob]") and "basic" in line]
    assert 'user "bob": password mismatch' in nginx.log() and 'user "nobody" was not found' in nginx.log()


def test_a_realm_with_quotes(nginx):
    start_digest(nginx, realm='the "realm", or so')
    assert challenge(nginx)["realm"] == 'the "realm", or so'
    assert curl(nginx, "/a.txt", "--digest", "-u", "bob:secret") == (200, "content")


def test_a_body_arrives_behind_digest(nginx, group):
    start_digest(nginx, "application", group)
    answer = requests.post(nginx.url + "/x", data="y" * 50000, auth=HTTPDigestAuth("bob", "secret"))
    assert (answer.status_code, answer.text) == (200, "bob Digest" + "y" * 50000)


def test_sha256_is_what_the_script_answers_with(nginx):
    start_digest(nginx, algorithm="sha256")
    # The first client learns that MD5 does not do, and tries again by itself.
    assert challenge(nginx)["algorithm"] == "MD5"
    assert curl(nginx, "/a.txt", "--digest", "-u", "bob:secret") == (200, "content")
    # From then on all workers ask for the right one.
    assert {challenge(nginx)["algorithm"] for _ in range(20)} == {"SHA-256"}
    for _ in range(5):
        answer = requests.get(nginx.url + "/a.txt", auth=HTTPDigestAuth("bob", "secret"))
        assert answer.status_code == 200
    assert requests.get(nginx.url + "/a.txt", auth=HTTPDigestAuth("bob", "x")).status_code == 401


def test_a_replay_is_refused_by_every_worker(nginx):
    start_digest(nginx, workers=4)
    asked = challenge(nginx)
    once = credentials(asked)
    assert get(nginx.port, "/a.txt", headers=once)[0] == 200
    for _ in range(20):
        again = challenge(nginx, headers=once)
        assert again["stale"] == "true" and again["nonce"] != asked["nonce"]
    assert "nonce count 1 was used before" in nginx.log()
    # Counts may overtake each other, but each is good once.
    for count, status in ((3, 200), (2, 200), (3, 401), (2, 401), (100, 200), (4, 401)):
        assert get(nginx.port, "/a.txt", headers=credentials(asked, count=count))[0] == status, count


def test_a_wrong_password_uses_no_count(nginx):
    start_digest(nginx)
    asked = challenge(nginx)
    wrong = challenge(nginx, headers=credentials(asked, password="x"))
    assert "stale" not in wrong
    assert get(nginx.port, "/a.txt", headers=credentials(asked))[0] == 200


def test_nonces_of_others_are_stale(nginx):
    start_digest(nginx)
    asked = challenge(nginx)
    for nonce in ("x", "", "0" * 64, asked["nonce"][:-1] + ("0" if asked["nonce"][-1] != "0" else "1")):
        assert challenge(nginx, headers=credentials({**asked, "nonce": nonce}))["stale"] == "true"
    # Nobody asks Python about those.
    assert (nginx.dir / "asked").read_text() == ""
    # A new configuration has nonces of its own.
    old = credentials(asked)
    workers = {worker.pid for worker in nginx.workers()}
    nginx.send(signal.SIGHUP)
    wait_until(lambda: nginx.workers() and not workers & {worker.pid for worker in nginx.workers()}, "new workers")
    assert challenge(nginx, headers=old)["stale"] == "true"


def wait_until_stale(nginx, asked, path="/a.txt"):
    """Sends right credentials with this nonce until it is too old."""
    counts = itertools.count(1)

    def is_stale():
        status, fields, _ = get(nginx.port, path, headers=credentials(asked, path, count=next(counts)))
        if status == 401:
            assert "stale=true" in fields["www-authenticate"]
            return True
        assert status == 200

    wait_until(is_stale, "the nonce's end")


def test_an_old_nonce_is_exchanged_without_asking_the_user(nginx):
    start_digest(nginx, directives="wsgi_auth_nonce_lifetime 1s; location /long/ { wsgi_auth_nonce_lifetime 1h; alias {dir}/files/; }")
    with requests.Session() as session:
        session.auth = HTTPDigestAuth("bob", "secret")
        assert session.get(nginx.url + "/a.txt").text == "content"
        asked = challenge(nginx)
        wait_until_stale(nginx, asked)
        assert session.get(nginx.url + "/a.txt").text == "content"
    # Where it is good for longer it still is; a count must be unused, of course.
    fresh = credentials(asked, "/long/a.txt", count=10**6)
    assert get(nginx.port, "/long/a.txt", headers=fresh)[0] == 200
    # Challenges: for either client the first one, and one for the old nonce.
    log = (nginx.dir / "logs" / "users.log").read_text().splitlines()
    assert log.count("401 [-] GET /a.txt HTTP/1.1") == 4
    assert "used before" not in nginx.log() and "mismatch" not in nginx.log()


@pytest.mark.parametrize(
    "changes, status",
    [
        (dict(uri="/other.txt"), 400),
        (dict(uri="/a.txt?"), 400),
        (dict(uri="http://localhost/a.txt"), 200),
        (dict(realm="another"), 401),
        (dict(opaque="another"), 401),
        (dict(qop="auth-int"), 401),
        (dict(nc="1"), 401),
        (dict(algorithm="MD5-sess"), 401),
        (dict(username=""), 401),
        (dict(username="bo\tb"), 401),
    ],
)
def test_credentials_for_something_else(nginx, changes, status):
    start_digest(nginx)
    if changes.get("username") == "":
        changes = dict(username="", cnonce="x", nonce="y")
    assert get(nginx.port, "/a.txt", headers=credentials(challenge(nginx), **changes))[0] == status


def test_an_internal_redirect_is_no_replay(nginx):
    start_digest(nginx)
    # The index is an internal redirect, for which nginx runs its access checks again.
    for _ in range(3):
        assert curl(nginx, "/", "--digest", "-u", "bob:secret") == (200, "index")


def test_digest_and_groups(nginx):
    start_digest(nginx, directives="wsgi_require group Admins;")
    assert curl(nginx, "/a.txt", "--digest", "-u", "bob:secret") == (200, "content")
    assert curl(nginx, "/a.txt", "--digest", "-u", "eve:secret")[0] == 401
    assert 'user "eve" meets no "wsgi_require"' in nginx.log()


def test_satisfy_any_with_digest(nginx):
    start_digest(nginx, directives="satisfy any; deny all; location /open { satisfy any; allow all; root {dir}/files; }")
    assert get(nginx.port, "/a.txt")[0] == 401
    assert curl(nginx, "/a.txt", "--digest", "-u", "bob:secret") == (200, "content")
    status, fields, _ = get(nginx.port, "/open/")
    assert status == 404 and "www-authenticate" not in fields


def test_clients_of_basic(nginx, group):
    nginx.write("app.wsgi", APPLICATION)
    nginx.write("auth.py", "def check_password(environ, user, password):\n    return password == 'secret'\n")
    nginx.configure(
        http="wsgi_daemon_process app;",
        server=f"""
        wsgi_auth_type basic;
        wsgi_auth_name realm;
        wsgi_auth_user_script {{dir}}/auth.py;
        wsgi_script_alias / {{dir}}/app.wsgi {group};
        """,
    )
    nginx.start()
    assert curl(nginx, "/", "--basic", "-u", "bob:secret") == (200, "bob Basic")
    assert curl(nginx, "/", "--anyauth", "-u", "bob:secret") == (200, "bob Basic")
    assert curl(nginx, "/", "--basic", "-u", "bob:wrong")[0] == 401
    assert requests.get(nginx.url, auth=HTTPBasicAuth("bob", "secret")).text == "bob Basic"


SLOW = """
    import os, time

    def allow_access(environ, host):
        query = environ['QUERY_STRING']
        if query.startswith('slow'):
            open({began!r} + query, 'w').close()
            while not os.path.exists({go!r}):
                time.sleep(0.01)
        return query != 'slow-no'
"""


def start_slow(nginx, group="", threads=2, workers=1, directives=""):
    nginx.write("app.wsgi", APPLICATION)
    nginx.write("files/a.txt", "content")
    for name in ("began", "going"):
        (nginx.dir / name).mkdir()
        (nginx.dir / name).chmod(0o777)
    nginx.write("access.py", SLOW.format(began=str(nginx.dir / "began") + "/", go=str(nginx.dir / "going" / "go")))
    nginx.configure(
        http=f"wsgi_daemon_process app threads=2;\nwsgi_embedded_threads {threads};",
        server=f"""
        wsgi_access_script {{dir}}/access.py;
        {directives}
        location /files/ {{ alias {{dir}}/files/; }}
        location /free/ {{ wsgi_access_script off; alias {{dir}}/files/; }}
        {f"wsgi_script_alias / {{dir}}/app.wsgi {group};" if group else ""}
        """,
        workers=workers,
    )
    nginx.start()


def let_go(nginx):
    (nginx.dir / "going" / "go").touch()


def began(nginx, count):
    return wait_until(lambda: len(list((nginx.dir / "began").iterdir())) >= count, "hooks to begin")


def in_background(function, *arguments):
    results = []
    thread = threading.Thread(target=lambda: results.append(function(*arguments)), daemon=True)
    thread.start()

    def result():
        thread.join(60)
        assert not thread.is_alive(), "a request hangs"
        return results[0]

    return result


def test_a_slow_hook_delays_its_own_request_only(nginx, group):
    start_slow(nginx, group)
    slow = in_background(get, nginx.port, "/x?slow")
    began(nginx, 1)
    # The only worker is free, and so is its other thread.
    for path, status in (("/free/a.txt", 200), ("/files/a.txt", 200), ("/x", 200)):
        assert get(nginx.port, path)[0] == status
    let_go(nginx)
    assert slow()[0] == 200


def test_hooks_wait_for_threads_in_turn(nginx):
    start_slow(nginx, threads=1)
    waiting = [in_background(get, nginx.port, f"/files/a.txt?slow{number}") for number in range(5)]
    began(nginx, 1)
    assert get(nginx.port, "/free/a.txt")[0] == 200
    let_go(nginx)
    assert [result()[0] for result in waiting] == [200] * 5


def test_clients_that_go_away_leave_nothing(nginx):
    start_slow(nginx, threads=2)
    connections = []
    for number in range(6):
        connection = socket.create_connection(("127.0.0.1", nginx.port))
        connection.sendall(b"GET /files/a.txt?slow%d HTTP/1.1\r\nHost: a\r\n\r\n" % number)
        connections.append(connection)
    began(nginx, 2)
    for connection in connections:
        connection.close()
    # Four of them waited for a thread, and none of those was asked about.
    wait_until(lambda: nginx.log().count("client prematurely closed connection") == 6, nginx.log)
    let_go(nginx)
    for _ in range(5):
        assert get(nginx.port, "/files/a.txt")[0] == 200
    assert len(list((nginx.dir / "began").iterdir())) == 2


def test_a_hook_that_takes_too_long(nginx):
    start_slow(nginx, directives="wsgi_read_timeout 200ms;")
    assert get(nginx.port, "/files/a.txt?slow")[0] == 504
    assert "no answer of a hook within 200 ms (wsgi_read_timeout)" in nginx.log()
    let_go(nginx)
    assert get(nginx.port, "/files/a.txt")[0] == 200


def test_a_reload_loses_no_hook(nginx):
    start_slow(nginx)
    slow = in_background(get, nginx.port, "/files/a.txt?slow")
    refused = in_background(get, nginx.port, "/files/a.txt?slow-no")
    began(nginx, 2)
    (old,) = nginx.workers()
    nginx.send(signal.SIGHUP)
    # The old one may still accept connections until then, and has no thread left for them.
    wait_until(lambda: nginx.workers() and old.pid not in {worker.pid for worker in nginx.workers()}, "a new worker")
    assert get(nginx.port, "/files/a.txt")[0] == 200
    let_go(nginx)
    assert slow()[0] == 200 and refused()[0] == 403
    wait_until(lambda: not alive(old.pid), "the old worker to end")


def test_nginx_ends_while_hooks_run(nginx):
    start_slow(nginx)
    slow = in_background(get, nginx.port, "/files/a.txt?slow")
    began(nginx, 1)
    nginx.send(signal.SIGTERM)
    wait_until(lambda: not alive(nginx.master), "nginx to end")
    assert slow()[0] == 0


def test_http2(nginx):
    start_slow(nginx, threads=1)
    listen = f"listen 127.0.0.1:{nginx.tls_port} http2; listen 127"
    nginx.conf.write_text(nginx.conf.read_text().replace("listen 127", listen, 1))
    nginx.send(signal.SIGHUP)

    def listens():
        with socket.socket() as connection:
            return connection.connect_ex(("127.0.0.1", nginx.tls_port)) == 0

    wait_until(listens, nginx.log)
    url = f"http://127.0.0.1:{nginx.tls_port}/files/a.txt?slow"

    def fetch(url):
        with httpx.Client(http1=False, http2=True, timeout=30) as client:
            answer = client.get(url)
        assert answer.http_version == "HTTP/2"
        return answer.status_code

    waiting = [in_background(fetch, url + end) for end in ("1", "2", "-no")]
    began(nginx, 1)
    assert fetch(url.replace("files", "free")) == 200
    let_go(nginx)
    assert [result() for result in waiting] == [200, 200, 403]


def test_streams_that_are_reset_leave_nothing(nginx):
    start_slow(nginx, threads=2)
    listen = f"listen 127.0.0.1:{nginx.tls_port} http2; listen 127"
    nginx.conf.write_text(nginx.conf.read_text().replace("listen 127", listen, 1))
    nginx.reload()
    connection = h2.connection.H2Connection()
    connection.initiate_connection()

    def ask(stream, path):
        fields = [(":method", "GET"), (":path", path), (":scheme", "http"), (":authority", "localhost")]
        connection.send_headers(stream, fields, end_stream=True)

    with socket.create_connection(("127.0.0.1", nginx.tls_port), timeout=30) as client:
        for stream in range(1, 13, 2):
            ask(stream, f"/files/a.txt?slow{stream}")
        client.sendall(connection.data_to_send())
        began(nginx, 2)
        for stream in range(1, 13, 2):
            connection.reset_stream(stream)
        ask(13, "/free/a.txt")
        client.sendall(connection.data_to_send())
        events = []
        while not any(isinstance(event, h2.events.StreamEnded) for event in events):
            events += connection.receive_data(client.recv(65536))
        (head,) = [event for event in events if isinstance(event, h2.events.ResponseReceived)]
        assert head.stream_id == 13 and (b":status", b"200") in head.headers
    let_go(nginx)
    for _ in range(5):
        assert get(nginx.port, "/files/a.txt")[0] == 200
    # Four waited for a thread, and nobody asked about them.
    assert len(list((nginx.dir / "began").iterdir())) == 2


def test_changed_scripts_are_loaded_again(nginx):
    nginx.write("files/a.txt", "content")
    script = nginx.write("access.py", "def allow_access(environ, host):\n    return True\n")
    nginx.configure(
        server="""
        wsgi_access_script {dir}/access.py;
        root {dir}/files;
        location /fixed/ { wsgi_access_script {dir}/fixed.py; wsgi_script_reloading off; alias {dir}/files/; }
        """,
        workers=1,
    )
    fixed = nginx.write("fixed.py", "def allow_access(environ, host):\n    return True\n")
    nginx.start()
    assert get(nginx.port, "/fixed/a.txt")[0] == 200
    fixed.write_text("def allow_access(environ, host):\n    return 0\n")
    assert get(nginx.port, "/fixed/a.txt")[0] == 200
    for answer, status in (("False", 403), ("True", 200), ("1 / 0", 403), ("None", 200)):
        script.write_text(f"def allow_access(environ, host):\n    return {answer}\n")
        # A time of its own, whatever the clock's resolution.
        stamp = time.time_ns() - 10**9 * (1 + len(answer))
        os.utime(script, ns=(stamp, stamp))
        for _ in range(4):
            assert get(nginx.port, "/a.txt")[0] == status, answer


def test_many_requests_through_hooks(nginx):
    start_slow(nginx, threads=3, workers=2)
    request = b"GET /files/a.txt?%d HTTP/1.1\r\nHost: a\r\n\r\n"
    last = b"GET /files/a.txt HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"

    def work():
        answers = exchange(nginx.port, b"".join(request % number for number in range(50)) + last)
        return answers.count(b"HTTP/1.1 200 OK")

    results = [in_background(work) for _ in range(16)]
    assert [result() for result in results] == [51] * 16
    # Connections to the host are kept and shared.
    (worker, *_) = nginx.workers()
    assert worker is not None


def test_what_is_missing_is_said_once(nginx):
    nginx.configure(
        server="""
        wsgi_auth_name realm;
        wsgi_auth_user_script {dir}/auth.py;
        location /one { if ($arg_x) { root /x; } }
        location /two { limit_except GET { deny all; } }
        location /good { wsgi_auth_type basic; }
        """
    )
    done = nginx.run("-t")
    line = nginx.conf.read_text().splitlines().index("        wsgi_auth_name realm;") + 1
    where = f'the "wsgi_auth_name" directive in {nginx.conf}:{line}'
    assert done.returncode == 0
    assert done.stderr.count("[warn]") == 1, done.stderr
    assert f'no "wsgi_auth_type" is defined for {where}: a location that inherits it answers 500' in done.stderr
