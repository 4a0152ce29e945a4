"""wsgi_next_upstream: what another process of the group runs again, and what nobody does."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from client import exchange, get, parse
from processes import alive, wait_until

GROUP = "wsgi_daemon_process app threads=2 processes=3;"
SITE = "wsgi_script_alias / {dir}/app.wsgi process-group=app;\n"

# The first attempt at a request (or all, when its name says so) fails as its path says.
APP = """
import os, time

def application(environ, start_response):
    kind, name = environ['PATH_INFO'].rsplit('/', 1)[-1], environ['QUERY_STRING']
    body = environ['wsgi.input'].read()
    with open(os.path.join('{dir}', 'seen', name), 'a') as seen:
        seen.write('%d\\n' % os.getpid())
    with open(seen.name) as seen:
        attempt = len(seen.readlines())
    if attempt == 1 or 'always' in name:
        if kind == 'exit':
            os._exit(1)
        if kind == 'raise':
            raise RuntimeError('failed')
        if kind == 'slow':
            time.sleep(5)
        if kind == 'large':
            start_response('200 OK', [('X-Large', 'v' * 9000)])
            return []
        if kind.isdigit():
            start_response(kind + ' Failed', [('Content-Type', 'text/plain')])
            return [b'failed']
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'%d bytes' % len(body)]
"""


@pytest.fixture
def site(nginx):
    (nginx.dir / "seen").mkdir()
    (nginx.dir / "seen").chmod(0o777)
    nginx.write("app.wsgi", APP.replace("{dir}", str(nginx.dir)), invalid="it ends its own process")

    def start(server="", group=GROUP):
        nginx.configure(SITE + server, http=group)
        nginx.start()
        return nginx

    return start


def attempts(nginx, name):
    """The processes that have seen a request."""
    path = nginx.dir / "seen" / name
    return path.read_text().split() if path.exists() else []


def post(nginx, path, body=b"x" * 100000):
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    return parse(exchange(nginx.port, head.encode() + body))


FAILURES = [
    ("exit", "error", 502),
    ("raise", "http_500", 500),
    ("slow", "timeout", 504),
    ("large", "invalid_header", 502),
    ("500", "http_500", 500),
    ("503", "http_503", 503),
    ("403", "http_403", 403),
    ("404", "http_404", 404),
    ("429", "http_429", 429),
]


@pytest.mark.parametrize("kind, word, status", FAILURES)
def test_a_named_failure_goes_to_another_process_and_others_do_not(site, kind, word, status):
    others = " ".join(sorted({other for _, other, _ in FAILURES} - {word}))
    nginx = site(f"""
        wsgi_read_timeout 1s;
        location /default {{ wsgi_send_timeout 60s; }}
        location /named {{ wsgi_next_upstream {word}; }}
        location /others {{ wsgi_next_upstream {others}; }}
        location /off {{ wsgi_next_upstream {word} off; }}
    """)
    for place in "default", "others", "off":
        assert get(nginx.port, f"/{place}/{kind}?{place}")[0] == status
        assert len(attempts(nginx, place)) == 1
    answer = get(nginx.port, f"/named/{kind}?named")
    assert (answer[0], answer[2]) == (200, b"0 bytes")
    first, second = attempts(nginx, "named")
    assert first != second


def test_what_is_not_idempotent_needs_a_word_of_its_own(site):
    nginx = site("""
        wsgi_next_upstream error;
        client_body_buffer_size 16k;
        location /again { wsgi_next_upstream error non_idempotent; }
    """)
    assert post(nginx, "/exit?once")[0] == 502
    assert len(attempts(nginx, "once")) == 1
    answer = post(nginx, "/again/exit?twice")
    assert (answer[0], answer[2]) == (200, b"100000 bytes")
    assert len(attempts(nginx, "twice")) == 2


def test_each_process_is_asked_at_most_once_and_tries_limits_that(site):
    nginx = site("""
        wsgi_next_upstream http_503;
        location /two { wsgi_next_upstream_tries 2; }
        location /one { wsgi_next_upstream_tries 1; }
        location /many { wsgi_next_upstream_tries 100; }
    """)
    for place, expected in ("all", 3), ("two", 2), ("one", 1), ("many", 3):
        status, _, body = get(nginx.port, f"/{place}/503?always-{place}")
        assert (status, body) == (503, b"failed")
        assert len(attempts(nginx, f"always-{place}")) == expected


def test_timeout_ends_the_tries(site):
    nginx = site("""
        wsgi_next_upstream timeout;
        wsgi_read_timeout 1s;
        location /short { wsgi_next_upstream_timeout 500ms; }
        location /long { wsgi_next_upstream_timeout 30s; }
    """)
    assert get(nginx.port, "/short/slow?short")[0] == 504
    assert len(attempts(nginx, "short")) == 1
    assert get(nginx.port, "/long/slow?long")[0] == 200
    assert len(attempts(nginx, "long")) == 2


def test_a_group_of_one_process_has_no_other(site):
    nginx = site("wsgi_next_upstream error http_503;", "wsgi_daemon_process app threads=2;")
    assert get(nginx.port, "/503?one")[0] == 503
    assert len(attempts(nginx, "one")) == 1


def test_upstream_variables_tell_each_try(site):
    nginx = site("""
        wsgi_next_upstream http_503;
        add_header X-Status $upstream_status;
    """)
    assert get(nginx.port, "/503?tell")[1]["x-status"] == "503, 200"


def test_a_streamed_body_is_not_sent_again(site):
    nginx = site("""
        wsgi_next_upstream http_503 non_idempotent;
        wsgi_request_buffering off;
    """)
    assert post(nginx, "/503?stream")[0] == 503
    assert len(attempts(nginx, "stream")) == 1


def test_what_is_sent_again_waits_for_a_group_that_starts_again_after_a_pause(site):
    """All processes end while they answer; the next ones come later, because the last ones had ended soon."""
    nginx = site("wsgi_next_upstream error;", "wsgi_daemon_process app processes=2 threads=2 shutdown-timeout=1;")

    def terminate():
        daemons = wait_until(lambda: len(nginx.daemons()) == 2 and nginx.daemons(), lambda: nginx.log())
        assert get(nginx.port, "/200?ready")[0] == 200
        for daemon in daemons:
            os.kill(daemon.pid, signal.SIGTERM)
        wait_until(lambda: not any(alive(daemon.pid) for daemon in daemons), lambda: nginx.log())

    for _ in range(5):
        terminate()
    wait_until(lambda: len(nginx.daemons()) == 2, lambda: nginx.log())
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(get, nginx.port, "/slow?again")
        wait_until(lambda: attempts(nginx, "again"), lambda: nginx.log())
        terminate()
        assert answer.result()[0] == 200
    assert len(attempts(nginx, "again")) == 2
