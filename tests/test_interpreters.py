"""Application groups: interpreters, and what lives in them."""

import json

import pytest

from client import Load, get


def ask(nginx, path):
    status, _, body = get(nginx.port, path, timeout=60)
    assert status == 200, nginx.log()
    return json.loads(body)


def start(nginx, group, app, python_path="", threads=1):
    nginx.write(
        "app.wsgi",
        f"""
import json
{app}

def application(environ, start_response):
    answer = json.dumps(respond(environ)).encode()
    start_response('200 OK', [('Content-Type', 'application/json')])
    return [answer]
""",
    )
    path = f"python-path={python_path}" if python_path else ""
    embedded = f"wsgi_python_path {python_path};" if python_path else ""
    nginx.configure(
        http=f"wsgi_daemon_process app threads={threads} {path};\nwsgi_embedded_threads {threads};\n{embedded}",
        server=f"""
            wsgi_script_alias /global {{dir}}/app.wsgi {group} "application-group=%{{GLOBAL}}";
            wsgi_script_alias /one {{dir}}/app.wsgi {group} application-group=one;
            wsgi_script_alias /two {{dir}}/app.wsgi {group} application-group=two;
            """,
        workers=1,
    )
    nginx.start()


def test_groups_have_separate_modules(nginx, group):
    start(
        nginx,
        group,
        """
import os, sys, uuid
import email.message

def respond(environ):
    first = not hasattr(email.message, 'mark')
    email.message.mark = environ['PATH_INFO']
    return {'first': first, 'pid': os.getpid(), 'modules': id(sys.modules), 'threads': environ['mod_wsgi.thread_id']}
""",
    )
    one, two, main = (ask(nginx, path) for path in ("/one", "/two", "/global"))
    assert one["first"] and two["first"] and main["first"]
    assert one["pid"] == two["pid"] == main["pid"]
    assert len({one["modules"], two["modules"], main["modules"]}) == 3
    assert not ask(nginx, "/one")["first"]


def test_global_is_the_main_interpreter_on_every_thread(nginx, group):
    """Also on threads that have served another interpreter before."""
    start(
        nginx,
        group,
        """
try:
    import _interpreters as interpreters
    number = lambda found: int(found[0] if isinstance(found, tuple) else found)
except ImportError:
    import _xxsubinterpreters as interpreters
    number = int

def respond(environ):
    return number(interpreters.get_current())
""",
        threads=3,
    )
    for _ in range(10):
        assert ask(nginx, "/one") != 0
        assert ask(nginx, "/global") == 0
        assert ask(nginx, "/two") not in (0, ask(nginx, "/one"))


def test_numpy_in_the_main_interpreter(nginx, group, venv_path):
    start(
        nginx,
        group,
        """
import numpy

def respond(environ):
    return float(numpy.linalg.det(numpy.array([[2.0, 1.0], [1.0, 3.0]])) + numpy.arange(1000).sum())
""",
        python_path=venv_path,
        threads=2,
    )
    for _ in range(4):
        assert ask(nginx, "/global") == pytest.approx(499505.0)


@pytest.mark.parametrize("where", ["/global", "/one"])
def test_thread_locals_survive_between_requests(nginx, group, where):
    start(
        nginx,
        group,
        """
import threading, time
local = threading.local()

def respond(environ):
    local.count = getattr(local, 'count', 0) + 1
    time.sleep(0.05)
    return [environ['mod_wsgi.thread_id'], local.count, threading.current_thread() is not threading.main_thread()]
""",
        threads=3,
    )
    with Load(nginx.port, where, threads=3) as load:
        load.wait_for(30)
    answers = [json.loads(result[3]) for result in load.results]
    if where == "/global":
        assert all(other for _, _, other in answers), "a request thread passes for the main thread"
    for thread in {thread for thread, *_ in answers}:
        counts = sorted(count for number, count, _ in answers if number == thread)
        assert counts == list(range(1, len(counts) + 1))
    assert len({thread for thread, *_ in answers}) == 3


def test_no_threads_share_thread_locals_of_two_groups(nginx, group):
    start(
        nginx,
        group,
        """
import threading
local = threading.local()

def respond(environ):
    local.count = getattr(local, 'count', 0) + 1
    return local.count
""",
    )
    assert [ask(nginx, path) for path in ("/one", "/two", "/one", "/global", "/two", "/one")] == [1, 1, 2, 1, 2, 3]


def test_threads_started_by_the_application(nginx, group):
    start(
        nginx,
        group,
        """
import threading

def respond(environ):
    found = []
    thread = threading.Thread(target=found.append, args=[environ['PATH_INFO']])
    thread.start()
    thread.join()
    return found
""",
    )
    for path in "/one", "/global", "/two":
        assert ask(nginx, path + "/x") == ["/x"]


def test_atexit_runs_when_nginx_quits(nginx, group):
    marks = nginx.dir / "marks"
    marks.mkdir()
    marks.chmod(0o777)
    start(
        nginx,
        group,
        f"""
import atexit, os

def mark(name):
    open({str(marks)!r} + '/' + name, 'w').close()

def respond(environ):
    name = environ['SCRIPT_NAME'].strip('/')
    atexit.register(mark, name)
    return name
""",
    )
    for path in "/one", "/global":
        ask(nginx, path)
    nginx.stop()
    assert {path.name for path in marks.iterdir()} == {"one", "global"}
