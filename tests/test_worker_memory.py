"""What Python costs nginx's workers, and that those who need none have none."""

import re

import pytest

from client import get
from processes import wait_until

APP = """
    def application(environ, start_response):
        start_response('200 OK', [('Content-Type', 'text/plain')])
        return [b'ok']
    """
HOOK = "def allow_access(environ, host):\n    return True\n"


def kilobytes(process, field, of=""):
    """What the kernel says of a process's memory, in all or of the files with this in their names."""
    total, counted = 0, False
    with open(f"/proc/{process.pid}/smaps") as smaps:
        for line in smaps:
            name, *rest = line.split()
            if re.fullmatch("[0-9a-f]+-[0-9a-f]+", name):
                counted = of in line
            elif counted and name == field + ":":
                total += int(rest[0])
    return total


def start(nginx, server, group="process-group=app"):
    nginx.write("app.wsgi", APP)
    nginx.write("access.py", HOOK)
    nginx.write("files/a.txt", "content")
    nginx.configure(
        http="wsgi_daemon_process app;" + ("wsgi_restrict_embedded on;" if "app" in group else ""),
        server=f"{server} location /files {{ root {{dir}}; }} location /app {{ wsgi_script_alias /app {{dir}}/app.wsgi {group}; }}",
        workers=1,
    )
    nginx.start()
    for path in ("/app", "/files/a.txt") * 20:
        assert get(nginx.port, path)[0] == 200
    (worker,) = nginx.workers()
    return worker


def own_pages_of_libpython(worker):
    """Its state begins to differ from the master's when Python is initialised."""
    return kilobytes(worker, "Private_Dirty", "libpython")


def test_without_embedded_applications_workers_have_no_python(nginx):
    worker = start(nginx, "")
    assert worker.threads == 1
    assert own_pages_of_libpython(worker) < 50
    with open(f"/proc/{worker.pid}/maps") as maps:
        assert "lib-dynload" not in maps.read()
    assert not [name for name in worker.open_files().values() if "python" in name]
    pss = kilobytes(worker, "Pss")
    print(f"worker without Python: {pss} kB")
    assert pss < 10_000


@pytest.mark.parametrize("what", ["hook", "application"])
def test_with_python(nginx, what):
    hook = "wsgi_access_script {dir}/access.py;"
    if what == "hook":
        worker = start(nginx, hook)
    else:
        worker = start(nginx, "", '"process-group=%{GLOBAL}"')
    print(f"worker with Python for a {what}: {kilobytes(worker, 'Pss')} kB")
    wait_until(lambda: worker.threads > 1, "Python's threads")
    assert own_pages_of_libpython(worker) > 100
