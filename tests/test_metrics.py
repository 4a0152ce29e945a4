"""mod_wsgi.server_metrics() over the life of processes."""

import ast
import os
import signal
import threading

from client import get
from processes import wait_until

APP = """
import mod_wsgi, os, time
def application(environ, start_response):
    query = environ['QUERY_STRING']
    while query.startswith('/') and not os.path.exists(query):
        time.sleep(0.01)
    start_response('200 OK', [])
    return [repr(mod_wsgi.server_metrics()).encode()]
"""


def seen(nginx, path="/"):
    code, headers, body = get(nginx.port, path)
    assert code == 200, (code, body)
    return ast.literal_eval(body.decode())


def test_a_dead_process_is_not_shown(nginx):
    nginx.write("app.wsgi", APP)
    nginx.configure(
        'wsgi_script_alias / {dir}/app.wsgi process-group=app "application-group=%{GLOBAL}";',
        http="wsgi_daemon_process app processes=2 threads=2 server-metrics=On;",
    )
    nginx.start()
    pids = lambda: sorted(process["pid"] for process in seen(nginx)["processes"])  # noqa: E731
    wait_until(lambda: len(pids()) == 2, pids)
    before = pids()
    assert before == sorted(daemon.pid for daemon in nginx.daemons())
    assert seen(nginx)["server_limit"] == 2
    os.kill(before[0], signal.SIGKILL)
    wait_until(lambda: before[0] not in pids() and len(pids()) == 2, pids)


def test_a_draining_process_is_quiescing(nginx):
    nginx.write("app.wsgi", APP)
    nginx.configure(
        'wsgi_script_alias / {dir}/app.wsgi process-group=app "application-group=%{GLOBAL}";',
        http="wsgi_daemon_process app threads=2 graceful-timeout=60 server-metrics=On;",
    )
    nginx.start()
    (old,) = seen(nginx)["processes"]
    gate = nginx.dir / "gate"
    thread = threading.Thread(target=get, args=(nginx.port, f"/?{gate}"))
    thread.start()
    try:
        busy = lambda: [worker["status"] for worker in seen(nginx)["processes"][0]["workers"]]  # noqa: E731
        wait_until(lambda: busy() == ["W", "W"], busy)
        os.kill(old["pid"], signal.SIGUSR1)

        def quiescing():
            return [process for process in seen(nginx)["processes"] if process["quiescing"]]

        (draining,) = wait_until(quiescing, lambda: seen(nginx))
        assert draining["pid"] == old["pid"]
        assert sorted(worker["status"] for worker in draining["workers"]) == ["G", "_"]
        assert len(seen(nginx)["processes"]) == 2
    finally:
        gate.touch()
        thread.join()
    wait_until(lambda: not quiescing(), lambda: seen(nginx))


def test_embedded_hosts_of_all_workers(nginx):
    nginx.write("app.wsgi", APP)
    nginx.configure(
        'wsgi_script_alias / {dir}/app.wsgi "process-group=%{GLOBAL}" "application-group=%{GLOBAL}";',
        http="wsgi_server_metrics on; wsgi_embedded_threads 2;",
        workers=2,
    )
    nginx.start()
    workers = lambda: {process["pid"] for process in seen(nginx)["processes"]}  # noqa: E731
    wait_until(lambda: workers() == {worker.pid for worker in nginx.workers()}, workers)
    assert seen(nginx)["server_limit"] == 2
    gone = nginx.workers()[0].pid
    os.kill(gone, signal.SIGKILL)
    wait_until(
        lambda: gone not in workers() and workers() == {worker.pid for worker in nginx.workers()} and len(workers()) == 2,
        workers,
    )


def test_a_service_sees_its_group(nginx):
    out = nginx.dir / "out"
    out.mkdir(mode=0o777)
    out.chmod(0o777)
    nginx.write("work.py", f"""
        import mod_wsgi, os, threading
        with open({str(out)!r} + '/new', 'w') as file:
            file.write(repr(mod_wsgi.server_metrics()))
        os.rename({str(out)!r} + '/new', {str(out)!r} + '/seen')
        threading.Event().wait()
    """)
    nginx.configure(
        http="""wsgi_daemon_process work threads=0 server-metrics=On;
                wsgi_daemon_process other threads=2;
                wsgi_import_script {dir}/work.py process-group=work "application-group=%{GLOBAL}";""",
    )
    nginx.start()
    wait_until((out / "seen").exists, nginx.log)
    found = ast.literal_eval((out / "seen").read_text())
    assert [(process["process_group"], process["workers"]) for process in found["processes"]] == [("work", [])]
