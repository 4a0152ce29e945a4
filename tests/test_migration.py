"""The configurations in docs/migrating-from-mod_wsgi.md, complete as they stand there."""

import base64
import http.client
import re
from pathlib import Path

import pytest

from nginx import IS_ROOT, ROOT
from processes import wait_until
from test_chroot import make_jail

DOCUMENT = ROOT / "docs" / "migrating-from-mod_wsgi.md"
EXAMPLES = dict(
    re.findall(r"<!-- example: (.+?) -->\n```nginx\n(.*?)```", DOCUMENT.read_text(), re.S),
)

APP = """
    import os

    def application(environ, start_response):
        answer = [environ['mod_wsgi.process_group'], environ['mod_wsgi.application_group'], __file__]
        start_response('200 OK', [('Content-Type', 'text/plain')])
        return [' '.join(map(repr, answer)).encode()]
    """


def start(nginx, name):
    """Starts the example below the test's directory and port, with a user that every system has."""
    text = re.sub(r"(?<![\w/.])/(srv|home)/", r"{dir}/\1/", EXAMPLES[name])
    text = re.sub(r" (user|group)=(site|bob|shop)\b", r" \1=www-data", text)
    nginx.configure("return 404;", http=text.replace("listen 80;", f"listen 127.0.0.1:{nginx.port};"))
    nginx.start()


def ask(nginx, host, path="/", status=200):
    connection = http.client.HTTPConnection("127.0.0.1", nginx.port, timeout=30)
    connection.request("GET", path, headers={"Host": host})
    response = connection.getresponse()
    body = response.read().decode().replace(str(nginx.dir), "")
    connection.close()
    assert response.status == status, (response.status, body, nginx.log()[-4000:])
    return body


def test_one_application(nginx):
    nginx.write("srv/site/site.wsgi", APP)
    nginx.write("srv/site/static/style.css", "p {}\n")
    start(nginx, "one application")
    assert ask(nginx, "www.example.com", "/x") == f"'' 'www.example.com:{nginx.port}|' '/srv/site/site.wsgi'"
    assert ask(nginx, "www.example.com", "/static/style.css") == "p {}\n"


def test_daemon_processes(nginx):
    nginx.write("srv/site/site.wsgi", APP)
    start(nginx, "daemon processes")
    assert ask(nginx, "www.example.com") == "'site' '' '/srv/site/site.wsgi'"
    wait_until(lambda: len(nginx.daemons()) == 2, nginx.log)
    # A process is named after the supervisor until it has been set up.
    wait_until(lambda: {process.title for process in nginx.daemons()} == {"(wsgi:site)"}, nginx.daemons)


def test_groups_of_hosts(nginx):
    for name in "site-1", "site-2":
        nginx.write(f"srv/{name}/site.wsgi", APP)
    start(nginx, "groups of hosts")
    for name in "site-1", "site-2":
        assert ask(nginx, f"www.{name}.com").split()[::2] == [f"'{name}'", f"'/srv/{name}/site.wsgi'"]


def test_chosen_groups(nginx):
    nginx.write("srv/site/site.wsgi", APP)
    nginx.write("home/bob/public_html/blog.wsgi", APP)
    start(nginx, "chosen groups")
    assert ask(nginx, "www.example.com").split()[::2] == ["'default'", "'/srv/site/site.wsgi'"]
    answer = ask(nginx, "www.example.com", "/bob/blog.wsgi/entry").split()
    assert answer[::2] == ["'bob:1'", "'/home/bob/public_html/blog.wsgi'"]
    # Bob names another's group: he may not.
    conf = nginx.conf.read_text().replace("wsgi_param PROCESS_GROUP bob:1;", "wsgi_param PROCESS_GROUP default;")
    nginx.conf.write_text(conf)
    assert nginx.run("-s", "reload").returncode == 0
    wait_until(lambda: ask_status(nginx, {}, "/bob/blog.wsgi") == 500, nginx.log)
    ask(nginx, "www.example.com")


def test_chosen_by_a_script(nginx):
    nginx.write("srv/site/site.wsgi", APP)
    script = re.search(r"by a script -->.*?```python\n(.*?)```", DOCUMENT.read_text(), re.S)[1]
    nginx.write("srv/site/dispatch.py", script)
    start(nginx, "chosen by a script")
    assert ask(nginx, "www.example.com", "/x").split()[0] == "'fast'"
    assert ask(nginx, "www.example.com", "/reports/x").split()[0] == "'slow'"


def ask_status(nginx, headers, path="/"):
    connection = http.client.HTTPConnection("127.0.0.1", nginx.port, timeout=30)
    connection.request("GET", path, headers={"Host": "www.example.com", **headers})
    found = connection.getresponse().status
    connection.close()
    return found


@pytest.mark.skipif(not IS_ROOT, reason="not root: chroot() is refused")
def test_jail(nginx):
    make_jail(nginx.dir / "srv" / "jail")
    nginx.write("srv/jail/app/shop.wsgi", APP)
    start(nginx, "jail")
    assert ask(nginx, "shop.example.com").split()[::2] == ["'shop'", "'/app/shop.wsgi'"]


def test_pattern(nginx):
    for name in "one", "two":
        nginx.write(f"srv/sites/{name}/site.wsgi", APP)
    start(nginx, "pattern")
    for name in "one", "two":
        assert ask(nginx, "www.example.com", f"/sites/{name}/page").split()[2] == f"'/srv/sites/{name}/site.wsgi'"
    ask(nginx, "www.example.com", "/sites/three", status=404)


def test_handler(nginx):
    nginx.write("srv/www/page.bobo", "print this")
    nginx.write(
        "srv/bobo/handler.wsgi",
        """
        def handle_request(environ, start_response):
            start_response('200 OK', [('Content-Type', 'text/plain')])
            with open(environ['SCRIPT_FILENAME'], 'rb') as page:
                return [b'published: ' + page.read()]
        """,
    )
    start(nginx, "handler")
    assert ask(nginx, "www.example.com", "/page.bobo") == "published: print this"


def test_authentication(nginx):
    nginx.write("srv/site/site.wsgi", APP)
    nginx.write(
        "srv/auth/users.py",
        """
        def check_password(environ, user, password):
            return password == user[::-1]

        def groups_for_user(environ, user):
            return ['staff'] if user == 'grail' else []
        """,
    )
    nginx.write("srv/auth/addresses.py", "def allow_access(environ, host):\n    return host == '127.0.0.1'\n")
    start(nginx, "authentication")

    def login(user, password):
        credentials = base64.b64encode(f"{user}:{password}".encode()).decode()
        return ask_status(nginx, {"Authorization": f"Basic {credentials}"})

    assert ask_status(nginx, {}) == 401
    assert login("grail", "liarg") == 200
    assert login("grail", "wrong") == 401
    assert login("arthur", "ruhtra") == 401, "not in the group"


def test_loaded_ahead(nginx):
    nginx.write("srv/site/site.wsgi", APP)
    nginx.write("srv/site/warm.py", "print('warm')")
    nginx.write("srv/site/tasks.py", "import time\nprint('at work')\ntime.sleep(1000)")
    start(nginx, "loaded ahead")
    for line in "warm", "at work", r"Loading WSGI script '\S+/site.wsgi'":
        nginx.wait_for_log(line)
    assert ask(nginx, "www.example.com") == "'site' '' '/srv/site/site.wsgi'"


def test_every_example_is_tried():
    """Nothing in the document is only prose."""
    tried = re.findall(r'\bstart\(nginx, "(.+?)"\)', Path(__file__).read_text())
    assert set(tried) == set(EXAMPLES)
    assert DOCUMENT.read_text().count("```nginx") == len(EXAMPLES)
