"""nginx's event loop is free, whatever Python does in the worker."""

import statistics
import threading
import time

from client import Load, get

SLEEPER = """
    import time

    def application(environ, start_response):
        time.sleep(2)
        start_response('200 OK', [])
        return [b'slept']
    """

SPINNER = """
    import time

    def application(environ, start_response):
        end = time.monotonic() + 2
        while time.monotonic() < end:
            pass
        start_response('200 OK', [])
        return [b'spun']
    """

QUICK = """
    def application(environ, start_response):
        start_response('200 OK', [])
        return [b'quick']
    """


def start(nginx, threads=15):
    nginx.write("sleep.wsgi", SLEEPER)
    nginx.write("spin.wsgi", SPINNER)
    nginx.write("quick.wsgi", QUICK)
    nginx.write("static/file.txt", "a static file")
    nginx.configure(
        http=f"wsgi_embedded_threads {threads};\nwsgi_daemon_process app threads=2;",
        server="""
            wsgi_script_alias /sleep {dir}/sleep.wsgi;
            wsgi_script_alias /spin {dir}/spin.wsgi;
            wsgi_script_alias /quick {dir}/quick.wsgi process-group=app;
            location /static/ { root {dir}; }
            """,
        workers=1,
    )
    nginx.start()
    assert get(nginx.port, "/quick")[2] == b"quick"


def latencies(port, path, count, body):
    found = []
    for _ in range(count):
        started = time.monotonic()
        assert get(port, path)[::2] == (200, body)
        found.append(time.monotonic() - started)
    return found


def test_files_and_daemons_while_every_thread_sleeps(nginx):
    threads = 15
    start(nginx, threads)
    quiet = statistics.median(latencies(nginx.port, "/static/file.txt", 200, b"a static file"))
    with Load(nginx.port, "/sleep", threads=threads) as load:
        time.sleep(0.5)
        static = latencies(nginx.port, "/static/file.txt", 1000, b"a static file")
        quick = latencies(nginx.port, "/quick", 100, b"quick")
        # All of them were asleep the whole time, so the figures are what they say.
        assert time.monotonic() - min(r[0] for r in load.results or [(time.monotonic(),)]) < 60
    assert {result[2:] for result in load.results} == {(200, b"slept")}
    print(f"static: {quiet * 1e6:.0f} us when idle, {statistics.median(static) * 1e6:.0f} us beside sleepers")
    assert statistics.median(static) < quiet * 3 + 0.002
    assert max(static) < 0.5
    assert max(quick) < 0.5


def test_sleepers_sleep_together(nginx):
    start(nginx, threads=8)
    get(nginx.port, "/sleep")
    with Load(nginx.port, "/sleep", threads=8) as load:
        load.stopped.set()
    assert {result[2] for result in load.results} == {200}
    assert max(r[1] for r in load.results) - min(r[0] for r in load.results) < 3.5


def test_files_while_python_computes(nginx):
    start(nginx)
    done = threading.Event()

    def spin():
        while not done.is_set():
            get(nginx.port, "/spin", timeout=60)

    threads = [threading.Thread(target=spin) for _ in range(2)]
    for thread in threads:
        thread.start()
    time.sleep(0.3)
    try:
        static = latencies(nginx.port, "/static/file.txt", 300, b"a static file")
    finally:
        done.set()
        for thread in threads:
            thread.join(60)
    assert statistics.median(static) < 0.05
    assert max(static) < 1
