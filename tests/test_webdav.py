"""WsgiDAV, as litmus and curl see it."""

import hashlib
import os
import re
import subprocess

import pytest

from nginx import IS_ROOT

APP = """
    from wsgidav.wsgidav_app import WsgiDAVApp

    application = WsgiDAVApp({
        "provider_mapping": {"/": "{dir}/share"},
        "simple_dc": {"user_mapping": {"*": {"joe": {"password": "secret"}}}},
        "property_manager": True,
        "lock_storage": True,
        "verbose": 1,
    })
    """


# The tests that litmus 0.13 has; later ones have more.
SUITES = {"basic": 16, "copymove": 13, "props": 30, "locks": 41, "http": 4}
LARGE = 100 << 20


@pytest.fixture
def dav(nginx, group, venv_path):
    (nginx.dir / "share").mkdir()
    if IS_ROOT:
        subprocess.run(["chown", "www-data:", nginx.dir / "share"], check=True)
    nginx.write("dav.wsgi", APP.replace("{dir}", str(nginx.dir)))
    # Locks and properties are in the memory of one process.
    nginx.configure(
        http=f"""
            wsgi_daemon_process app processes=1 threads=8 python-path={venv_path};
            wsgi_python_path {venv_path};
            """,
        server=f"""
            client_max_body_size 1g;
            wsgi_chunked_request on;
            wsgi_pass_authorization on;
            wsgi_script_alias / {{dir}}/dav.wsgi {group} "application-group=%{{GLOBAL}}";
            location /streamed {{ wsgi_request_buffering off; wsgi_buffering off; }}
            """,
        workers=1,
    )
    nginx.start()
    return nginx


@pytest.fixture
def curl(dav, tmp_path):
    """Runs curl in a folder of its own; gives the status, and what it says with --verbose."""

    def run(method, path, *options):
        done = subprocess.run(
            ["curl", "--disable", "--noproxy", "*", "--verbose", "--silent", "--show-error"]
            + ["--max-time", "120", "--user", "joe:secret", "--request", method, "--output", "answer"]
            + ["--write-out", "%{http_code}", *options, dav.url + path],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=150,
        )
        assert done.returncode == 0, done.stderr
        return int(done.stdout), done.stderr

    return run


def digest(path):
    found = hashlib.sha256()
    with open(path, "rb") as f:
        while block := f.read(1 << 20):
            found.update(block)
    return found.digest()


def test_litmus(dav, tmp_path):
    done = subprocess.run(
        ["litmus", "-k", dav.url + "/", "joe", "secret"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    summaries = re.findall(r"summary for `(\w+)': of (\d+) tests run: (\d+) passed", done.stdout)
    assert all(run == passed for _, run, passed in summaries), done.stdout
    passed = {suite: int(passed) for suite, _, passed in summaries}
    assert all(passed.get(suite, 0) >= least for suite, least in SUITES.items()), done.stdout
    assert done.returncode == 0, done.stdout + done.stderr


def test_without_credentials(dav, curl):
    status, said = curl("PROPFIND", "/", "--user", "joe:wrong")
    assert status == 401
    assert re.search(r"^< WWW-Authenticate: (Basic|Digest) ", said, re.M)


@pytest.mark.parametrize("folder", ["buffered", "streamed"])
def test_large_files(dav, curl, tmp_path, folder):
    block = os.urandom(1 << 20)
    with open(tmp_path / "large", "wb") as f:
        for _ in range(LARGE >> 20):
            f.write(block)
    share = dav.dir / "share" / folder
    assert curl("MKCOL", f"/{folder}")[0] == 201

    status, said = curl("PUT", f"/{folder}/large", "--upload-file", "large", "--header", "Expect: 100-continue")
    assert status == 201, dav.log()
    assert "< HTTP/1.1 100 " in said
    assert digest(share / "large") == digest(tmp_path / "large")
    assert curl("GET", f"/{folder}/large")[0] == 200
    assert digest(tmp_path / "answer") == digest(tmp_path / "large")
    assert curl("GET", f"/{folder}/large", "--range", "1000000-1999999")[0] == 206
    assert (tmp_path / "answer").read_bytes() == (block * 2)[1_000_000:2_000_000]

    # Over an existing file, and in chunks.
    status, said = curl("PUT", f"/{folder}/large", "--upload-file", "large", "--header", "Transfer-Encoding: chunked")
    assert status == 204
    assert "> Content-Length:" not in said
    assert digest(share / "large") == digest(tmp_path / "large")

    destination = f"Destination: {dav.url}/{folder}/copy"
    assert curl("COPY", f"/{folder}/large", "--header", destination)[0] == 201
    assert digest(share / "copy") == digest(tmp_path / "large")
    assert curl("MOVE", f"/{folder}/copy", "--header", destination.replace("copy", "moved"))[0] == 201
    assert sorted(path.name for path in share.iterdir()) == ["large", "moved"]
    assert curl("DELETE", f"/{folder}")[0] == 204
    assert not share.exists()


def test_a_lock_keeps_others_out(dav, curl, tmp_path):
    (tmp_path / "lock").write_text(
        '<?xml version="1.0" encoding="utf-8"?><D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/>'
        "</D:lockscope><D:locktype><D:write/></D:locktype><D:owner>Grüße</D:owner></D:lockinfo>"
    )
    (tmp_path / "text").write_text("text")
    assert curl("PUT", "/file", "--upload-file", "text")[0] == 201
    status, said = curl("LOCK", "/file", "--header", "Timeout: Second-600", "--data-binary", "@lock")
    assert status == 200
    assert "Grüße" in (tmp_path / "answer").read_text()
    token = re.search(r"^< Lock-Token: (<.*>)", said, re.M).group(1)
    assert curl("PUT", "/file", "--upload-file", "text")[0] == 423
    assert curl("DELETE", "/file")[0] == 423
    assert curl("PUT", "/file", "--upload-file", "text", "--header", f"If: ({token})")[0] == 204
    assert curl("UNLOCK", "/file", "--header", f"Lock-Token: {token}")[0] == 204
    assert curl("DELETE", "/file")[0] == 204
