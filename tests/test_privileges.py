"""Who the processes are."""

import grp
import json
import os
import pwd
import re
import resource
import signal
import subprocess

import pytest

from client import get
from nginx import IS_ROOT, BINARY

APP = """
    import json, os

    def application(environ, start_response):
        with open('/proc/self/status') as f:
            status = dict(line.rstrip('\\n').split(':\\t', 1) for line in f)
        answer = {
            'uids': list(os.getresuid()), 'gids': list(os.getresgid()), 'groups': sorted(os.getgroups()),
            'cwd': os.getcwd(), 'home': os.environ.get('HOME'), 'caps': int(status['CapPrm'], 16),
        }
        start_response('200 OK', [])
        return [json.dumps(answer).encode()]
    """

needs_root = pytest.mark.skipif(not IS_ROOT, reason="not root: users cannot be switched")


def start(nginx, options):
    nginx.write("app.wsgi", APP)
    nginx.configure(
        http=f"wsgi_daemon_process app threads=1 {options};",
        server="wsgi_script_alias / {dir}/app.wsgi process-group=app;",
    )
    nginx.start()
    status, _, body = get(nginx.port, "/")
    assert status == 200, nginx.log()
    return json.loads(body)


@needs_root
@pytest.mark.parametrize("name", ["nobody", "www-data", "#65534"])
def test_user(nginx, name):
    user = pwd.getpwuid(int(name[1:])) if name.startswith("#") else pwd.getpwnam(name)
    who = start(nginx, f"user={name}")
    assert who["uids"] == [user.pw_uid] * 3
    assert who["gids"] == [user.pw_gid] * 3
    assert set(who["groups"]) | {user.pw_gid} == set(os.getgrouplist(user.pw_name, user.pw_gid))
    assert who["caps"] == 0
    assert who["home"] == user.pw_dir
    assert who["cwd"] == (os.path.realpath(user.pw_dir) if os.path.isdir(user.pw_dir) else "/")


@needs_root
def test_user_and_group(nginx):
    who = start(nginx, "user=nobody group=www-data")
    assert who["gids"] == [grp.getgrnam("www-data").gr_gid] * 3
    assert who["uids"] == [pwd.getpwnam("nobody").pw_uid] * 3
    assert 0 not in who["groups"]


@needs_root
def test_supplementary_groups_of_the_user(nginx):
    """Somebody with more than one group, if the machine has one."""
    for entry in grp.getgrall():
        for name in entry.gr_mem:
            user = pwd.getpwnam(name)
            if user.pw_uid != 0:
                who = start(nginx, f"user={name}")
                assert entry.gr_gid in who["groups"]
                return
    pytest.skip("no user of this machine has a supplementary group")


@needs_root
@pytest.mark.parametrize("option", ["user=root", "user=#0"])
def test_root_is_refused(nginx, option):
    nginx.configure(http=f"wsgi_daemon_process app {option};")
    done = nginx.run("-t")
    assert done.returncode != 0
    assert "root" in done.stderr and "nginx.conf:" in done.stderr, done.stderr


@needs_root
def test_sockets_belong_to_nginx_alone(nginx):
    start(nginx, "user=nobody")
    sockets = nginx.sockets()
    assert len(sockets) == 3, "of the process, and for its successors"
    for found in (socket.stat() for socket in sockets):
        assert found.st_uid == pwd.getpwnam("www-data").pw_uid
        assert found.st_mode & 0o077 == 0


@needs_root
def test_the_masters_secrets_stay_out_of_the_hosts(nginx):
    """Hosts are executed, not forked: no copy of the master's memory, none of its files."""
    start(nginx, "user=nobody")
    for process in nginx.hosts():
        names = process.open_files().values()
        assert not [name for name in names if name.endswith(("access.log", "nginx.pid", "nginx.conf"))], names
        with open(f"/proc/{process.pid}/maps") as maps:
            assert BINARY not in maps.read()


def test_not_root_runs_as_the_starting_user(nginx):
    """Options that need root are passed over, and nginx runs all the same."""
    if not IS_ROOT:
        who = start(nginx, "user=nobody")
        assert who["uids"] == [os.getuid()] * 3
        return
    user = pwd.getpwnam("nobody")
    nginx.write("app.wsgi", APP)
    nginx.configure(
        http="wsgi_daemon_process app threads=1 user=www-data;",
        server="wsgi_script_alias / {dir}/app.wsgi process-group=app;",
    )
    nginx.conf.write_text(nginx.conf.read_text().replace("user www-data;", ""))
    for path in [nginx.dir, *nginx.dir.rglob("*")]:
        os.chown(path, user.pw_uid, user.pw_gid)

    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setgid(user.pw_gid)
            os.setuid(user.pw_uid)
            os.execv(BINARY, nginx.command())
        finally:
            os._exit(127)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, nginx.log()
    nginx.wait_for_port()
    who = json.loads(get(nginx.port, "/")[2])
    assert who["uids"] == [user.pw_uid] * 3
    nginx.send(signal.SIGQUIT)
    nginx.wait_until_gone()


def as_nobody(command):
    """Runs a command as an ordinary user; gives its exit code and what it has said."""
    user = pwd.getpwnam("nobody")
    done = subprocess.run(
        command, user=user.pw_uid, group=user.pw_gid, extra_groups=[], capture_output=True, text=True, timeout=60
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize("option", ["chroot", "root"])
def test_chroot_needs_root(nginx, option):
    nginx.configure(http=f"wsgi_daemon_process app {option}=/tmp;")
    if IS_ROOT:
        for path in [nginx.dir, *nginx.dir.rglob("*")]:
            os.chown(path, pwd.getpwnam("nobody").pw_uid, -1)
        code, said = as_nobody(nginx.command("-t"))
    else:
        done = nginx.run("-t")
        code, said = done.returncode, done.stderr
    assert code != 0
    assert re.search(rf'\[emerg\].*{option} "/tmp": nginx must be started as root in \S+nginx.conf:\d+', said), said


@needs_root
def test_a_limit_that_is_refused_is_a_warning(nginx):
    """The processes have given up root by then, and may not go beyond what they inherit."""
    nginx.write("app.wsgi", APP)
    nginx.configure(
        http="wsgi_daemon_process app threads=1 memory-limit=100g;",
        server="wsgi_script_alias / {dir}/app.wsgi process-group=app;",
    )
    limit = 50 << 30
    done = subprocess.run(
        nginx.command(), preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (limit, limit)), timeout=60
    )
    assert done.returncode == 0, nginx.log()
    nginx.wait_for_port()
    assert get(nginx.port, "/")[0] == 200
    nginx.wait_for_log(
        r"\[warn\].*daemon process group \"app\": cannot set the memory limit to 107374182400: Operation not permitted"
    )
