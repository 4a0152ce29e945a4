"""Daemon processes whose script has changed: replaced without a failed request, or not at all."""

import concurrent.futures
import http.client
import os
import re
import signal
import textwrap
import time

import pytest

from processes import wait_until

GROUP = 'wsgi_daemon_process app threads=4 processes=%d reload-wait=30;'
SITE = """client_max_body_size 8m;
    wsgi_script_alias / {dir}/app.wsgi process-group=app "application-group=%%{GLOBAL}"; %s"""

APP = """
import os, time
{prelude}
def application(environ, start_response):
    environ['wsgi.input'].read()
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'{version} %d' % os.getpid()]
"""


TELL = """
import mod_wsgi
@mod_wsgi.subscribe_events
def tell(name, **payload):
    if name == 'request_started':
        print('RESTARTS', payload['daemon_restarts'], 'CONNECTS', payload['daemon_connects'])
"""


def deploy(nginx, version, prelude=""):
    """Puts a version of the application in place at once, as a deployment does."""
    new = nginx.write("app.new", APP.format(version=version, prelude=prelude))
    os.replace(new, nginx.dir / "app.wsgi")


def start(nginx, processes=1, server="", **settings):
    deploy(nginx, 0)
    nginx.configure(SITE % server, http=GROUP % processes, **settings)
    nginx.start()


def ask(nginx, method="GET", body=None, headers=()):
    connection = http_client(nginx)
    connection.request(method, "/", body, dict(headers))
    response = connection.getresponse()
    answer = response.read().decode()
    connection.close()
    assert response.status == 200, (response.status, answer)
    version, pid = answer.split()
    return version, int(pid)


def test_events_tell_that_a_request_was_sent_again(nginx):
    start(nginx)
    assert ask(nginx)[0] == "0"
    deploy(nginx, 1, TELL)
    assert ask(nginx)[0] == "1"
    nginx.wait_for_log("RESTARTS 1 CONNECTS 2")
    assert ask(nginx)[0] == "1"
    nginx.wait_for_log("RESTARTS 0 CONNECTS 1")


@pytest.mark.parametrize("processes", [1, 3])
def test_every_request_after_a_change_runs_the_new_code(nginx, processes):
    start(nginx, processes)
    assert ask(nginx)[0] == "0"
    seen = {ask(nginx)[1]}
    for version in range(1, 11):
        deploy(nginx, version)
        answers = [ask(nginx) for _ in range(4)]
        assert [answer[0] for answer in answers] == [str(version)] * 4
        assert not seen & {pid for _, pid in answers}, "the process was replaced"
        seen |= {pid for _, pid in answers}
    wait_until(lambda: len(nginx.daemons()) == processes, lambda: nginx.daemons())
    nginx.wait_for_log(r"Forcing restart of daemon process \d+ due to modification of script '.*/app.wsgi'")


def test_a_request_with_a_body_is_sent_again_whole(nginx):
    start(nginx)
    body = os.urandom(3 << 20)
    ask(nginx, "POST", body)
    for version in range(1, 6):
        deploy(nginx, version)
        assert ask(nginx, "POST", body)[0] == str(version)


def test_no_request_fails_while_scripts_change(nginx):
    start(nginx, processes=2)
    ask(nginx)
    until = [None]

    def keep_asking(_):
        slowest, count = 0, 0
        connection = http_client(nginx)
        while until[0] is None or count == 0:
            begin = time.monotonic()
            try:
                connection.request("GET", "/")
                response = connection.getresponse()
            except (http.client.RemoteDisconnected, ConnectionResetError):
                # nginx closes a kept connection after 1000 requests.
                connection.close()
                continue
            answer = response.read()
            assert response.status == 200, (response.status, answer)
            slowest, count = max(slowest, time.monotonic() - begin), count + 1
        return slowest, count

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        running = [pool.submit(keep_asking, n) for n in range(16)]
        for version in range(1, 21):
            deploy(nginx, version)
            pids = []

            def arrived():
                found, pid = ask(nginx)
                pids.append(pid)
                return found == str(version)

            wait_until(arrived, lambda: f"version {version}, got {pids}")
        until[0] = True
        results = [future.result() for future in running]
    print(f"{sum(count for _, count in results)} requests, slowest {max(s for s, _ in results):.3f} s")


def test_a_version_that_does_not_load_leaves_the_old_one_in_service(nginx):
    start(nginx)
    pids = {ask(nginx)[1] for _ in range(20)}
    deploy(nginx, 1, "raise RuntimeError('half a deployment')")
    for _ in range(20):
        version, pid = ask(nginx)
        assert (version, pid in pids) == ("0", True)
    nginx.wait_for_log("RuntimeError: half a deployment")
    goes_on = r"goes on with what it has loaded \(script_reload\)"
    wait_until(lambda: len(re.findall(goes_on, nginx.log())) == 1, "the successor to fail")
    tries = nginx.log().count("half a deployment")
    for _ in range(20):
        assert ask(nginx)[0] == "0"
    assert nginx.log().count("half a deployment") == tries, "tried once for each change"
    deploy(nginx, 2)
    assert ask(nginx)[0] == "2"


def test_a_running_request_finishes_in_the_old_process(nginx):
    start(nginx)
    entered, go = nginx.dir / "state" / "entered", nginx.dir / "state" / "go"
    entered.parent.mkdir()
    entered.parent.chmod(0o777)
    hang = """
        def hang():
            open({!r}, 'w').close()
            while not os.path.exists({!r}):
                time.sleep(0.01)
    """
    deploy(nginx, 1, textwrap.dedent(hang).format(str(entered), str(go)))
    script = nginx.dir / "app.wsgi"
    script.write_text(script.read_text().replace("    start_response", "    hang()\n    start_response"))
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        running = pool.submit(ask, nginx)
        wait_until(entered.exists, "the request to run")
        deploy(nginx, 2)
        version, pid = ask(nginx)
        assert version == "2"
        go.touch()
        assert running.result()[0] == "1"
        assert running.result()[1] != pid


def test_reload_required_is_asked_once_a_request(nginx):
    start(nginx)
    deploy(nginx, 1, "def reload_required(resource):\n    return True")
    pids = [ask(nginx) for _ in range(4)]
    assert {version for version, _ in pids} == {"1"}
    assert len({pid for _, pid in pids}) == 4, "each request has the script replaced, none is lost"


def test_a_streamed_body_is_not_sent_twice(nginx):
    """With wsgi_request_buffering off nginx has nothing to send again: the old code takes it."""
    start(nginx, server="wsgi_request_buffering off;")
    body = os.urandom(3 << 20)
    ask(nginx, "POST", body)
    deploy(nginx, 1)
    assert ask(nginx, "POST", body)[0] == "0"
    wait_until(lambda: ask(nginx, "POST", body)[0] == "1", "the new code")


def test_without_reloading_nothing_is_replaced(nginx):
    start(nginx, server="wsgi_script_reloading off;")
    first = ask(nginx)
    deploy(nginx, 1)
    assert ask(nginx) == first


def test_a_stop_during_a_replacement_leaves_nothing(nginx):
    start(nginx)
    ask(nginx)
    deploy(nginx, 1, "time.sleep(1)")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        running = pool.submit(ask, nginx)
        nginx.wait_for_log("Forcing restart")
        nginx.stop()
        try:
            assert running.result()[0] in ("0", "1")
        except (AssertionError, OSError, http.client.HTTPException):
            pass  # nginx was told to stop


def test_the_current_process_dies_while_its_successor_starts(nginx):
    start(nginx)
    _, pid = ask(nginx)
    deploy(nginx, 1, "time.sleep(1)")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        pool.submit(ask, nginx)
        nginx.wait_for_log("Forcing restart")
        wait_until(lambda: len(nginx.daemons()) == 2, "the successor")
        os.kill(pid, signal.SIGKILL)
        assert ask(nginx)[0] == "1"
    wait_until(lambda: len(nginx.daemons()) == 1, lambda: nginx.daemons())


def test_a_version_that_hangs_is_overtaken_by_the_next(nginx):
    start(nginx)
    ask(nginx)
    deploy(nginx, 1, "time.sleep(1000)")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        held = pool.submit(ask, nginx)
        wait_until(lambda: len(nginx.daemons()) == 2, lambda: f"the successors: {nginx.daemons()}")
        deploy(nginx, 2)
        assert ask(nginx)[0] == "2"
        assert held.result()[0] == "2"
    wait_until(lambda: len(nginx.daemons()) == 1, lambda: f"the others to end: {nginx.daemons()}")


def test_a_process_that_is_told_to_end_hands_over_what_it_holds(nginx):
    start(nginx)
    _, pid = ask(nginx)
    deploy(nginx, 1, "time.sleep(1)")
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        held = [pool.submit(ask, nginx) for _ in range(3)]
        wait_until(lambda: len(nginx.daemons()) == 2, lambda: f"the successor: {nginx.daemons()}")
        os.kill(pid, signal.SIGTERM)
        assert [future.result()[0] for future in held] == ["1"] * 3


def test_no_request_waits_for_a_seat(nginx):
    """Processes that run a request without an end fill the seats; the next version waits, nobody else."""
    deploy(nginx, 0)
    http = (GROUP % 1).replace(";", " shutdown-timeout=0;")
    nginx.configure(SITE % "", http=http)
    nginx.start()
    endless = """
        def stream(environ, start_response):
            start_response('200 OK', [])
            while True:
                yield b'x'
                time.sleep(0.01)
    """
    streams = []
    for version in range(3):
        deploy(nginx, version, textwrap.dedent(endless))
        script = nginx.dir / "app.wsgi"
        script.write_text(
            script.read_text().replace(
                "    environ['wsgi", "    if environ['QUERY_STRING']: return stream(environ, start_response)\n    environ['wsgi"
            )
        )
        assert ask(nginx)[0] == str(version)
        stream = http_client(nginx)
        stream.request("GET", "/?endless")
        stream.getresponse().read(1)
        streams.append(stream)
    deploy(nginx, 3)
    begin = time.monotonic()
    assert ask(nginx)[0] == "2"
    assert time.monotonic() - begin < 10
    nginx.wait_for_log("has to wait .script_reload.: all seats are taken by processes that still run requests")
    streams[0].close()
    wait_until(lambda: ask(nginx)[0] == "3", lambda: nginx.log()[-2000:])
    for stream in streams[1:]:
        stream.close()


def http_client(nginx):
    return http.client.HTTPConnection("127.0.0.1", nginx.port, timeout=60)
