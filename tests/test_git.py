"""git servers that are WSGI applications, and git as their client, with 100 MiB that don't compress."""

import os
import signal
import subprocess
import threading

import pytest

from nginx import IS_ROOT
from processes import descendants, reap, wait_until

SIZE, FILES = 100 << 20, 100
COMMITS = 60
# Buffers, and Python with its modules; not the 100 MiB.
MEMORY = 48 << 20

DULWICH = """
    from dulwich.repo import Repo
    from dulwich.server import DictBackend
    from dulwich.web import make_wsgi_chain

    chain = make_wsgi_chain(DictBackend({f"/{name}": Repo(f"{dir}/srv/{name}") for name in ("large", "small")}))

    def application(environ, start_response):
        # It would take chunks apart that the server has taken apart.
        environ.pop("HTTP_TRANSFER_ENCODING", None)
        return chain(environ, start_response)
    """

# The CGI program that comes with git.
HTTP_BACKEND = """
    import os, shutil, subprocess

    def application(environ, start_response):
        kept = {k: v for k, v in environ.items() if type(v) is str and "." not in k}
        kept.update(PATH=os.defpath, GIT_PROJECT_ROOT="{dir}/srv", GIT_HTTP_EXPORT_ALL="1", REMOTE_USER="joe")
        if "HTTP_GIT_PROTOCOL" in environ:
            kept["GIT_PROTOCOL"] = environ["HTTP_GIT_PROTOCOL"]
        process = subprocess.Popen(
            ["git", "http-backend"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=kept
        )
        with process.stdin:
            shutil.copyfileobj(environ["wsgi.input"], process.stdin)
        status, headers = "200 OK", []
        while line := process.stdout.readline().rstrip().decode():
            name, value = line.split(": ", 1)
            if name == "Status":
                status = value
            else:
                headers.append((name, value))
        start_response(status, headers)
        return answer(process)

    def answer(process):
        with process:
            while block := process.stdout.read1(1 << 16):
                yield block
    """

SERVERS = {
    "dulwich": (DULWICH, ""),
    "http-backend": (HTTP_BACKEND, ""),
    "http-backend-streamed": (HTTP_BACKEND, "wsgi_request_buffering off; wsgi_buffering off;"),
}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("git")


class Git:
    """git with settings of its own."""

    # The server's user owns its repositories; and random bytes are not worth packing well.
    SETTINGS = ["safe.directory=*", "core.compression=0", "core.bigFileThreshold=256k"]

    def __init__(self, home):
        self.environ = {
            "PATH": os.defpath,
            "HOME": str(home),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_AUTHOR_NAME": "a",
            "GIT_AUTHOR_EMAIL": "a@localhost",
            "GIT_COMMITTER_NAME": "a",
            "GIT_COMMITTER_EMAIL": "a@localhost",
        }

    def start(self, directory, *arguments):
        settings = [word for setting in self.SETTINGS for word in ("-c", setting)]
        return subprocess.Popen(
            ["git", *settings, *map(str, arguments)],
            cwd=directory,
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def __call__(self, directory, *arguments):
        """Gives what it prints."""
        with self.start(directory, *arguments) as process:
            out, err = process.communicate(timeout=300)
        assert process.returncode == 0, (arguments, out, err)
        return out.strip()


@pytest.fixture(scope="module")
def git(home):
    return Git(home)


@pytest.fixture(scope="module")
def large(git, home):
    """A repository of 100 MiB."""
    git(home, "init", "--initial-branch=main", "large")
    for number in range(FILES):
        (home / "large" / f"file{number}").write_bytes(os.urandom(SIZE // FILES))
    git(home / "large", "add", ".")
    git(home / "large", "commit", "--message=large")
    return home / "large"


@pytest.fixture(scope="module")
def small(git, home):
    """One of many commits, each with a tag."""
    git(home, "init", "--initial-branch=main", "small")
    for number in range(COMMITS):
        git(home / "small", "commit", "--allow-empty", f"--message=commit {number}")
        git(home / "small", "tag", f"tag{number}")
    return home / "small"


@pytest.fixture(params=list(SERVERS))
def server(request, nginx, group, venv_path, git):
    app, settings = SERVERS[request.param]
    for name in "large", "small":
        git(nginx.dir, "init", "--bare", "--initial-branch=main", nginx.dir / "srv" / name)
    if IS_ROOT:
        subprocess.run(["chown", "-R", "www-data:", nginx.dir / "srv"], check=True)
    nginx.write("git.wsgi", app.replace("{dir}", str(nginx.dir)))
    nginx.configure(
        http=f"""
            wsgi_daemon_process app processes=1 threads=4 python-path={venv_path};
            wsgi_python_path {venv_path};
            log_format facts "$request_method $uri $status [$http_transfer_encoding] [$http_content_encoding]";
            """,
        server=f"""
            access_log {{dir}}/logs/facts.log facts;
            client_max_body_size 0;
            wsgi_chunked_request on;
            {settings}
            wsgi_script_alias / {{dir}}/git.wsgi {group} "application-group=%{{GLOBAL}}";
            """,
        workers=1,
    )
    nginx.start()
    nginx.facts = (nginx.dir / "logs" / "facts.log").read_text
    return nginx


class Memory:
    """The most memory that a worker or a process with Python has of its own, files left out."""

    def __init__(self, nginx):
        self.pids = [process.pid for process in nginx.workers() + nginx.hosts()]
        self.most, self.stopped = 0, threading.Event()
        self.thread = threading.Thread(target=self.work)

    def work(self):
        while not self.stopped.wait(0.05):
            self.most = max(self.most, *map(self.anonymous, self.pids))

    def anonymous(self, pid):
        with open(f"/proc/{pid}/smaps_rollup") as smaps:
            return next(int(line.split()[1]) << 10 for line in smaps if line.startswith("Anonymous:"))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        self.thread.join()


def test_large(server, git, large, tmp_path):
    url, clone = f"{server.url}/large", tmp_path / "clone"
    assert git(large, "ls-remote", url) == ""
    with Memory(server) as pushing:
        git(large, "push", url, "main")
    wait_until(lambda: "POST /large/git-receive-pack 200 [chunked]" in server.facts(), server.facts)
    with Memory(server) as cloning:
        git(tmp_path, "clone", url, clone)
    print(f"at most {pushing.most >> 20} MiB for a push, {cloning.most >> 20} for a clone")
    for number in range(FILES):
        assert (clone / f"file{number}").read_bytes() == (large / f"file{number}").read_bytes()
    for repository in clone, server.dir / "srv" / "large":
        git(repository, "fsck", "--full")
    assert 0 < pushing.most < MEMORY and 0 < cloning.most < MEMORY

    # The client goes in the middle of it: nothing goes on working for it.
    with git.start(tmp_path, "clone", "--bare", url, "given-up") as client:
        pack = tmp_path / "given-up" / "objects" / "pack"
        wait_until(lambda: any(path.stat().st_size > SIZE >> 4 for path in pack.glob("tmp_*")), "a part of it")
        os.killpg(client.pid, signal.SIGKILL)
        client.communicate()
    wait_until(
        lambda: reap() or not [process for process in descendants() if process.name.startswith("git")],
        lambda: f"the end of git: {descendants()}",
    )
    for _ in range(6):
        assert git(clone, "ls-remote", "origin").endswith("refs/heads/main")


def test_small(server, git, small, tmp_path):
    url, clone, shallow = f"{server.url}/small", tmp_path / "clone", tmp_path / "shallow"
    git(small, "push", url, "main~1:refs/heads/main")
    git(tmp_path, "clone", url, clone)
    git(small, "push", "--tags", url, "main")
    head = git(small, "rev-parse", "main")
    tags = {f"refs/tags/tag{n}": git(small, "rev-parse", f"tag{n}") for n in range(COMMITS)}
    advertised = git(clone, "ls-remote", "origin").splitlines()
    assert {name: id for id, name in map(str.split, advertised)} == {"HEAD": head, "refs/heads/main": head, **tags}
    assert git(clone, "rev-list", "--count", "origin/main") == str(COMMITS - 1)
    git(clone, "fetch", "--tags")
    assert git(clone, "rev-parse", "origin/main") == head

    # So many wants make a request that git compresses.
    git(tmp_path, "init", "wants")
    git(tmp_path / "wants", "fetch", url, "refs/tags/*:refs/tags/*")
    wait_until(lambda: "POST /small/git-upload-pack 200 [-] [gzip]" in server.facts(), server.facts)

    git(tmp_path, "clone", "--depth=1", url, shallow)
    assert git(shallow, "rev-list", "--count", "HEAD") == "1"
    git(shallow, "fetch", "--unshallow")
    assert git(shallow, "rev-list", "--count", "HEAD") == str(COMMITS)

    git(clone, "reset", "--hard", "origin/main")
    git(clone, "commit", "--allow-empty", "--message=one more")
    git(clone, "push", url, "HEAD:refs/heads/main", ":refs/tags/tag0")
    git(shallow, "pull")
    assert git(shallow, "rev-parse", "HEAD") == git(clone, "rev-parse", "HEAD")
    assert git(shallow, "ls-remote", "--tags", url).count("refs/tags/") == COMMITS - 1

    for repository in clone, shallow, tmp_path / "wants", server.dir / "srv" / "small":
        git(repository, "fsck", "--full")
