"""nginx's life: start, reload, stop, upgrade, and what dies in between. Nothing is ever left."""

import os
import re
import resource
import signal
import subprocess
import time

import pytest

from client import Load, get
from nginx import IS_ROOT
from processes import Process, alive, descendants, reap, wait_until

APP = """
    import os, signal, sys, time

    def application(environ, start_response):
        path = environ['PATH_INFO']
        if path == '/sleep':
            time.sleep(float(environ['QUERY_STRING']))
        start_response('200 OK', [('Content-Type', 'text/plain')])
        if path == '/pid':
            return [b'%d' % os.getpid()]
        if path == '/stream':
            return stream()
        return [b'hello\\n']

    def stream():
        yield b'first\\n'
        time.sleep(20)
        yield b'last\\n'
    """

BOTH = """
    wsgi_script_alias /embedded {dir}/app.wsgi "process-group=%{GLOBAL}";
    wsgi_script_alias /daemon {dir}/app.wsgi process-group=app;
    wsgi_read_timeout 60s;
    """


def set_up(nginx, processes=2, threads=4, options="", **settings):
    nginx.write("app.wsgi", APP)
    nginx.configure(
        http=f"wsgi_daemon_process app processes={processes} threads={threads} {options};",
        server=BOTH,
        **settings,
    )


def start(nginx, **settings):
    set_up(nginx, **settings)
    nginx.start()
    assert_serves(nginx)


def assert_serves(nginx):
    for path in "/embedded", "/daemon":
        assert get(nginx.port, path)[::2] == (200, b"hello\n"), nginx.log()


def daemon_pid(nginx):
    return int(get(nginx.port, "/daemon/pid")[2])


@pytest.mark.parametrize("number", [signal.SIGQUIT, signal.SIGTERM, signal.SIGINT])
def test_stop(nginx, number):
    start(nginx)
    assert nginx.sockets() and nginx.daemons()
    nginx.stop(number)


def test_nginx_s_stop_and_quit(nginx):
    for word in "stop", "quit":
        start(nginx)
        done = nginx.run("-s", word)
        assert done.returncode == 0, done.stderr
        nginx.wait_until_gone()


def test_quit_lets_requests_finish(nginx):
    start(nginx)
    for path in "/embedded/sleep?2", "/daemon/sleep?2":
        with Load(nginx.port, path, threads=2) as load:
            wait_until(lambda: log_has_connections(nginx, 2), "the requests to be running")
            load.stopped.set()
            time.sleep(0.5)
            nginx.send(signal.SIGQUIT)
        assert [result[2:] for result in load.results] == [(200, b"hello\n")] * 2
        nginx.wait_until_gone()
        start(nginx)


def log_has_connections(nginx, count):
    """Established connections to the port, counted by the kernel."""
    with open("/proc/net/tcp") as tcp:
        port = f":{nginx.port:04X}"
        rows = [line.split() for line in list(tcp)[1:]]
    return sum(row[1].endswith(port) and row[3] == "01" for row in rows) >= count


@pytest.mark.parametrize("daemon", ["on", "off"])
@pytest.mark.parametrize("master", ["on", "off"])
def test_master_and_daemon(nginx, master, daemon):
    set_up(nginx, master=master, daemon=daemon, workers=1)
    if daemon == "on":
        nginx.start()
    else:
        with open(nginx.dir / "logs" / "stderr", "w") as stderr:
            nginx.foreground = subprocess.Popen(nginx.command(), stderr=stderr)
        nginx.wait_for_port()
    assert_serves(nginx)
    if master == "on":
        nginx.reload()
        assert_serves(nginx)
    nginx.send(signal.SIGQUIT)
    if daemon == "off":
        assert nginx.foreground.wait(30) == 0
    nginx.wait_until_gone()


def test_nobody_holds_the_terminal(nginx):
    """Whoever waits for the end of nginx's output gets it when nginx has become a daemon."""
    set_up(nginx)
    done = subprocess.run(nginx.command(), stdin=subprocess.PIPE, capture_output=True, timeout=30)
    assert done.returncode == 0, done.stderr
    nginx.wait_for_port()
    assert_serves(nginx)


@pytest.mark.parametrize("option", ["-t", "-T"])
def test_configuration_test_starts_nothing(nginx, option):
    set_up(nginx)
    done = nginx.run(option)
    assert done.returncode == 0, done.stderr
    assert "test is successful" in done.stderr
    reap()
    assert descendants() == []
    assert nginx.sockets() == []
    assert not list(nginx.dir.glob("*.sock"))


def test_configuration_test_beside_a_running_nginx(nginx):
    start(nginx)
    sockets, hosts = nginx.sockets(), [process.pid for process in nginx.hosts()]
    for _ in range(3):
        assert nginx.run("-t").returncode == 0
    assert nginx.sockets() == sockets
    assert [process.pid for process in nginx.hosts()] == hosts
    assert_serves(nginx)


def test_a_failed_reload_changes_nothing(nginx):
    start(nginx)
    hosts = [process.pid for process in nginx.hosts()]
    sockets = nginx.sockets()
    good = nginx.conf.read_text()
    nginx.conf.write_text(good.replace("threads=4", "threads=none"))
    nginx.send(signal.SIGHUP)
    nginx.wait_for_log(r"\[emerg\].*none")
    assert_serves(nginx)
    assert [process.pid for process in nginx.hosts()] == hosts
    assert nginx.sockets() == sockets
    nginx.conf.write_text(good)
    nginx.reload()
    assert_serves(nginx)


def test_reload_takes_the_new_configuration(nginx):
    start(nginx, processes=1)
    assert len(nginx.daemons()) == 1
    before = daemon_pid(nginx)
    nginx.conf.write_text(nginx.conf.read_text().replace("processes=1", "processes=3"))
    nginx.reload()
    wait_until(lambda: len(nginx.daemons()) == 3, "three processes")
    assert len(nginx.supervisors()) == 1
    assert daemon_pid(nginx) != before
    assert_serves(nginx)


def test_reload_without_groups_ends_them(nginx):
    start(nginx)
    nginx.configure(server="location / { return 200 'plain'; }")
    nginx.reload()
    wait_until(lambda: not nginx.hosts(), lambda: nginx.hosts())
    assert nginx.sockets() == []
    assert get(nginx.port, "/")[2] == b"plain"
    set_up(nginx)
    nginx.reload()
    assert_serves(nginx)


def test_reload_without_the_module(nginx):
    start(nginx)
    nginx.configure(server="location / { return 200 'plain'; }")
    nginx.conf.write_text(re.sub(r"load_module.*|\bwsgi_temp_path.*", "", nginx.conf.read_text()))
    nginx.reload()
    assert get(nginx.port, "/")[2] == b"plain"
    wait_until(lambda: not nginx.hosts(), lambda: nginx.hosts())


def test_reload_lets_requests_finish(nginx):
    start(nginx)
    for path in "/embedded/sleep?2", "/daemon/sleep?2":
        with Load(nginx.port, path, threads=3) as load:
            wait_until(lambda: log_has_connections(nginx, 3), "the requests to be running")
            load.stopped.set()
            time.sleep(0.5)
            nginx.send(signal.SIGHUP)
        assert [result[2:] for result in load.results] == [(200, b"hello\n")] * 3
    nginx.reload()


def test_reloads_under_load(nginx):
    start(nginx, processes=2)
    with Load(nginx.port, "/daemon", threads=8) as load:
        load.wait_for(50)
        for _ in range(30):
            before = {process.pid for process in nginx.workers()}
            nginx.send(signal.SIGHUP)
            wait_until(
                lambda: len({p.pid for p in nginx.workers()} - before) == 2, lambda: nginx.log()[-4000:]
            )
            load.wait_for(5)
    bad = [result for result in load.results if result[2:] != (200, b"hello\n")]
    assert bad == [], f"{len(bad)} of {len(load.results)}\n{nginx.log()[-4000:]}"
    wait_until(lambda: len(nginx.supervisors()) == 1, lambda: f"one generation: {nginx.hosts()}", 60)
    wait_until(lambda: len(nginx.sockets()) == 4, lambda: f"one generation: {nginx.sockets()}")
    wait_until(lambda: not nginx.zombies(), lambda: nginx.zombies())


def test_reopen(nginx):
    start(nginx)
    nginx.error_log.rename(nginx.dir / "logs" / "old.log")
    nginx.send(signal.SIGUSR1)
    wait_until(nginx.error_log.exists, "a new log")
    assert_serves(nginx)

    def supervisor_writes_there():
        victim = nginx.daemons()[0].pid
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: not alive(victim) and len(nginx.daemons()) == 2, "the replacement")
        return re.search(rf"\b{victim}\b.*signal 9", nginx.log())

    # It notices within a second.
    wait_until(supervisor_writes_there, lambda: nginx.log())


def upgrade(nginx):
    """Starts a new master from the old one and waits until it serves; gives its pid."""
    nginx.send(signal.SIGUSR2)
    old_file = nginx.dir / "nginx.pid.oldbin"

    def started():
        if not old_file.exists() or not nginx.pid_file.exists():
            return None
        new = nginx.pid_file.read_text().strip()
        return int(new) if new and int(new) != nginx.master and nginx.workers(int(new)) else None

    return wait_until(started, lambda: "a new master: " + nginx.log()[-4000:])


def test_binary_upgrade(nginx):
    start(nginx)
    with Load(nginx.port, "/daemon", threads=4) as load:
        load.wait_for(20)
        old, new = nginx.master, upgrade(nginx)
        load.wait_for(20)
        assert len(nginx.supervisors()) == 2
        os.kill(old, signal.SIGWINCH)
        wait_until(lambda: not nginx.workers(old), "the old workers to go", 60)
        load.wait_for(20)
        os.kill(old, signal.SIGQUIT)
        wait_until(lambda: reap() or not alive(old), "the old master to go", 60)
        nginx.master = new
        load.wait_for(20)
    bad = [result for result in load.results if result[2:] != (200, b"hello\n")]
    assert bad == []
    wait_until(lambda: len(nginx.supervisors()) == 1, lambda: nginx.hosts())
    assert_serves(nginx)


def test_binary_upgrade_taken_back(nginx):
    start(nginx)
    old, new = nginx.master, upgrade(nginx)
    os.kill(new, signal.SIGTERM)
    wait_until(lambda: reap() or not alive(new), "the new master to go", 60)
    nginx.master = old
    wait_until(lambda: len(nginx.supervisors()) == 1, lambda: nginx.hosts())
    assert_serves(nginx)
    nginx.reload()
    assert_serves(nginx)


def test_kill_a_daemon_under_load(nginx):
    start(nginx, processes=2, threads=4)
    with Load(nginx.port, "/daemon/sleep?0.02", threads=16) as load:
        load.wait_for(100)
        for _ in range(5):
            victim = nginx.daemons()[0].pid
            at = len(load.results)
            os.kill(victim, signal.SIGKILL)
            nginx.wait_for_log(rf"\bapp\b.*\b{victim}\b.*(signal 9|SIGKILL)|\b{victim}\b.*\bapp\b.*(signal 9|SIGKILL)")
            load.wait_for(100)
            wait_until(lambda: len(nginx.daemons()) == 2, "the replacement")
            lost = [result[2] for result in load.results[at:] if result[2:] != (200, b"hello\n")]
            # Only what it was running: one request a thread, and those are told.
            assert len(lost) <= 4 and set(lost) <= {502}, lost
    wait_until(lambda: not nginx.zombies(), lambda: nginx.zombies())


@pytest.mark.parametrize("number", [signal.SIGRTMIN, signal.SIGRTMIN + 3])
def test_a_daemon_that_dies_of_a_real_time_signal_is_replaced(nginx, number):
    start(nginx, processes=1)
    for _ in range(2):
        victim = daemon_pid(nginx)
        os.kill(victim, number)
        nginx.wait_for_log(rf"Process 'app' \(pid {victim}\) has died, terminated by signal {int(number)} \(")
        wait_until(lambda: victim not in [p.pid for p in nginx.daemons()] and nginx.daemons(), "the replacement")
        assert_serves(nginx)
    wait_until(lambda: not nginx.zombies(), lambda: nginx.zombies())


def test_a_killed_daemons_streamed_body_is_visibly_cut(nginx):
    start(nginx, processes=1)
    pid = daemon_pid(nginx)
    with Load(nginx.port, "/daemon/stream", threads=1) as load:
        load.stopped.set()
        wait_until(lambda: log_has_connections(nginx, 1), "the request to be running")
        time.sleep(1)
        os.kill(pid, signal.SIGKILL)
    [(_, _, status, body)] = load.results
    assert status in (200, 502) and (status == 502 or body is None)


def test_the_log_names_the_request_of_a_killed_daemon(nginx):
    start(nginx, processes=1)
    pid = daemon_pid(nginx)
    with Load(nginx.port, "/daemon/sleep?20", threads=1) as load:
        load.stopped.set()
        wait_until(lambda: log_has_connections(nginx, 1), "the request to be running")
        time.sleep(1)
        os.kill(pid, signal.SIGKILL)
    assert load.results[0][2] == 502
    nginx.wait_for_log(rf"{pid}")
    assert "/daemon/sleep" in nginx.log()


def test_a_process_that_cannot_start_is_tried_with_growing_pauses(nginx):
    set_up(nginx, options="home=/nonexistent connect-timeout=3", processes=1)
    nginx.start()
    nginx.wait_for_log("cannot change to directory /nonexistent")
    assert get(nginx.port, "/daemon", timeout=60)[0] == 503
    assert 1 < nginx.log().count("cannot change to directory /nonexistent") < 50
    assert get(nginx.port, "/embedded")[0] == 200


def test_kill_the_supervisor(nginx):
    start(nginx)
    [supervisor] = nginx.supervisors()
    daemons = [process.pid for process in nginx.daemons()]
    os.kill(supervisor.pid, signal.SIGKILL)
    wait_until(lambda: reap() or not any(alive(pid) for pid in daemons), "its processes to end")
    assert get(nginx.port, "/daemon", timeout=60)[0] == 503
    assert get(nginx.port, "/embedded")[0] == 200
    nginx.wait_for_log(r"\[(error|alert|crit)\].*(app|supervisor)")
    nginx.reload()
    assert_serves(nginx)


def test_kill_the_master_then_the_workers(nginx):
    start(nginx)
    workers = nginx.workers()
    os.kill(nginx.master, signal.SIGKILL)
    wait_until(lambda: reap() or not alive(nginx.master), "the master's end")
    assert_serves(nginx)
    for worker in workers:
        os.kill(worker.pid, signal.SIGKILL)
    nginx.wait_until_gone()


def test_kill_a_worker(nginx):
    start(nginx, processes=1, threads=2)
    for _ in range(3):
        with Load(nginx.port, "/daemon/sleep?0.5", threads=2) as load:
            load.stopped.set()
            wait_until(lambda: log_has_connections(nginx, 2), "the requests to be running")
            for worker in nginx.workers():
                os.kill(worker.pid, signal.SIGKILL)
        wait_until(lambda: len(nginx.workers()) == 2, "new workers")
    def both_threads_work():
        with Load(nginx.port, "/daemon/sleep?1", threads=2) as load:
            load.stopped.set()
        assert [result[2] for result in load.results] == [200, 200]
        return max(end - begin for begin, end, *_ in load.results) < 1.9

    # The slots that the dead workers had taken are free, as soon as the application has finished.
    wait_until(both_threads_work, "both threads to be free")


def test_start_after_a_crash_finds_no_stale_socket_in_its_way(nginx):
    start(nginx)
    # The supervisor first: it would end its processes in good order.
    for process in [*nginx.supervisors(), Process(nginx.master), *nginx.workers(), *nginx.daemons()]:
        os.kill(process.pid, signal.SIGKILL)
    wait_until(lambda: reap() or not descendants(), "the end")
    stale = nginx.sockets()
    assert stale
    nginx.pid_file.unlink()
    start(nginx)
    for path in stale:
        path.unlink(missing_ok=True)
    assert_serves(nginx)


def test_stop_with_an_application_that_hangs(nginx):
    """SIGTERM ends everything soon, whatever the applications are doing."""
    start(nginx)
    for path in "/embedded/sleep?600", "/daemon/sleep?600":
        with Load(nginx.port, path, threads=1) as load:
            load.stopped.set()
            wait_until(lambda: log_has_connections(nginx, 1), "the request to be running")
            time.sleep(0.5)
            nginx.stop(signal.SIGTERM)
        start(nginx)


def test_waiting_requests_go_when_their_clients_do(nginx):
    """Given up by its client, a request that waits for a thread is never run."""
    nginx.write(
        "count.wsgi",
        """
        import time
        count = 0

        def application(environ, start_response):
            global count
            if environ['PATH_INFO'] == '/slow':
                count += 1
                time.sleep(1)
            start_response('200 OK', [])
            return [b'%d' % count]
        """,
    )
    nginx.configure(
        http="wsgi_daemon_process app processes=1 threads=1;",
        server="wsgi_script_alias / {dir}/count.wsgi process-group=app application-group=a;",
        workers=1,
    )
    nginx.start()
    import socket

    connections = []
    for _ in range(10):
        s = socket.create_connection(("127.0.0.1", nginx.port))
        s.sendall(b"GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n")
        connections.append(s)
    time.sleep(0.5)
    for s in connections:
        s.close()
    status, _, body = get(nginx.port, "/")
    assert status == 200 and int(body) <= 2, body


@pytest.mark.skipif(not IS_ROOT, reason="only a master that is root gives up privileges")
def test_workers_are_not_root(nginx):
    start(nginx)
    assert {worker.status()["Uid"].split()[0] for worker in nginx.workers()} != {"0"}


def test_a_supervisor_has_descriptors_for_all_its_processes(nginx):
    """Processes see the limit that nginx was started with; the supervisor goes as far as it may."""
    nginx.write(
        "app.wsgi",
        """
        import resource
        def application(environ, start_response):
            start_response('200 OK', [])
            return [str(resource.getrlimit(resource.RLIMIT_NOFILE)[0]).encode()]
        """,
    )
    nginx.configure(
        "wsgi_script_alias / {dir}/app.wsgi process-group=app;",
        http="wsgi_daemon_process app processes=40 threads=1;",
        main="worker_rlimit_nofile 512;",
    )
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, limits[1]))
    try:
        nginx.start()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    wait_until(lambda: len(nginx.daemons()) == 40, lambda: nginx.log()[-2000:])
    assert get(nginx.port, "/")[2] == b"200"
    assert "Too many open files" not in nginx.log()


def test_a_group_that_waits_for_ever_does_not_keep_what_others_have_left(nginx):
    nginx.write("app.wsgi", "import os\ndef application(environ, start_response):\n"
                "    start_response('200 OK', [])\n    return [str(os.getpid()).encode()]\n")
    nginx.configure(
        http="wsgi_daemon_process patient shutdown-timeout=0; wsgi_daemon_process stuck shutdown-timeout=1;",
        server="wsgi_script_alias / {dir}/app.wsgi process-group=stuck;",
    )
    nginx.start()
    os.kill(int(get(nginx.port, "/")[2]), signal.SIGSTOP)
    nginx.stop(signal.SIGTERM)


def test_what_is_not_ready_yet_has_nothing_to_wait_for(nginx):
    nginx.write("app.wsgi", "import time\nprint('loading')\ntime.sleep(1000)\n", invalid="it is never loaded")
    nginx.configure(
        http="wsgi_daemon_process app shutdown-timeout=0;",
        server="wsgi_script_alias / {dir}/app.wsgi process-group=app application-group=a;",
    )
    nginx.start()
    nginx.wait_for_log("loading")
    nginx.stop(signal.SIGTERM)
