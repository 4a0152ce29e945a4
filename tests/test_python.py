"""Virtual environments, homes that cannot be used, and the end of interpreters."""

import os
import shutil
import subprocess

import pytest

from client import get
from nginx import IS_ROOT, MODULE
from processes import wait_until

PYTHON = os.environ.get("PYTHON", "/usr/bin/python3")

APP = """
    import sys

    def application(environ, start_response):
        start_response('200 OK', [])
        try:
            import inside
        except ImportError:
            inside = None
        return [('%s %s %s' % (sys.prefix, sys.executable, inside and inside.text)).encode()]
    """

needs_root = pytest.mark.skipif(not IS_ROOT, reason="not root: everything that exists is readable")


def version():
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    return subprocess.run([PYTHON, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def make_environment(nginx, name="venv"):
    home = nginx.dir / name
    subprocess.run([PYTHON, "-m", "venv", "--without-pip", str(home)], check=True)
    [packages] = home.glob("lib/python*/site-packages")
    (packages / "inside.py").write_text("text = 'inside'\n")
    return home


def set_up(nginx, mode, home):
    """The home for one mode only, so that what the log says comes from that."""
    daemon = mode == "daemon"
    nginx.write("app.wsgi", APP)
    nginx.configure(
        workers=1,
        http=f"wsgi_daemon_process app threads=2 python-home={home};" if daemon else f"wsgi_python_home {home};",
        server="wsgi_script_alias /app {dir}/app.wsgi %s;\nlocation /plain { return 200 plain; }"
        % ("process-group=app" if daemon else ""),
    )


def assert_fails_with_one_line(nginx, text):
    for _ in range(3):
        assert get(nginx.port, "/app", timeout=60)[0] == 500
    assert get(nginx.port, "/plain")[2] == b"plain"
    nginx.wait_for_log(text)
    lines = [line for line in nginx.log().splitlines() if "[alert]" in line]
    assert len(lines) == 1 and text in lines[0], nginx.log()
    requests = [line for line in nginx.log().splitlines() if "[error]" in line]
    assert len(requests) == 3 and all(text in line and "/app" in line for line in requests), nginx.log()
    assert "Python path configuration" not in nginx.log()


def test_a_virtual_environment(nginx, mode):
    home = make_environment(nginx)
    set_up(nginx, mode, home)
    nginx.start()
    status, _, body = get(nginx.port, "/app")
    assert (status, body.decode()) == (200, f"{home} {home}/bin/python inside"), nginx.log()


def test_a_home_counts_before_pythonhome(nginx, mode, monkeypatch):
    home = make_environment(nginx)
    monkeypatch.setenv("PYTHONHOME", "/nonexistent")
    set_up(nginx, mode, home)
    nginx.conf.write_text("env PYTHONHOME;" + nginx.conf.read_text())
    nginx.start()
    assert get(nginx.port, "/app")[2].decode().startswith(f"{home} "), nginx.log()


@needs_root
def test_a_home_that_its_user_cannot_read(nginx, mode):
    home = make_environment(nginx)
    home.chmod(0o700)
    set_up(nginx, mode, home)
    tested = nginx.run("-t")
    assert tested.returncode == 0
    assert f'/venv/pyvenv.cfg" cannot be read: Permission denied (os error 13) as user "www-data"' in tested.stderr
    nginx.start()
    assert_fails_with_one_line(nginx, f'"{home}/pyvenv.cfg" cannot be read: Permission denied')
    home.chmod(0o755)
    assert "[warn]" not in nginx.run("-t").stderr
    nginx.reload()
    assert get(nginx.port, "/app")[0] == 200


@needs_root
def test_a_library_that_its_user_cannot_read(nginx, mode):
    home = nginx.dir / "installation"
    library = home / "lib" / f"python{version()}"
    for name in ("os.py", "encodings/__init__.py"):
        nginx.write(f"installation/lib/python{version()}/{name}", "")
    library.chmod(0o711)
    set_up(nginx, mode, home)
    nginx.start()
    assert_fails_with_one_line(nginx, f'"{library}" cannot be read: Permission denied')


def test_a_home_that_has_vanished(nginx):
    home = make_environment(nginx)
    set_up(nginx, "embedded", home)
    nginx.start()
    shutil.rmtree(home)
    assert_fails_with_one_line(nginx, f'"{home}" is not a directory')


def test_a_home_that_is_another_versions_when_the_executable_is_another(nginx):
    home = make_environment(nginx)
    nginx.write("venv/pyvenv.cfg", "home = /usr/bin\nversion = 3.1.4\n")
    set_up(nginx, "daemon", home)
    refused = nginx.run("-t")
    assert refused.returncode == 1
    assert f'{home}" is a virtual environment of Python 3.1.4, not of {version()}' in refused.stderr
    executable = MODULE.parent / "ngx-wsgi-host"
    nginx.conf.write_text(nginx.conf.read_text().replace("http {", f"http {{ wsgi_daemon_executable {executable};"))
    nginx.start()
    assert_fails_with_one_line(nginx, f'"{home}" is a virtual environment of Python 3.1.4')


@pytest.mark.parametrize(
    "home, text",
    [("/nonexistent", '"/nonexistent" is not a directory'), ("{dir}/venv", '/venv" is a virtual environment')],
)
def test_pythonhome_of_the_environment(nginx, monkeypatch, home, text):
    make_environment(nginx)
    monkeypatch.setenv("PYTHONHOME", home.replace("{dir}", str(nginx.dir)))
    nginx.write("app.wsgi", APP)
    nginx.configure(
        workers=1,
        http="wsgi_daemon_process app threads=2;",
        server="wsgi_script_alias /app {dir}/app.wsgi process-group=app;\nlocation /plain { return 200 plain; }",
    )
    nginx.start()
    assert_fails_with_one_line(nginx, text)
    assert "environment variable PYTHONHOME: " in nginx.log()


END = """
    import atexit, sys, threading, time
    import mod_wsgi

    group = mod_wsgi.application_group or 'main'
    atexit.register(print, 'at exit of', group)
    go = threading.Event()

    def work():
        go.wait(30)
        print('thread of', group)

    @mod_wsgi.subscribe_shutdown
    def stopping(event, **payload):
        print('shutdown of', group)
        go.set()

    threading.Thread(target=work, daemon=False).start()

    def application(environ, start_response):
        start_response('200 OK', [])
        return [b'ok']
    """


@pytest.mark.parametrize("destroy", ["on", "off"])
def test_the_end_of_interpreters(nginx, group, destroy):
    nginx.write("app.wsgi", END)
    nginx.configure(
        workers=1,
        http=f"wsgi_destroy_interpreter {destroy};\nwsgi_daemon_process app threads=2;",
        server=f"""
            wsgi_script_alias /main {{dir}}/app.wsgi {group} "application-group=%{{GLOBAL}}";
            wsgi_script_alias /sub {{dir}}/app.wsgi {group} application-group=sub;
        """,
    )
    nginx.start()
    for path in ("/main", "/sub"):
        assert get(nginx.port, path)[0] == 200, nginx.log()
    nginx.stop()
    for name in ("main", "sub"):
        assert f"shutdown of {name}" in nginx.log()
        assert (f"at exit of {name}" in nginx.log()) == (destroy == "on")
        if destroy == "on":
            assert f"thread of {name}" in nginx.log()


def test_threads_are_not_waited_for_when_interpreters_are_not_destroyed(nginx, group):
    nginx.write("app.wsgi", END.replace("go.set()", "pass"))
    nginx.configure(
        workers=1,
        http="wsgi_destroy_interpreter off;\nwsgi_daemon_process app threads=2 shutdown-timeout=0;",
        server=f"wsgi_script_alias / {{dir}}/app.wsgi {group};",
    )
    nginx.start()
    assert get(nginx.port, "/")[0] == 200
    nginx.stop()
    assert "shutdown of" in nginx.log()
    assert "thread of" not in nginx.log()


STDIN = """
    import sys

    def application(environ, start_response):
        start_response('200 OK', [])
        try:
            return [repr(sys.stdin.readline()).encode()]
        except OSError as error:
            return [str(error).encode()]
    """


def test_stdin_is_not_restricted_in_one_process_in_the_foreground(nginx):
    nginx.write("app.wsgi", STDIN)
    nginx.configure(
        master="off",
        daemon="off",
        http="wsgi_restrict_stdin on;",
        server="wsgi_script_alias / {dir}/app.wsgi;",
    )
    with subprocess.Popen(nginx.command(), stdin=subprocess.PIPE) as process:
        try:
            nginx.wait_for_port()
            process.stdin.write(b"typed\n")
            process.stdin.flush()
            assert get(nginx.port, "/")[2] == b"'typed\\n'"
        finally:
            process.terminate()
            wait_until(lambda: process.poll() is not None, "nginx to end")
