"""wsgi_per_interpreter_gil: interpreters of one process that run at the same time."""

import json
import os
import re
import subprocess
import threading
import time

import pytest

from client import Load, get
from nginx import MODULE
from processes import alive, wait_until

VERSION = re.search(
    r"Python (\d+)\.(\d+)",
    subprocess.run([MODULE.parent / "ngx-wsgi-host", "--version"], capture_output=True, text=True).stdout,
)

pytestmark = pytest.mark.skipif(
    tuple(map(int, VERSION.groups())) < (3, 12),
    reason=f"interpreters have no GILs of their own before Python 3.12, this is {VERSION[0]}",
)

KEEPER = """
    import ctypes, os

    def application(environ, start_response):
        fifo = os.open(os.path.dirname(__file__) + '/fifo', os.O_RDWR)
        open(os.path.dirname(__file__) + '/keeping', 'w').close()
        # Functions of a PyDLL keep the GIL.
        ctypes.PyDLL(None).read(fifo, ctypes.create_string_buffer(1), 1)
        start_response('200 OK', [])
        return [b'kept']
    """

APP = """
    import os, time

    def application(environ, start_response):
        path = environ['PATH_INFO']
        if path == '/release':
            with open(os.path.dirname(__file__) + '/fifo', 'wb', buffering=0) as fifo:
                fifo.write(b'x')
        if path == '/pid':
            start_response('200 OK', [])
            return [b'%d' % os.getpid()]
        if path == '/keep':
            import re
            re.match('(a+)+b', 'a' * 64)
        if path == '/loop':
            while True:
                time.sleep(0.01)
        start_response('200 OK', [])
        return [b'served']
    """


def start(nginx, group, options="", threads=4, http="", **settings):
    nginx.write("keeper.wsgi", KEEPER)
    nginx.write("app.wsgi", APP)
    fifo = nginx.dir / "fifo"
    os.mkfifo(fifo)
    for path in nginx.dir, fifo:
        path.chmod(0o777)
    nginx.configure(
        http=f"""
            wsgi_per_interpreter_gil on;
            wsgi_embedded_threads {threads};
            wsgi_daemon_process app threads={threads} {options};
            {http}
            """,
        server=f"""
            wsgi_script_alias /keeper {{dir}}/keeper.wsgi {group} "application-group=%{{GLOBAL}}";
            wsgi_script_alias /one {{dir}}/app.wsgi {group} application-group=one;
            wsgi_script_alias /two {{dir}}/app.wsgi {group} application-group=two;
            """,
        workers=1,
        **settings,
    )
    nginx.start()


def test_interpreters_run_at_the_same_time(nginx, group):
    """While one keeps the process's GIL another one answers, and only that lets the first go on."""
    start(nginx, group)
    assert get(nginx.port, "/one")[2] == b"served"
    answers = []
    keeper = threading.Thread(target=lambda: answers.append(get(nginx.port, "/keeper", timeout=60)))
    keeper.start()
    wait_until((nginx.dir / "keeping").exists, lambda: f"the GIL to be kept: {nginx.log()}")
    assert get(nginx.port, "/one")[::2] == (200, b"served")
    assert not answers
    assert get(nginx.port, "/one/release")[::2] == (200, b"served")
    keeper.join(30)
    assert answers[0][::2] == (200, b"kept"), nginx.log()


def test_a_gil_that_is_kept_ends_the_process(nginx):
    start(nginx, "process-group=app", "deadlock-timeout=3")
    pid = int(get(nginx.port, "/two/pid")[2])
    stuck = threading.Thread(target=lambda: get(nginx.port, "/one/keep", timeout=60))
    stuck.start()
    wait_until(lambda: not alive(pid), lambda: f"the process to end: {nginx.log()}")
    stuck.join(60)
    assert "Daemon process deadlock timer expired" in nginx.log()
    assert get(nginx.port, "/two/pid")[0] == 200


def test_gils_that_are_busy_are_no_deadlock(nginx):
    start(nginx, "process-group=app", "deadlock-timeout=2")
    pid = get(nginx.port, "/one/pid")[2]
    until = time.monotonic() + 6
    while time.monotonic() < until:
        assert get(nginx.port, "/one")[0] == get(nginx.port, "/two")[0] == 200
    assert get(nginx.port, "/one/pid")[2] == pid


def test_requests_are_interrupted(nginx):
    start(nginx, "process-group=app", "threads=1 request-timeout=1 interrupt-timeout=30 deadlock-timeout=0")
    pid = get(nginx.port, "/one/pid")[2]
    assert get(nginx.port, "/one/loop", timeout=60)[0] == 504
    assert "Injected RequestTimeout" in nginx.log()
    assert get(nginx.port, "/one/pid")[2] == pid


# Without datetime: CPython 3.12.1 itself crashes where a second isolated interpreter imports it.
BUSY = """
    import gc, io, json, logging, os, random, subprocess, sys, threading, uuid
    import mod_wsgi

    count = 0
    local = threading.local()

    def on_event(name, **data):
        global count
        count += 1

    mod_wsgi.subscribe_events(on_event)

    def application(environ, start_response):
        body = environ['wsgi.input'].read()
        local.seen = getattr(local, 'seen', 0) + 1
        if random.random() < 0.02:
            gc.collect()
        data = {str(n): [n, str(n) * 20, str(uuid.uuid4())] for n in range(200)}
        assert json.loads(json.dumps(data)) == data
        if environ['PATH_INFO'] == '/child':
            out = subprocess.run(['echo', 'child'], capture_output=True).stdout
            assert out == b'child\\n', out
        if environ['PATH_INFO'] == '/thread':
            thread = threading.Thread(target=json.dumps, args=(data,), daemon=True)
            thread.start()
            thread.join()
        logging.getLogger('x').warning('to the log of %s', environ['mod_wsgi.application_group'])
        start_response('200 OK', [])
        if environ['PATH_INFO'] == '/file':
            return environ['wsgi.file_wrapper'](io.BytesIO(b'x' * 100000))
        return [json.dumps([environ['mod_wsgi.application_group'], os.getpid()]).encode()]
    """


def test_many_interpreters_under_load(nginx, group):
    nginx.write("busy.wsgi", BUSY)
    nginx.configure(
        http="wsgi_per_interpreter_gil on;\nwsgi_embedded_threads 8;\n"
        "wsgi_daemon_process app threads=8 maximum-requests=400;",
        server="\n".join(
            f'wsgi_script_alias /{name} {{dir}}/busy.wsgi {group} "application-group={target}";'
            for name, target in [("a", "a"), ("b", "b"), ("c", "c"), ("main", "%{GLOBAL}")]
        ),
        workers=1,
    )
    nginx.start()
    loads = [
        Load(nginx.port, f"/{name}{path}", threads=2)
        for name, path in [("a", ""), ("b", "/file"), ("c", "/thread"), ("main", ""), ("a", "/child")]
    ]
    for load in loads:
        load.__enter__()
    wait_until(lambda: all(len(load.results) > 200 for load in loads), "enough requests", seconds=120)
    for load in loads:
        load.stopped.set()
    for load in loads:
        load.__exit__(None, None, None)
    for load in loads:
        assert {result[2] for result in load.results} == {200}, (nginx.log()[-4000:])
    for name in "abc":
        assert json.loads(get(nginx.port, f"/{name}")[2])[0] == name
    assert "terminated by signal" not in nginx.log()


def test_without_python_before_the_processes(nginx):
    """Interpreters of processes that are forked from a template."""
    start(nginx, "process-group=app", "processes=2", http="wsgi_lazy_initialization off;")
    for path in "/one", "/two":
        assert get(nginx.port, path)[::2] == (200, b"served"), nginx.log()
