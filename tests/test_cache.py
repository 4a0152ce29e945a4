"""wsgi_cache over time: slots, expired entries, processes that are away, clients that leave."""

import concurrent.futures
import http.client
import os
import signal
import socket
import time

import pytest

from client import get
from processes import wait_until

CACHE = "wsgi_cache_path {dir}/cache keys_zone=zone:1m;\n"
SITE = """
    wsgi_script_alias / {dir}/app.wsgi %s;
    wsgi_cache zone;
    wsgi_cache_valid 1h;
    wsgi_cache_key $uri;
    add_header X-Cache $upstream_cache_status always;
    add_header X-Addr "$upstream_addr" always;
"""
MODES = {
    "daemon": ("process-group=app", "wsgi_daemon_process app threads=%d %s;"),
    "embedded": ("", "wsgi_embedded_threads %d; # %s"),
}

# What is asked for sleeps as long as the file of its name says.
APP = """
import os, time

def application(environ, start_response):
    name = environ['PATH_INFO'].rsplit('/', 1)[-1]
    print('asked for', name, environ['QUERY_STRING'], environ.get('HTTP_IF_NONE_MATCH'))
    headers = [('Content-Type', 'text/plain'), ('ETag', '"tag"')]
    if environ.get('HTTP_X_EXPIRE'):
        headers.append(('X-Accel-Expires', '1'))
    while os.path.exists(os.path.join('{dir}', 'hold', name)):
        time.sleep(0.01)
    if os.path.exists(os.path.join('{dir}', 'fail', name)):
        raise RuntimeError('failed')
    if environ.get('HTTP_IF_NONE_MATCH') == '"tag"':
        start_response('304 Not Modified', headers[1:])
        print('not modified')
        return []
    start_response('200 OK', headers)
    return [environ['QUERY_STRING'].encode()]
"""


class Site:
    def __init__(self, nginx, mode):
        self.nginx, self.mode = nginx, mode
        for name in "hold", "fail":
            (nginx.dir / name).mkdir()
        nginx.write("app.wsgi", APP.replace("{dir}", str(nginx.dir)))
        self.pool = concurrent.futures.ThreadPoolExecutor()

    def start(self, server="", options="", threads=1):
        alias, group = MODES[self.mode]
        self.nginx.configure(SITE % alias + server, http=CACHE + group % (threads, options), workers=1)
        self.nginx.start()

    def hold(self, name):
        (self.nginx.dir / "hold" / name).touch()

    def let_go(self, name):
        (self.nginx.dir / "hold" / name).unlink()

    def fail(self, name):
        (self.nginx.dir / "fail" / name).touch()

    def ask(self, path, headers=""):
        """Status, cache status and body."""
        status, found, body = get(self.nginx.port, path, headers=headers)
        return status, found.get("x-cache"), body and body.decode()

    def begin(self, path, headers=""):
        return self.pool.submit(self.ask, path, headers)

    def was_asked(self, name, times=1):
        wait_until(lambda: self.nginx.log().count(f"asked for {name} ") == times, f"{name} asked for")


@pytest.fixture(params=list(MODES))
def site(request, nginx):
    made = Site(nginx, request.param)
    yield made
    for held in (nginx.dir / "hold").iterdir():
        held.unlink()
    made.pool.shutdown()


def test_what_is_in_the_cache_needs_no_thread(site):
    site.start()
    assert site.ask("/page?1") == (200, "MISS", "1")
    site.hold("slow")
    slow = site.begin("/slow?2")
    site.was_asked("slow")
    waiting = [site.begin(f"/other{n}?{n}") for n in range(3)]
    for _ in range(5):
        assert site.ask("/page?3") == (200, "HIT", "1")
    assert not any(other.done() for other in waiting)
    site.let_go("slow")
    assert slow.result() == (200, "MISS", "2")
    assert [other.result() for other in waiting] == [(200, "MISS", str(n)) for n in range(3)]
    assert "[alert]" not in site.nginx.log()


def test_a_client_that_leaves_the_line(site):
    site.start("wsgi_cache_bypass $arg_bypass; wsgi_cache_min_uses 2;")
    site.hold("slow")
    slow = site.begin("/slow?1")
    site.was_asked("slow")
    with socket.create_connection(("127.0.0.1", site.nginx.port)) as s:
        s.sendall(b"GET /gone?2 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        time.sleep(0.3)
    log = site.nginx.dir / "logs" / "access.log"
    wait_until(lambda: " 499 " in log.read_text(), "the client's leaving in the log")
    site.let_go("slow")
    assert slow.result()[0] == 200
    assert site.ask("/next?3")[0] == 200
    assert "asked for gone" not in site.nginx.log()


def test_lock_lets_one_request_fill_an_entry(site):
    site.start("wsgi_cache_lock on; wsgi_cache_lock_timeout 30s; wsgi_cache_lock_age 30s;")
    site.hold("page")
    first = site.begin("/page?1")
    site.was_asked("page")
    others = [site.begin(f"/page?{n}") for n in range(2, 5)]
    time.sleep(0.3)
    site.let_go("page")
    assert {first.result()[2], *(other.result()[2] for other in others)} == {"1"}
    site.was_asked("page", 1)


def test_lock_timeout_and_age_end_the_lock(site):
    site.start("""
        wsgi_cache_lock on;
        location /timeout { wsgi_cache_lock_timeout 200ms; wsgi_cache_lock_age 30s; wsgi_read_timeout 1s; }
        location /age { wsgi_cache_lock_timeout 30s; wsgi_cache_lock_age 200ms; wsgi_read_timeout 1s; }
    """, threads=4)
    for place in "timeout", "age":
        site.hold(place)
        answers = [site.begin(f"/{place}?{n}") for n in range(2)]
        assert [answer.result()[0] for answer in answers] == [504, 504]
        site.let_go(place)
        site.was_asked(place, 2)


def test_use_stale(site):
    site.start("""
        location /stale { wsgi_cache_use_stale http_500 timeout; wsgi_read_timeout 1s; }
        location /not { wsgi_read_timeout 1s; }
    """, threads=4)
    for place in "stale", "not":
        for name in "fails", "slow":
            site.ask(f"/{place}/{name}?old", "X-Expire: yes\r\n")
    time.sleep(2.1)
    site.fail("fails")
    assert site.ask("/stale/fails?new") == (200, "STALE", "old")
    assert site.ask("/not/fails?new")[:2] == (500, "EXPIRED")
    site.hold("slow")
    assert site.ask("/stale/slow?new") == (200, "STALE", "old")
    assert site.ask("/not/slow?new")[:2] == (504, "EXPIRED")
    site.let_go("slow")
    assert site.ask("/stale/slow?newer") == (200, "EXPIRED", "newer")


def test_updating_and_background_update(site):
    site.start("""
        location /updating { wsgi_cache_use_stale updating; }
        location /background { wsgi_cache_use_stale updating; wsgi_cache_background_update on; }
    """, threads=4)
    site.ask("/updating/one?old", "X-Expire: yes\r\n")
    site.ask("/background/two?old", "X-Expire: yes\r\n")
    time.sleep(2.1)
    site.hold("one")
    first = site.begin("/updating/one?new")
    site.was_asked("one", 2)
    assert site.ask("/updating/one?newer") == (200, "UPDATING", "old")
    assert not first.done()
    site.let_go("one")
    assert first.result() == (200, "EXPIRED", "new")
    site.hold("two")
    # nginx closes the connection when it has updated the entry, but the answer is there at once.
    client = http.client.HTTPConnection("127.0.0.1", site.nginx.port, timeout=30)
    client.request("GET", "/background/two?new")
    answer = client.getresponse()
    assert (answer.status, answer.headers["X-Cache"], answer.read()) == (200, "STALE", b"old")
    site.was_asked("two", 2)
    site.let_go("two")
    client.close()
    wait_until(lambda: site.ask("/background/two?newer") == (200, "HIT", "new"), "the new entry")


def test_revalidate(site):
    site.start("location /again { wsgi_cache_revalidate on; }")
    site.ask("/again/one?old", "X-Expire: yes\r\n")
    site.ask("/two?old", "X-Expire: yes\r\n")
    time.sleep(2.1)
    assert site.ask("/again/one?new") == (200, "REVALIDATED", "old")
    assert site.ask("/again/one?new") == (200, "HIT", "old")
    assert site.ask("/two?new") == (200, "EXPIRED", "new")
    log = site.nginx.log()
    assert 'asked for one new "tag"' in log and "asked for two new None" in log


def test_entries_outlive_a_restart(site):
    site.start()
    assert site.ask("/page?1") == (200, "MISS", "1")
    site.nginx.stop()
    site.nginx.wait_until_gone()
    site.nginx.start()
    assert site.ask("/page?2") == (200, "HIT", "1")


@pytest.fixture
def daemons(nginx):
    return Site(nginx, "daemon")


def test_a_group_that_is_down(daemons):
    """Without a process that could answer, an expired entry is as good as it gets."""
    daemons.start("location /stale { wsgi_cache_use_stale error; }", "connect-timeout=1")
    daemons.ask("/stale/page?old", "X-Expire: yes\r\n")
    daemons.ask("/fresh?old")
    daemons.ask("/plain?old", "X-Expire: yes\r\n")
    time.sleep(2.1)
    for supervisor in daemons.nginx.supervisors():
        os.kill(supervisor.pid, signal.SIGKILL)
    daemons.nginx.wait_for_log("supervisor of the WSGI daemon processes has died")
    assert daemons.ask("/stale/page?new") == (200, "STALE", "old")
    assert daemons.ask("/fresh?new") == (200, "HIT", "old")
    assert daemons.ask("/plain?new")[:2] == (503, "EXPIRED")
    assert daemons.ask("/none?new")[:2] == (503, "MISS")


def test_queue_timeout(daemons):
    daemons.start("location /stale { wsgi_cache_use_stale timeout; }", "queue-timeout=1")
    daemons.ask("/stale/page?old", "X-Expire: yes\r\n")
    time.sleep(2.1)
    daemons.hold("slow")
    slow = daemons.begin("/slow?1")
    daemons.was_asked("slow")
    assert daemons.ask("/stale/page?new") == (200, "STALE", "old")
    assert daemons.ask("/none?new")[:2] == (504, "MISS")
    daemons.let_go("slow")
    assert slow.result() == (200, "MISS", "1")
    assert daemons.ask("/stale/page?newer") == (200, "EXPIRED", "newer")


def test_a_process_that_dies_with_the_request(daemons):
    daemons.start("location /stale { wsgi_cache_use_stale error; }")
    daemons.ask("/stale/page?old", "X-Expire: yes\r\n")
    time.sleep(2.1)
    daemons.hold("page")
    answer = daemons.begin("/stale/page?new")
    daemons.was_asked("page", 2)
    for process in daemons.nginx.daemons():
        os.kill(process.pid, signal.SIGKILL)
    assert answer.result() == (200, "STALE", "old")


def test_a_replaced_process_keeps_the_cache_working(daemons):
    daemons.start("", "reload-wait=30")
    assert daemons.ask("/page?1") == (200, "MISS", "1")
    text = (daemons.nginx.dir / "app.wsgi").read_text()
    (daemons.nginx.dir / "app.wsgi").write_text(text + "\n# changed\n")
    assert daemons.ask("/page?2") == (200, "HIT", "1")
    assert daemons.ask("/other?3") == (200, "MISS", "3")
    assert daemons.ask("/other?4") == (200, "HIT", "3")
