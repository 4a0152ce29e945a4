"""What a daemon process takes beside a plain Python that has imported the same, and what becomes of what it spares."""

import subprocess
import sys

from client import get

# Modules of Python that make several megabytes, as an application and its framework do.
LIBRARIES = "asyncio, csv, decimal, email.mime.text, http.server, json, logging, sqlite3, unittest, xmlrpc.client"
APP = f"""
import sys
import {LIBRARIES}

def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'ok']
"""
MODULES = """
import sys

def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [' '.join(sys.modules).encode()]
"""
CRIPPLE = """
import resource
import time

def application(environ, start_response):
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))
    if environ['PATH_INFO'] == '/sleep':
        time.sleep(1000)
    raise ValueError('no descriptors')
"""


def start(nginx, app, options=""):
    nginx.write("app.wsgi", app)
    nginx.configure(
        'wsgi_script_alias / {dir}/app.wsgi process-group=app "application-group=%{GLOBAL}";',
        http=f"wsgi_daemon_process app {options};",
    )
    nginx.start()


def plain_python(code):
    """Runs the Python that this one is a virtual environment of; what it prints."""
    return subprocess.run([sys._base_executable, "-c", code], capture_output=True, text=True, check=True).stdout


def own_memory(process="self"):
    """kB that are not of files; what is shared with others is divided among them."""
    with open(f"/proc/{process}/smaps_rollup") as rollup:
        return next(int(line.split()[1]) for line in rollup if line.startswith("Pss_Anon:"))


def test_an_idle_process_takes_little_more_than_python(nginx):
    start(nginx, APP)
    assert get(nginx.port, "/")[0] == 200
    (process,) = nginx.daemons()
    bare = int(plain_python(f"""
import {LIBRARIES}
with open('/proc/self/smaps_rollup') as rollup:
    print(next(line.split()[1] for line in rollup if line.startswith('Pss_Anon:')))
"""))
    print(f"daemon process: {own_memory(process.pid)} kB, plain Python: {bare} kB")
    assert own_memory(process.pid) <= 1.1 * bare


def test_nothing_is_imported_that_the_application_may_not_need(nginx):
    start(nginx, MODULES)
    bare = plain_python("import threading, sys; print(*sys.modules)").split()
    loaded = get(nginx.port, "/")[2].decode().split()
    own = {name for name in set(loaded) - set(bare) if not name.startswith("_mod_wsgi_")}
    assert own == {"mod_wsgi", "apache"}


def test_an_exception_without_descriptors_is_named(nginx):
    start(nginx, CRIPPLE)
    assert get(nginx.port, "/")[0] == 500
    nginx.wait_for_log(r"ValueError\('no descriptors'\), whose traceback cannot be formatted")


def test_stacks_are_shown_without_descriptors(nginx):
    start(nginx, CRIPPLE, "threads=1 request-timeout=1 shutdown-timeout=1")
    assert get(nginx.port, "/sleep")[0] in (500, 502, 504)
    nginx.wait_for_log(r'Stack of request thread 1, running "GET /sleep"')
    nginx.wait_for_log(r'File ".*app\.wsgi", line 8, in application')
