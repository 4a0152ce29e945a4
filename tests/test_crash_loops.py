"""Processes that die as soon as they are started: tried again with growing pauses, at nobody else's cost."""

import os
import re
import signal
import time

import pytest

from client import Load, get
from processes import wait_until
from zero_loss import APP, Measurement

EXIT = "os._exit(1)"
KILL = "os.kill(os.getpid(), signal.SIGKILL)"

SCRIPT = """
    import os, signal, threading, time

    def die():
        {die}

    {at_import}

    def application(environ, start_response):
        {at_request}
        start_response('200 OK', [('Content-Type', 'text/plain')])
        return [b'well']
    """

PLACES = {
    "import": dict(at_import="die()"),
    "request": dict(at_request="die()"),
    # The first request has the script imported, and some are answered before the end.
    "thread": dict(at_import="threading.Timer(0.05, die).start()"),
}

SECONDS = 3


def deploy(nginx, die=None, at_import="", at_request=""):
    text = SCRIPT.format(die=die or "pass", at_import=at_import, at_request=at_request)
    # Dying is what these are there for; one that is healed is a legal application.
    new = nginx.write("crash.new", text, invalid="it ends its process" if die else None)
    os.replace(new, nginx.dir / "crash.wsgi")


def start(nginx, processes, options=""):
    nginx.write("good.wsgi", APP.format(seconds=0))
    (nginx.dir / "static").mkdir()
    nginx.write("static/file", "static\n")
    nginx.configure(
        http=f"""
            wsgi_daemon_process crash processes={processes} threads=4 {options};
            wsgi_daemon_process good processes=1 threads=8;
            wsgi_application_group a;
            """,
        server="""
            wsgi_script_alias /crash {dir}/crash.wsgi process-group=crash;
            wsgi_script_alias /good {dir}/good.wsgi process-group=good;
            location /static { root {dir}; }
            """,
    )
    nginx.start()
    assert get(nginx.port, "/good?0000")[0] == 200


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def deaths(nginx):
    return len(re.findall(r"Process 'crash' \(pid \d+\) has died", nginx.log()))


@pytest.mark.parametrize(
    ("place", "die", "processes", "options", "status", "limit"),
    [
        ("import", EXIT, 1, "connect-timeout=1", 503, 1),
        ("import", KILL, 3, "queue-timeout=1", 504, 1),
        ("request", EXIT, 3, "connect-timeout=1", 503, 1),
        ("request", KILL, 1, "queue-timeout=1", 504, 1),
        ("thread", EXIT, 1, "connect-timeout=1", 503, 1),
        ("thread", KILL, 3, "connect-timeout=1", 503, 1),
    ],
)
def test_a_crash_loop_costs_nobody_else_anything(nginx, place, die, processes, options, status, limit):
    deploy(nginx, die, **PLACES[place])
    start(nginx, processes, options)
    [supervisor] = nginx.supervisors()
    cpu, static = cpu_seconds(supervisor.pid), []
    wait_until(lambda: nginx.log().count("is ready") >= processes + 1, lambda: nginx.log())
    descriptors = supervisor.descriptors
    with Measurement(nginx.port, "/good", connections=8, rate=50) as good:
        with Load(nginx.port, "/crash", threads=8) as crashing:
            began = time.monotonic()
            while time.monotonic() - began < SECONDS or not counts(crashing).get(status):
                asked = time.monotonic()
                assert get(nginx.port, "/static/file")[::2] == (200, b"static\n")
                static.append(time.monotonic() - asked)
                time.sleep(0.02)
                assert asked - began < 10 * SECONDS, counts(crashing)
            died, seconds = deaths(nginx), time.monotonic() - began
            cpu = cpu_seconds(supervisor.pid) - cpu
    answers = sorted(end - begin for begin, end, *_ in crashing.results)
    print(
        f"{died} deaths in {seconds:.1f} s, answers {counts(crashing)}, slowest {answers[-1]:.2f} s; "
        f"supervisor {cpu:.2f} s; static {max(static) * 1000:.0f} ms; good: {good.summary()}"
    )
    # 0.1 s, doubled each time: 7 starts take more than 6 seconds.
    assert 2 <= died / processes <= 1 + len(bin(int(seconds * 10))[2:]) + 1, nginx.log()[-4000:]
    assert set(counts(crashing)) <= {200, 502, 504, status}, counts(crashing)
    assert answers[-1] < limit + 2, sorted(crashing.results, key=lambda r: r[0] - r[1])[:5]
    assert cpu < 0.1 * seconds
    assert good.report["failures"] == {} and good.report["races"] == []
    assert good.report["slowest"] < 0.5 and max(static) < 0.5
    assert nginx.supervisors()[0].pid == supervisor.pid

    deploy(nginx)
    wait_until(lambda: get(nginx.port, "/crash")[::2] == (200, b"well"), lambda: nginx.log()[-4000:])
    wait_until(lambda: len(nginx.daemons()) == processes + 1, lambda: nginx.daemons())
    with Load(nginx.port, "/crash", threads=8) as load:
        load.wait_for(100)
    assert counts(load) == {200: len(load.results)}
    wait_until(lambda: supervisor.descriptors <= descriptors, lambda: supervisor.open_files())


@pytest.mark.parametrize(
    ("option", "answers", "cause"),
    [
        # Four are sent, for as many threads, and wait in nginx again; the others wait there all the time.
        ("connect-timeout=2", {503: 8}, "no process became ready"),
        ("queue-timeout=2", {504: 8}, "no thread became free for the request"),
    ],
)
def test_what_a_dead_process_had_not_taken_up_waits_no_longer_than_others(nginx, option, answers, cause):
    """A process does not look at its requests, dies, and its successors cannot start."""
    deploy(nginx)
    home = nginx.dir / "home"
    home.mkdir()
    start(nginx, 1, f"home={home} {option}")
    [victim] = [
        process for process in nginx.daemons() if os.readlink(f"/proc/{process.pid}/cwd") == str(home)
    ]
    home.rmdir()
    os.kill(victim.pid, signal.SIGSTOP)
    # Each of its threads stops when it is scheduled next.
    wait_until(lambda: set(victim.thread_states()) == {"T"}, lambda: victim.thread_states())
    with Load(nginx.port, "/crash", threads=8) as load:
        load.stopped.set()
        time.sleep(0.5)
        os.kill(victim.pid, signal.SIGKILL)
    assert counts(load) == answers
    assert max(end - begin for begin, end, *_ in load.results) < 5
    assert nginx.log().count(f'daemon process group "crash": {cause} within') == 8
    home.mkdir()
    wait_until(lambda: get(nginx.port, "/crash")[::2] == (200, b"well"), lambda: nginx.log()[-4000:])


def counts(load):
    found = [result[2] for result in load.results]
    return {status: found.count(status) for status in set(found)}
