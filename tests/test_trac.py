"""Trac, which leaves it to the server to find out who its users are: behind Basic and Digest."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import requests
from requests.auth import HTTPBasicAuth, HTTPDigestAuth

from client import get
from nginx import IS_ROOT
from test_browser import open_browser
from test_hooks import challenge, credentials, curl, wait_until_stale

SCHEMES = {"basic": None, "MD5": "md5", "SHA-256": "sha256"}

USERS = """
    import hashlib

    def check_password(environ, user, password):
        return None if user != 'bob' else password == 'secret'

    def get_realm_hash(environ, user, realm):
        if user != 'bob':
            return None
        return hashlib.{algorithm}(('bob:%s:secret' % realm).encode('latin-1')).hexdigest()
"""

SCRIPT = """
    def application(environ, start_response):
        from trac.web.main import dispatch_request
        return dispatch_request(environ, start_response)
"""


@pytest.fixture(scope="session")
def environment(tmp_path_factory):
    """A project with its database."""
    path = tmp_path_factory.mktemp("trac") / "env"
    command = [Path(sys.prefix) / "bin" / "trac-admin", path, "initenv", "A project", "sqlite:db/trac.db"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return path


@pytest.fixture(params=list(SCHEMES))
def scheme(request):
    return request.param


@pytest.fixture
def trac(nginx, group, scheme, venv_path, environment):
    """An nginx that lets bob into Trac."""
    return start(nginx, group, scheme, venv_path, environment)


def start(nginx, group, scheme, venv_path, environment, directives=""):
    site = nginx.dir / "env"
    shutil.copytree(environment, site)
    if IS_ROOT:
        subprocess.run(["chown", "-R", "www-data:", site], check=True)
    nginx.write("trac.wsgi", SCRIPT)
    nginx.write("users.py", USERS.format(algorithm=SCHEMES[scheme] or "md5"))
    nginx.configure(
        http=f"""
            log_format user '$status [$remote_user] $request';
            access_log {{dir}}/logs/users.log user;
            wsgi_daemon_process app threads=4 python-path={venv_path};
            wsgi_python_path {venv_path};
            """,
        server=f"""
            wsgi_auth_type {"digest" if SCHEMES[scheme] else "basic"};
            wsgi_auth_name "A project";
            wsgi_auth_user_script {{dir}}/users.py;
            wsgi_param trac.env_path {site};
            wsgi_script_alias / {{dir}}/trac.wsgi {group} "application-group=%{{GLOBAL}}";
            location = /favicon.ico {{ wsgi_auth_type off; empty_gif; }}
            {directives}
            """,
    )
    nginx.start()
    return nginx


def user_log(nginx):
    return (nginx.dir / "logs" / "users.log").read_text().splitlines()


def user_of(page):
    """Whom a page says that it is for, None for anybody."""
    found = re.search(r"logged in as\s*<[^>]*>([^<]*)<", page)
    return found and found.group(1)


def test_clients(trac, scheme):
    option = "--digest" if SCHEMES[scheme] else "--basic"
    status, page = curl(trac, "/wiki", option, "-u", "bob:secret")
    assert (status, user_of(page)) == (200, "bob"), trac.log()
    for user in ("bob:wrong", "bob:", "eve:secret"):
        status, page = curl(trac, "/wiki", option, "-u", user)
        assert status == 401 and "Trac" not in page
    assert curl(trac, "/wiki")[0] == 401
    assert curl(trac, "/wiki", "--basic" if SCHEMES[scheme] else "--digest", "-u", "bob:secret")[0] == 401
    lines = user_log(trac)
    assert "200 [bob] GET /wiki HTTP/1.1" in lines
    assert [line for line in lines if line.startswith("200")] == ["200 [bob] GET /wiki HTTP/1.1"]

    # What bob does is done in his name.
    with requests.Session() as session:
        session.auth = (HTTPDigestAuth if SCHEMES[scheme] else HTTPBasicAuth)("bob", "secret")
        assert user_of(session.get(trac.url + "/wiki/OfBob?action=edit").text) == "bob"
        fields = {
            "__FORM_TOKEN": session.cookies["trac_form_token"],
            "action": "edit",
            "version": "0",
            "text": "Written by the one who is logged in. " * 1000,
            "save": "Submit changes",
        }
        page = session.post(trac.url + "/wiki/OfBob", data=fields)
        assert page.status_code == 200 and "Written by the one" in page.text, page.text
        history = session.get(trac.url + "/wiki/OfBob?action=history").text
        author = re.search(r'<td class="author">(.*?)</td>', history, re.S).group(1)
        assert re.sub("<[^>]*>", "", author).strip() == "bob", author
    assert "303 [bob] POST /wiki/OfBob HTTP/1.1" in user_log(trac)


def test_only_the_login_is_locked(nginx, group, scheme, venv_path, environment):
    """As Trac's handbook has it for Apache: whoever logs in has a cookie for the rest."""
    kind = "digest" if SCHEMES[scheme] else "basic"
    lock = f"location / {{ wsgi_auth_type off; }} location = /login {{ wsgi_auth_type {kind}; }}"
    start(nginx, group, scheme, venv_path, environment, lock)
    jar = nginx.dir / "cookies"
    cookies = ("-L", "-c", jar, "-b", jar)
    status, page = curl(nginx, "/wiki", *cookies)
    assert (status, user_of(page)) == (200, None)
    status, page = curl(nginx, "/login", *cookies, f"--{kind}", "-u", "bob:secret")
    assert (status, user_of(page)) == (200, "bob"), nginx.log()
    status, page = curl(nginx, "/wiki", *cookies)
    assert (status, user_of(page)) == (200, "bob")
    # Credentials that nobody has looked at make no user.
    status, page = curl(nginx, "/wiki", "--basic", "-u", "bob:wrong")
    assert (status, user_of(page)) == (200, None)


def test_browser(nginx, group, scheme, venv_path, environment, tmp_path):
    start(nginx, group, scheme, venv_path, environment, "wsgi_auth_nonce_lifetime 2s;")
    with open_browser(tmp_path) as browser:

        def user():
            return browser.find("#metanav li.first").text

        browser.driver.get(nginx.url.replace("//", "//bob:wrong@") + "/wiki")
        assert "bob" not in browser.find("body").text
        browser.driver.get(nginx.url.replace("//", "//bob:secret@") + "/login")
        assert user() == "logged in as bob", nginx.log()
        browser.click("#mainnav a[href='/timeline']")
        assert user() == "logged in as bob"
        if SCHEMES[scheme]:
            # Younger than the browser's.
            wait_until_stale(nginx, challenge(nginx, "/about"), "/about")
        before = len(user_log(nginx))
        browser.click("#mainnav a[href='/report']")
        assert user() == "logged in as bob"
        assert browser.driver.title.startswith("Available Reports")
    answers = [line for line in user_log(nginx)[before:] if "GET /report " in line]
    expected = ["200 [bob] GET /report HTTP/1.1"]
    if SCHEMES[scheme]:
        expected.insert(0, "401 [-] GET /report HTTP/1.1")
    assert answers == expected


@pytest.mark.parametrize("scheme", ["MD5", "SHA-256"], indirect=True)
def test_nonces(nginx, group, scheme, venv_path, environment):
    start(nginx, group, scheme, venv_path, environment, "wsgi_auth_nonce_lifetime 2s;")
    # The script answers with its hash for the first time.
    assert curl(nginx, "/about", "--digest", "-u", "bob:secret")[0] == 200
    asked = challenge(nginx, "/about")
    assert asked["algorithm"] == scheme

    def ask(uri="/about", **changes):
        status, fields, body = get(nginx.port, "/about", headers=credentials(asked, uri, **changes))
        return status, "stale=true" in fields.get("www-authenticate", ""), user_of(body.decode())

    wait_until_stale(nginx, asked, "/about")
    assert ask(count=1000) == (401, True, None)
    asked = challenge(nginx, "/about")
    assert ask() == (200, False, "bob")
    assert ask() == (401, True, None)
    assert ask(count=2) == (200, False, "bob")
    assert ask(count=3, password="wrong") == (401, False, None)
    assert ask(count=3, nonce="0" * 64) == (401, True, None)
    assert ask(count=3, uri="/wiki")[0] == 400
