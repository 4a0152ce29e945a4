"""wsgi_status: what it shows of processes that work, wait, change and die."""

import json
import os
import signal
import threading

import pytest
from prometheus_client.parser import text_string_to_metric_families

from client import get
from processes import alive, wait_until

APP = """
import os, time
def application(environ, start_response):
    query = environ['QUERY_STRING']
    while query.startswith('/') and not os.path.exists(query):
        time.sleep(0.01)
    if query == 'leave':
        os._exit(3)
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'%d' % os.getpid()]
"""

SITE = """
    wsgi_script_alias / {dir}/app.wsgi %s;
    location = /status { wsgi_status json; }
    location = /metrics { wsgi_status prometheus; }
    location = /page { wsgi_status html; }
"""


def start(nginx, group, options="threads=2", **settings):
    nginx.write("app.wsgi", APP)
    http = f"wsgi_daemon_process app {options};" if "process-group=app" in group else "wsgi_embedded_threads 2;"
    if "application-group" not in group:
        group += ' "application-group=%{GLOBAL}"'
    nginx.configure(SITE % group, http=http, **settings)
    nginx.start()


def status(nginx):
    code, headers, body = get(nginx.port, "/status")
    assert code == 200, (code, body)
    return json.loads(body)


def of(mode, shown):
    """The part of what is shown that the mode's requests are in."""
    return shown["groups"][0] if mode == "daemon" else shown["embedded"]


def samples(nginx):
    code, headers, body = get(nginx.port, "/metrics")
    assert code == 200
    found = {}
    for family in text_string_to_metric_families(body.decode()):
        assert family.documentation and family.type in ("gauge", "counter"), family
        for sample in family.samples:
            key = (sample.name, *sorted(sample.labels.items()))
            assert key not in found, key
            found[key] = sample.value
    return found


class Requests:
    """Requests that run until they are let go."""

    def __init__(self, nginx, count):
        self.gate = nginx.dir / "gate"
        self.answers = []
        ask = lambda: self.answers.append(get(nginx.port, f"/slow?{self.gate}")[0])  # noqa: E731
        self.threads = [threading.Thread(target=ask) for _ in range(count)]
        for thread in self.threads:
            thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.gate.touch()
        for thread in self.threads:
            thread.join()


def test_running_and_waiting_requests(nginx, mode, group):
    start(nginx, group, workers=1)
    assert get(nginx.port, "/")[0] == 200
    idle = of(mode, status(nginx))
    assert (idle["slots"], idle["busy"], idle["waiting"], idle["requests"]) == (2, 0, 0, 1)
    with Requests(nginx, 5) as requests:
        wait_until(lambda: of(mode, status(nginx))["waiting"] == 3, lambda: status(nginx))
        wait_until(lambda: len(of(mode, status(nginx))["processes"][0]["running"]) == 2, lambda: status(nginx))
        shown = of(mode, status(nginx))
        (process,) = shown["processes"]
        assert (shown["busy"], process["busy"], process["slots"], process["state"]) == (2, 2, 2, "ready")
        assert {running["slot"] for running in process["running"]} == {0, 1}
        for running in process["running"]:
            assert running["request"] == f"GET /slow?{requests.gate}"
            assert running["script"] == str(nginx.dir / "app.wsgi")
            assert 0 <= running["seconds"] < 60
        found = samples(nginx)
        labels = (("group", "app" if mode == "daemon" else ""), ("mode", mode))
        assert found[("wsgi_requests_waiting", *labels)] == 3
        assert found[("wsgi_slots_busy", *labels)] == 2
        assert 0 <= found[("wsgi_longest_request_seconds", *labels)] < 60
        page = get(nginx.port, "/page")[2].decode()
        assert f"<code>GET /slow?{requests.gate}</code>" in page
        assert "2 of 2 slots busy, 3 requests waiting, 3 requests so far." in page
    assert requests.answers == [200] * 5
    wait_until(lambda: of(mode, status(nginx))["busy"] == 0, lambda: status(nginx))
    done = of(mode, status(nginx))
    assert (done["waiting"], done["requests"], done["processes"][0]["running"]) == (0, 6, [])


def test_waiting_requests_of_all_workers_are_added_up(nginx):
    start(nginx, "process-group=app", workers=3)
    with Requests(nginx, 12):
        wait_until(lambda: status(nginx)["groups"][0]["waiting"] == 10, lambda: status(nginx))
        victim = nginx.workers()[0].pid
        os.kill(victim, signal.SIGKILL)
        # What waited in a worker has gone with it, and is not counted for ever.
        wait_until(lambda: not alive(victim), "the worker to die")
    wait_until(lambda: status(nginx)["groups"][0]["waiting"] == 0, lambda: status(nginx))
    wait_until(lambda: status(nginx)["groups"][0]["busy"] == 0, lambda: status(nginx))


def test_every_worker_shows_the_embedded_hosts_of_all(nginx):
    # Without a fixed interpreter nothing is loaded ahead.
    start(nginx, '"process-group=%{GLOBAL}" "application-group=%{SERVER}"', workers=2)
    hosts = set()
    wait_until(lambda: hosts.add(int(get(nginx.port, "/")[2])) or len(hosts) == 2, lambda: hosts)
    for _ in range(10):
        embedded = status(nginx)["embedded"]
        assert {process["pid"] for process in embedded["processes"]} == hosts
        assert [process["worker"] for process in embedded["processes"]] == [0, 1]
        assert embedded["slots"] == 4
    gone = hosts.pop()
    os.kill(gone, signal.SIGKILL)
    wait_until(
        lambda: {process["pid"] for process in status(nginx)["embedded"]["processes"]} == hosts, lambda: status(nginx)
    )


def test_processes_that_die(nginx):
    start(nginx, "process-group=app")
    assert get(nginx.port, "/")[0] == 200
    before = status(nginx)["groups"][0]
    assert set(before["restarts"].values()) == {0}
    (process,) = before["processes"]
    assert process["pid"] in [daemon.pid for daemon in nginx.daemons()]
    os.kill(process["pid"], signal.SIGKILL)

    def again():
        shown = status(nginx)["groups"][0]
        return [p for p in shown["processes"] if p["state"] == "ready" and p["pid"] != process["pid"]] and shown

    after = wait_until(again, lambda: status(nginx))
    assert after["restarts"]["crashed"] == 1 and sum(after["restarts"].values()) == 1
    labels = (("group", "app"), ("mode", "daemon"))
    found = samples(nginx)
    assert found[("wsgi_process_restarts_total", *labels, ("reason", "crashed"))] == 1
    # A failing exit code is no proper end either.
    assert get(nginx.port, "/?leave")[0] == 502
    wait_until(lambda: status(nginx)["groups"][0]["restarts"]["crashed"] == 2, lambda: status(nginx))
    wait_until(lambda: status(nginx)["groups"][0]["slots"], lambda: status(nginx))
    (last,) = status(nginx)["groups"][0]["processes"]
    os.kill(last["pid"], signal.SIGTERM)
    wait_until(lambda: status(nginx)["groups"][0]["restarts"]["exited"] == 1, lambda: status(nginx))


@pytest.mark.parametrize("reason", ["script_reload", "graceful_signal", "maximum_requests"])
def test_processes_that_are_replaced(nginx, reason):
    start(nginx, "process-group=app", "threads=2" + (" maximum-requests=2" if reason == "maximum_requests" else ""))
    assert get(nginx.port, "/")[0] == 200
    (old,) = status(nginx)["groups"][0]["processes"]
    if reason == "graceful_signal":
        os.kill(old["pid"], signal.SIGUSR1)
    if reason == "script_reload":
        path = nginx.dir / "app.wsgi"
        os.utime(path, (path.stat().st_mtime + 10,) * 2)
    assert get(nginx.port, "/")[0] == 200

    def replaced():
        shown = status(nginx)["groups"][0]
        return shown["restarts"][reason] == 1 and old["pid"] not in [p["pid"] for p in shown["processes"]] and shown

    shown = wait_until(replaced, lambda: status(nginx))
    assert sum(shown["restarts"].values()) == 1
    assert shown["processes"][0]["age"] <= old["age"] + 60
    # The group's requests are not forgotten with the process that ran them.
    assert shown["requests"] >= 2 > shown["processes"][0]["requests"]


def test_a_process_that_drains(nginx):
    start(nginx, "process-group=app", "threads=2 graceful-timeout=60")
    with Requests(nginx, 1):
        wait_until(lambda: status(nginx)["groups"][0]["busy"] == 1, lambda: status(nginx))
        os.kill(status(nginx)["groups"][0]["processes"][0]["pid"], signal.SIGUSR1)
        states = lambda: [p["state"] for p in status(nginx)["groups"][0]["processes"]]  # noqa: E731
        wait_until(lambda: states() == ["draining", "ready"], states)
        shown = status(nginx)["groups"][0]
        assert (shown["slots"], shown["busy"]) == (2, 1)
        labels = (("group", "app"), ("mode", "daemon"))
        assert samples(nginx)[("wsgi_processes", *labels, ("state", "draining"))] == 1
    wait_until(lambda: states() == ["ready"], states)


def test_a_reload_is_another_generation(nginx, mode, group):
    start(nginx, group)
    assert get(nginx.port, "/")[0] == 200
    before = status(nginx)
    assert before["generation"]["number"] == 1
    nginx.reload()
    after = status(nginx)
    assert after["generation"]["number"] == 2
    assert after["generation"]["started"] >= before["generation"]["started"]
    assert of(mode, after)["requests"] == 0


def test_a_supervisor_that_has_died(nginx):
    start(nginx, "process-group=app")
    assert status(nginx)["generation"]["supervisor"] is True
    assert samples(nginx)[("wsgi_supervisor_up",)] == 1
    os.kill(nginx.supervisors()[0].pid, signal.SIGKILL)
    wait_until(lambda: status(nginx)["generation"]["supervisor"] is False, lambda: status(nginx))
    assert samples(nginx)[("wsgi_supervisor_up",)] == 0
    assert "The supervisor of the daemon processes does not run" in get(nginx.port, "/page")[2].decode()


def test_a_service_has_no_slots(nginx):
    nginx.write("work.py", "import threading\nthreading.Event().wait()\n")
    nginx.configure(
        "location = /status { wsgi_status json; }",
        http="""wsgi_daemon_process work threads=0;
                wsgi_import_script {dir}/work.py process-group=work "application-group=%{GLOBAL}";""",
    )
    nginx.start()
    wait_until(lambda: [p["state"] for p in status(nginx)["groups"][0]["processes"]] == ["ready"], lambda: status(nginx))
    work = status(nginx)["groups"][0]
    assert (work["threads"], work["slots"], work["processes"][0]["slots"]) == (0, 0, 0)


def test_what_a_hostile_process_reports_is_shown_as_text(nginx):
    """A process writes whatever it likes into its report: nginx shows it, and trusts none of it."""
    nginx.write("app.wsgi", """
        import ctypes, os, re, time
        def application(environ, start_response):
            for line in open('/proc/self/maps'):
                if 'ngx-wsgi-report' in line:
                    start, end = (int(part, 16) for part in re.match('([0-9a-f]+)-([0-9a-f]+)', line).groups())
                    ctypes.memset(start, ord('<'), end - start)
                    break
            else:
                raise LookupError('no report')
            while not os.path.exists(environ['QUERY_STRING']):
                time.sleep(0.01)
            start_response('200 OK', [])
            return []
    """)
    nginx.configure(SITE % "process-group=app", http="wsgi_daemon_process app threads=2;")
    nginx.start()
    (daemon,) = wait_until(nginx.daemons, "a process")
    with Requests(nginx, 1):
        wait_until(lambda: "&lt;&lt;" in get(nginx.port, "/page")[2].decode(), lambda: status(nginx))
        (process,) = status(nginx)["groups"][0]["processes"]
        assert (process["pid"], process["slots"], process["busy"], process["requests"]) == (daemon.pid, 2, 1, 1)
        # It claims to run one on each thread; nginx has sent it one.
        assert [running["request"] for running in process["running"]] == ["<" * 228]
        assert "<<" not in get(nginx.port, "/page")[2].decode()
        assert samples(nginx)[("wsgi_longest_request_seconds", ("group", "app"), ("mode", "daemon"))] == 0
