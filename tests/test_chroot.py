"""Daemon processes in a jail that holds a Python of its own."""

import json
import os
import pwd
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from client import get
from nginx import IS_ROOT
from processes import wait_until

pytestmark = pytest.mark.skipif(not IS_ROOT, reason="not root: chroot() is refused")

# Not needed by the applications here, and large.
LEFT_OUT = ("test", "idlelib", "tkinter", "turtledemo", "ensurepip", "site-packages", "dist-packages", "__pycache__")

APP = """
    import hashlib, json, os, sqlite3, ssl, sys

    VERSION = 1

    def exists(path):
        return os.path.exists(path)

    def application(environ, start_response):
        answer = {
            'version': VERSION,
            'pid': os.getpid(),
            'uid': os.getuid(),
            'cwd': os.getcwd(),
            'root': sorted(os.listdir('/')),
            'outside': [p for p in ('/etc/passwd', '/etc', '/root', '/proc/1', environ['QUERY_STRING']) if exists(p)],
            'file': __file__,
            'script': environ['SCRIPT_FILENAME'],
            'document_root': environ.get('DOCUMENT_ROOT'),
            'tls': ssl.create_default_context().verify_mode == ssl.CERT_REQUIRED,
            'digest': hashlib.sha256(b'').hexdigest()[:8],
            'sql': sqlite3.connect(':memory:').execute('select 6 * 7').fetchone()[0],
        }
        start_response('200 OK', [('Content-Type', 'application/json')])
        return [json.dumps(answer).encode()]
    """


def put(source, target):
    """A file at its place in the jail: another name of it where that works, else a copy."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        return
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copy2(source, target)


def libraries(files):
    """What the dynamic linker loads for these: name -> path."""
    listed = subprocess.run(["ldd", *map(str, files)], capture_output=True, text=True).stdout
    return sorted({Path(path) for path in re.findall(r"(?:=> |^\s+)(/\S+) \(", listed, re.M)})


def make_jail(jail):
    """The standard library, and the shared libraries that its extension modules need."""
    stdlib = Path(sysconfig.get_path("stdlib", vars={"base": sys.base_prefix}))
    extensions = []
    for directory, names, files in os.walk(stdlib):
        names[:] = [name for name in names if name not in LEFT_OUT]
        for name in files:
            source = Path(directory, name)
            put(source, jail / source.relative_to("/"))
            if name.endswith(".so"):
                extensions.append(source)
    for library in libraries(extensions):
        put(library, jail / library.relative_to("/"))


@pytest.fixture
def jailed(nginx):
    jail = nginx.dir / "jail"
    jail.mkdir()
    make_jail(jail)
    nginx.write("jail/srv/app.wsgi", APP)
    nginx.write("outside.wsgi", APP)

    def start(options="", server="", http=""):
        nginx.configure(
            http=f"{http} wsgi_daemon_process app threads=2 chroot={jail} {options};",
            server="wsgi_script_alias /outside {dir}/outside.wsgi process-group=app;\n"
            "wsgi_script_alias / {dir}/jail/srv/app.wsgi process-group=app;\n" + server,
        )
        nginx.start()
        return jail

    return start


def ask(nginx, path="/"):
    status, _, body = get(nginx.port, path)
    assert status == 200, nginx.log()
    return json.loads(body)


def test_an_application_inside(nginx, jailed):
    jail = jailed(server="root {dir}/jail/srv;")
    seen = ask(nginx, f"/?{jail}")
    assert (seen["tls"], seen["digest"], seen["sql"]) == (True, "e3b0c442", 42)
    assert seen["root"] == sorted(os.listdir(jail))
    assert seen["outside"] == []
    assert seen["file"] == seen["script"] == "/srv/app.wsgi"
    assert seen["document_root"] == "/srv"
    assert seen["uid"] == pwd.getpwnam("www-data").pw_uid
    assert seen["cwd"] == "/", "the user has no home directory in the jail"
    assert os.readlink(f"/proc/{seen['pid']}/root") == str(jail)


def test_python_that_is_initialised_before_the_processes(nginx, jailed):
    jail = jailed(http="wsgi_lazy_initialization off;")
    seen = ask(nginx)
    (shared,) = [process for process in nginx.hosts() if ": template of" in process.title]
    for pid in seen["pid"], shared.pid:
        assert os.readlink(f"/proc/{pid}/root") == str(jail)
    assert nginx.log().count("Initializing Python runtime in the template of") == 1
    assert "Initializing Python runtime in daemon process" not in nginx.log()


def test_the_document_root_outside_is_not_told(nginx, jailed):
    jailed(server="root {dir};")
    assert ask(nginx)["document_root"] is None


def test_the_working_directory_is_the_users_home_inside(nginx, jailed):
    home = Path(pwd.getpwnam("www-data").pw_dir)
    (nginx.dir / "jail" / home.relative_to("/")).mkdir(parents=True)
    jailed()
    assert ask(nginx)["cwd"] == str(home)


def test_home_is_a_directory_inside(nginx, jailed):
    jailed("home=/srv")
    assert ask(nginx)["cwd"] == "/srv"


def test_a_script_outside_is_refused(nginx, jailed):
    jailed()
    assert get(nginx.port, "/outside")[0] == 500
    nginx.wait_for_log(r"\[error\].*WSGI script \S+/outside.wsgi is outside the chroot \S+/jail of .*\"app\"")
    ask(nginx)


def test_a_changed_script_replaces_the_process(nginx, jailed):
    jail = jailed()
    first = ask(nginx)
    assert first["version"] == 1
    script = jail / "srv/app.wsgi"
    script.write_text(script.read_text().replace("VERSION = 1", "VERSION = 2"))
    os.utime(script, (1, 1))
    seen = wait_until(lambda: (seen := ask(nginx))["version"] == 2 and seen, nginx.log)
    assert seen["pid"] != first["pid"]
    assert seen["outside"] == []


def test_a_jail_without_python_says_so(nginx):
    (nginx.dir / "empty" / "srv").mkdir(parents=True)
    nginx.write("empty/srv/app.wsgi", APP)
    nginx.configure(
        http="wsgi_daemon_process app threads=1 root={dir}/empty;",
        server="wsgi_script_alias / {dir}/empty/srv/app.wsgi process-group=app;",
    )
    nginx.start()
    assert get(nginx.port, "/")[0] == 500
    nginx.wait_for_log(r"\[alert\].*daemon process group \"app\": .*Python")


def test_what_is_loaded_ahead_is_named_as_seen_from_outside(nginx):
    make_jail(nginx.dir / "jail")
    nginx.write("jail/srv/app.wsgi", APP)
    nginx.write("jail/srv/first.py", "print('first of all, in', __file__)")
    http = "wsgi_daemon_process app threads=1 chroot={dir}/jail;"
    script = 'wsgi_script_alias / {dir}/jail/srv/app.wsgi process-group=app "application-group=%{GLOBAL}";'
    ahead = 'wsgi_import_script {dir}/%s process-group=app "application-group=%%{GLOBAL}";'
    nginx.configure(script, http=http + ahead % "outside.py")
    done = nginx.run("-t")
    assert done.returncode == 1
    assert re.search(r'\[emerg\].*outside.py", which is outside the chroot of .* "app" in .*nginx.conf:\d+', done.stderr)
    nginx.configure(script, http=http + ahead % "jail/srv/first.py")
    nginx.start()
    nginx.wait_for_log("first of all, in /srv/first.py")
    nginx.wait_for_log("Loading WSGI script '/srv/app.wsgi'")
    assert ask(nginx)["file"] == "/srv/app.wsgi"


def test_a_handler_and_its_files_are_named_as_seen_from_inside(nginx, jailed):
    nginx.write(
        "jail/srv/handler.py",
        """
        import json

        def handle_request(environ, start_response):
            start_response('200 OK', [])
            keys = 'SCRIPT_FILENAME', 'mod_wsgi.handler_script'
            return [json.dumps([__file__] + [environ[key] for key in keys]).encode()]
        """,
    )
    jailed(
        server="wsgi_handler_script text {dir}/jail/srv/handler.py process-group=app;\n"
        "location /text/ { root {dir}/jail/srv; wsgi_set_handler text; }",
    )
    assert ask(nginx, "/text/none.txt") == ["/srv/handler.py", "/srv/text/none.txt", "/srv/handler.py"]
