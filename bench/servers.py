"""Starts and stops the peers, each in a directory of its own, and knows their processes."""

import contextlib
import glob
import http.client
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from processes import alive, descendants, reap, wait_until

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
NGINX = os.environ.get("WSGI_NGINX", "/usr/sbin/nginx")
MODULE = ROOT / "build" / "ngx_http_wsgi_module.so"
APACHE = "/usr/sbin/apache2"
APACHE_MODULES = "/usr/lib/apache2/modules"
# One for each connection: Apache closes connections that wait for a request when all threads of a
# process are busy, and their next request is lost.
APACHE_THREADS = 64
USER = "www-data" if os.geteuid() == 0 else None
TICK = os.sysconf("SC_CLK_TCK")
FILE_SIZE = 10 << 20


@dataclass(frozen=True)
class Setting:
    """The size of a server: the same for all that are compared."""

    application: str = "plain"
    workers: int = 2
    processes: int = 2
    threads: int = 8
    worker_connections: int = 1024
    # Further directives for nginx's http block, and a command that the frontend is run under.
    directives: str = ""
    under: tuple = ()


def make_directory():
    """A directory that the servers' user can read, with the applications in it."""
    directory = Path(tempfile.mkdtemp(prefix="wsgi-bench-"))
    directory.chmod(0o755)
    applications = directory / "applications"
    applications.mkdir(mode=0o755)
    for source in (HERE / "applications").glob("*.py"):
        shutil.copy(source, applications)
    (applications / "file.bin").write_bytes(b"x" * FILE_SIZE)
    return directory


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def mod_wsgi():
    """The module that pip has compiled into the environment of the conformance tests."""
    [module] = glob.glob(f"{os.environ['MOD_WSGI']}/lib/python*/site-packages/mod_wsgi/server/mod_wsgi-py*.so")
    return module


def cpu_time(pid):
    """Seconds of CPU time of a process, of its threads that have ended, and of children that it has waited for."""
    # What clock_getcpuclockid() makes of a pid. It has nanoseconds, and /proc/PID/stat only ticks.
    own = time.clock_gettime((~pid << 3) | 2)
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return own + (int(fields[13]) + int(fields[14])) / TICK


class Server:
    """A running peer."""

    def __init__(self, peer, setting, directory):
        self.peer, self.setting = peer, setting
        self.name = peer.name
        self.dir = Path(tempfile.mkdtemp(prefix=f"{peer.name}-", dir=directory))
        self.dir.chmod(0o755)
        self.port = free_port()
        self.values = self.make_values(directory / "applications")
        if USER:
            shutil.chown(self.dir, USER)
        for name, template in peer.files.items():
            (self.dir / name).write_text(self.fill(template))
        self.started = []
        self.roots = []

    def make_values(self, applications):
        setting, venv = self.setting, os.environ["BENCH_VENV"]
        return {
            "dir": self.dir,
            "port": self.port,
            "applications": applications,
            "application": setting.application,
            "workers": setting.workers,
            "processes": setting.processes,
            "threads": setting.threads,
            "worker_connections": setting.worker_connections,
            "directives": setting.directives,
            "descriptors": setting.worker_connections * 2 + 64,
            "user": f"user {USER};" if USER else "",
            "load_module": f"load_module {MODULE};" if self.peer.ours else "",
            "nginx": NGINX,
            "venv": venv,
            "packages": glob.glob(f"{venv}/lib/python*/site-packages")[0],
            "apache": APACHE,
            "apache_modules": APACHE_MODULES,
            "apache_user": f"User {USER}\nGroup {USER}" if USER else "",
            "apache_threads": APACHE_THREADS,
            "apache_request_workers": APACHE_THREADS * setting.workers,
            "mod_wsgi": mod_wsgi() if "apache.conf" in self.peer.files else "",
        }

    def fill(self, text):
        return re.sub(r"@(\w+)@", lambda match: str(self.values[match[1]]), text)

    def start(self):
        """Starts it; wait() says when it serves."""
        before = {process.pid for process in descendants()}
        if self.peer.backend:
            self.spawn(self.peer.backend, USER)
            if self.peer.frontend:
                wait_until((self.dir / "socket").exists, self.said)
        if self.peer.frontend:
            self.spawn(self.setting.under + self.peer.frontend, None)
        if self.peer.ours:
            # The supervisor is nobody's child, so it becomes this process's: it can be told from
            # others' only while nothing else is starting. What answers has been started by then.
            self.wait()
            wait_until(self.answers, self.said, 120)
        mine = [process for process in descendants() if process.pid not in before]
        self.roots = [process.pid for process in mine if process.parent == os.getpid()]

    def spawn(self, command, user):
        identity = {"user": user, "group": user, "extra_groups": []} if user else {}
        with open(self.dir / "output", "ab") as output:
            environment = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "HOME": str(self.dir)}
            self.started.append(
                subprocess.Popen(
                    [self.fill(word) for word in command],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    cwd=self.values["applications"],
                    env=environment,
                    **identity,
                )
            )

    def wait(self):
        """Until it takes connections. One that has ended fails the run."""

        def answers():
            if any(process.poll() is not None for process in self.started):
                raise SystemExit(f"{self.peer.title} did not start:\n{self.said()}")
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                return False
            return True

        wait_until(answers, self.said)

    def answers(self, path="/"):
        """The status of its answer, sooner or later."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        connection.request("GET", path)
        status = connection.getresponse().status
        connection.close()
        return status

    def said(self):
        """The end of what it has logged."""
        texts = [self.dir / name for name in ("output", "error.log")]
        return "".join(path.read_text(errors="replace")[-2000:] for path in texts if path.exists())

    def processes(self):
        """All of its processes: process ids, parents first."""
        return self.roots + [child.pid for root in self.roots for child in descendants(root)]

    def cpu(self):
        """Seconds of CPU time that the server has used so far."""
        return sum(cpu_time(pid) for pid in self.processes())

    def memory(self):
        """Bytes of all processes; what they share is divided among them."""
        return sum(memory(pid)["pss"] for pid in self.processes())

    def roles(self):
        """Process ids of nginx's workers, and of the processes that run the application."""
        frontend = self.started[-1].pid
        workers = [child.pid for child in descendants(frontend)]
        others = [child.pid for root in self.roots if root != frontend for child in [*descendants(root)]]
        return {"worker": workers, "application": others or [root for root in self.roots if root != frontend]}

    def stop(self):
        graceful = {"nginx": signal.SIGQUIT, "uwsgi": signal.SIGINT}
        for process in reversed(self.started):
            if process.poll() is None:
                program = process.args[len(self.setting.under)] if process is self.started[-1] else process.args[0]
                process.send_signal(graceful.get(Path(program).name, signal.SIGTERM))
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                for child in reversed(descendants(process.pid)):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(child.pid, signal.SIGKILL)
                process.kill()
                process.wait()


def memory(pid):
    """Bytes of a process: "pss" with its share of what it shares, "private" without that, "rss" with all of that."""
    with open(f"/proc/{pid}/smaps_rollup") as rollup:
        fields = dict(line.split()[:2] for line in rollup if line.endswith("kB\n"))
    found = {name: int(fields[f"{name.title()}:"]) * 1024 for name in ("pss", "rss")}
    return found | {"private": (int(fields["Private_Clean:"]) + int(fields["Private_Dirty:"])) * 1024}


@contextlib.contextmanager
def running(peers, setting, directory):
    """Starts servers, gives them when all serve, and ends them with everything they have started."""
    servers = []
    try:
        for peer in sorted(peers, key=lambda peer: not peer.ours):
            servers.append(Server(peer, setting, directory))
            servers[-1].start()
        for server in servers:
            server.wait()
        yield sorted(servers, key=lambda server: list(peers).index(server.peer))
    finally:
        roots = [pid for server in servers for pid in server.roots]
        for server in servers:
            server.stop()
        wait_until(lambda: reap() or not any(alive(pid) for pid in roots), lambda: f"the end of {descendants()}")
        for server in servers:
            shutil.rmtree(server.dir)
