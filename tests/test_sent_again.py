"""Requests whose process dies before it answers: they wait in line again, for whichever process is ready first."""

import json
import os
import random
import socket
import re
import signal
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from client import get
from processes import Process, wait_until
from zero_loss import Measurement

# Each start of a process has a number. Those in hold do not come to their end before they may; those in
# crash die.
START = """
import os, signal, time

number = 0
while True:
    try:
        os.close(os.open('{dir}/starts/%d' % number, os.O_CREAT | os.O_EXCL))
        break
    except FileExistsError:
        number += 1
if number in {crash}:
    os.kill(os.getpid(), signal.SIGKILL)
while number in {hold} and not os.path.exists('{dir}/go'):
    time.sleep(0.01)
"""

APP = """
import os, time

def application(environ, start_response):
    query = environ['QUERY_STRING']
    with open('{dir}/seen', 'a') as seen:
        seen.write(query + '\\n')
    with open('{dir}/seen') as seen:
        first = seen.read().split().count(query) == 1
    if query == 'fail' and first:
        start_response('503 Busy', [('Content-Type', 'text/plain')])
        return [b'busy']
    if query.startswith('slow') and os.path.exists('{dir}/slow'):
        time.sleep(60)
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'%d' % os.getpid()]
"""

PROCESSES = pytest.mark.parametrize("processes", [1, 2])


@pytest.fixture
def site(nginx):
    (nginx.dir / "starts").mkdir()
    (nginx.dir / "starts").chmod(0o777)
    nginx.write("seen", "").chmod(0o666)

    def start(processes, options="", server="", hold=(), crash=()):
        text = START.replace("{hold}", repr(hold)).replace("{crash}", repr(crash))
        nginx.write("start.py", text.replace("{dir}", str(nginx.dir)))
        nginx.write("app.wsgi", APP.replace("{dir}", str(nginx.dir)))
        nginx.configure(
            """
                wsgi_script_alias / {dir}/app.wsgi process-group=app;
                location = /status { wsgi_status json; }
                """
            + server,
            http=f"""
                wsgi_daemon_process app processes={processes} threads=2 {options};
                wsgi_import_script {{dir}}/start.py process-group=app application-group=a;
                wsgi_application_group a;
                """,
        )
        nginx.start()
        # One after another has them all load the script.
        wait_until(lambda: starts(nginx) == processes, lambda: nginx.log())
        assert get(nginx.port, "/?ready")[0] == 200
        return nginx

    return start


def starts(nginx):
    return len(list((nginx.dir / "starts").iterdir()))


def seen(nginx):
    return Counter((nginx.dir / "seen").read_text().split())


def kill(pids, number=signal.SIGKILL):
    for pid in pids:
        os.kill(pid, number)


def daemons(nginx, count):
    """The processes, once they are there."""
    found = lambda: [daemon.pid for daemon in nginx.daemons()]  # noqa: E731
    return wait_until(lambda: len(found()) == count and found(), lambda: nginx.log())


class Requests:
    """Some at the same time, each on a connection of its own."""

    def __init__(self, nginx, names):
        self.pool = ThreadPoolExecutor(len(names))
        self.answers = [self.pool.submit(get, nginx.port, f"/?{name}", timeout=40) for name in names]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.pool.shutdown()

    def statuses(self, seconds=30):
        return [answer.result(seconds)[0] for answer in self.answers]


def stop(pids):
    kill(pids, signal.SIGSTOP)
    for process in map(Process, pids):
        # Each thread stops when it is scheduled next.
        wait_until(lambda: set(process.thread_states()) == {"T"}, process.thread_states)


def under_way(nginx):
    """How many requests have been sent to a process or wait in nginx."""
    group = json.loads(get(nginx.port, "/status")[2])["groups"][0]
    return group["waiting"] + group["busy"]


def while_stopped(nginx, pids, names):
    """Requests that have been sent to processes which will never take them up."""
    stop(pids)
    requests = Requests(nginx, names)
    wait_until(lambda: under_way(nginx) == len(names), lambda: nginx.log())
    return requests


@pytest.mark.parametrize("held", [2, 3])
def test_what_was_not_taken_up_gets_the_first_process_that_is_ready(site, held):
    nginx = site(2, hold=(held,))
    pids = daemons(nginx, 2)
    with while_stopped(nginx, pids, [f"request{n}" for n in range(8)]) as requests:
        kill(pids)
        assert requests.statuses() == [200] * 8
    assert set(seen(nginx).values()) == {1}
    nginx.write("go", "")


def test_what_was_not_taken_up_does_not_wait_for_a_process_that_is_busy(site):
    nginx = site(2)
    pids = daemons(nginx, 2)
    nginx.write("slow", "")
    names = [f"slow{n}" for n in range(4)]
    with while_stopped(nginx, pids[:1], names) as requests:
        wait_until(lambda: len(seen(nginx)) == 3, lambda: nginx.log())
        (nginx.dir / "slow").unlink()
        kill(pids[:1])
        wait_until(lambda: [done.result()[0] for done in requests.answers if done.done()] == [200] * 2, lambda: nginx.log())
        kill(pids[1:])
        assert sorted(requests.statuses()) == [200, 200, 502, 502]
    assert [seen(nginx)[name] for name in names] == [1] * 4


@pytest.mark.parametrize("held", [2, 3])
def test_what_is_passed_on_gets_the_first_process_that_is_ready(site, held):
    nginx = site(2, server="wsgi_next_upstream error;", hold=(held,))
    pids = daemons(nginx, 2)
    nginx.write("slow", "")
    names = [f"slow{n}" for n in range(4)]
    with Requests(nginx, names) as requests:
        wait_until(lambda: len(seen(nginx)) == 5, lambda: nginx.log())
        (nginx.dir / "slow").unlink()
        kill(pids)
        assert requests.statuses() == [200] * 4
    assert [seen(nginx)[name] for name in names] == [2] * 4
    nginx.write("go", "")


def test_what_a_process_has_refused_waits_for_another_that_starts(site):
    nginx = site(2, server="wsgi_next_upstream http_503;", hold=(1,))
    first = get(nginx.port, "/?first")[2]
    with Requests(nginx, ["fail"]) as requests:
        wait_until(lambda: "fail" in seen(nginx), lambda: nginx.log())
        nginx.write("go", "")
        [answer] = requests.answers
        status, _, second = answer.result(30)
    assert status == 200 and first != second
    assert seen(nginx)["fail"] == 2


@PROCESSES
def test_processes_that_die_at_their_start_cost_no_attempt(site, processes):
    """Together with the first two, which are sent to the process that was killed, they would be more than allowed."""
    nginx = site(processes, "connect-timeout=120", crash=tuple(range(processes, processes + 7)))
    pids = daemons(nginx, processes)
    names = [f"request{n}" for n in range(4)]
    with while_stopped(nginx, pids, names) as requests:
        kill(pids)
        assert requests.statuses(120) == [200] * 4
    assert [seen(nginx)[name] for name in names] == [1] * 4


@PROCESSES
def test_connect_timeout_begins_when_no_process_is_ready(site, processes):
    """Not with the wait for a thread: that has taken longer already when the processes die."""
    nginx = site(processes, "connect-timeout=2", hold=tuple(range(processes, 9)))
    pids = daemons(nginx, processes)
    nginx.write("slow", "")
    with Requests(nginx, [f"slow{n}" for n in range(2 * processes)]) as slow:
        wait_until(lambda: len(seen(nginx)) == 1 + 2 * processes, lambda: nginx.log())
        (nginx.dir / "slow").unlink()
        with Requests(nginx, ["waits"]) as requests:
            wait_until(lambda: under_way(nginx) == 2 * processes + 1, lambda: nginx.log())
            time.sleep(2.5)
            kill(pids)
            assert slow.statuses() == [502] * 2 * processes
            # Longer than it is until a waiting request is looked after next.
            time.sleep(1.2)
            nginx.write("go", "")
            assert requests.statuses() == [200]
    assert seen(nginx)["waits"] == 1


@PROCESSES
def test_the_wait_ends_with_queue_timeout(site, processes):
    nginx = site(processes, "queue-timeout=2", hold=tuple(range(processes, 9)))
    pids = daemons(nginx, processes)
    with while_stopped(nginx, pids, ["one", "two"]) as requests:
        kill(pids)
        assert requests.statuses() == [504] * 2
    nginx.wait_for_log(r'daemon process group "app": no thread became free for the request within 2 s')
    nginx.write("go", "")
    assert get(nginx.port, "/?after")[0] == 200
    assert set(seen(nginx)) == {"ready", "after"}


@PROCESSES
def test_the_wait_ends_with_the_client(site, processes):
    nginx = site(processes, hold=tuple(range(processes, 9)))
    pids = daemons(nginx, processes)
    stop(pids)
    with socket.create_connection(("127.0.0.1", nginx.port)) as client:
        client.sendall(b"GET /?gone HTTP/1.1\r\nHost: localhost\r\n\r\n")
        wait_until(lambda: under_way(nginx) == 1, lambda: nginx.log())
        kill(pids)
        wait_until(lambda: starts(nginx) == 2 * processes, lambda: nginx.log())
    access = nginx.dir / "logs" / "access.log"
    wait_until(lambda: '/?gone HTTP/1.1" 499' in access.read_text(), lambda: access.read_text())
    nginx.write("go", "")
    assert get(nginx.port, "/?after")[0] == 200
    assert set(seen(nginx)) == {"ready", "after"}


LOAD = """
import os, random, time

def application(environ, start_response):
    query = environ['QUERY_STRING']
    with open('{dir}/seen', 'a') as seen:
        seen.write(query + '\\n')
    began = time.monotonic()
    time.sleep(random.uniform(0.001, 0.05))
    body = (query + '\\n').encode() * (int(query[:4], 16) % 300 + 1)
    start_response('200 OK', [('Content-Length', str(len(body))), ('X-Pid', str(os.getpid())),
                              ('X-Slept', '%d' % ((time.monotonic() - began) * 1e6))])
    return [body]
"""


@pytest.mark.parametrize("processes, again", [(1, ""), (3, ""), (3, "wsgi_next_upstream error;")])
def test_nothing_is_lost_or_doubled_when_processes_are_killed_at_any_moment(nginx, processes, again):
    """Only what an application has seen is lost, unless wsgi_next_upstream has another one run it."""
    nginx.write("seen", "").chmod(0o666)
    nginx.write("app.wsgi", LOAD.replace("{dir}", str(nginx.dir)))
    nginx.configure(
        'wsgi_script_alias / {dir}/app.wsgi process-group=app "application-group=%{GLOBAL}";' + again,
        http=f"wsgi_daemon_process app processes={processes} threads=3;",
    )
    nginx.start()
    daemons(nginx, processes)
    with Measurement(nginx.port, rate=60) as load:
        for number in range(8):
            time.sleep(random.uniform(0, 0.8))
            pids = [daemon.pid for daemon in nginx.daemons()]
            kill(pids if number % 2 else pids[:1])
    access = (nginx.dir / "logs" / "access.log").read_text()
    answers = dict(re.findall(r'GET /\?(\w+) HTTP/1.1" (\d+)', access))
    runs, lost = seen(nginx), [name for name, status in answers.items() if status != "200"]
    print(load.summary())
    assert set(load.report["failures"]) <= {"status 502"}, (load.summary(), nginx.log()[-4000:])
    assert len(answers) >= 100
    if again:
        assert lost == []
        assert max(runs.values()) <= processes
    else:
        log = nginx.log()
        assert [name for name in lost if f'"GET /?{name}" (' not in log] == [], "no process had taken them up"
        assert set(runs.values()) == {1}
