"""An nginx with the module, in a directory of its own, on a port of the loopback interface."""

import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import textwrap
from pathlib import Path

from processes import Process, alive, descendants, everybody, reap, wait_until

ROOT = Path(__file__).resolve().parent.parent
BINARY = os.environ.get("WSGI_NGINX", "/usr/sbin/nginx")
MODULE = ROOT / "build" / "ngx_http_wsgi_module.so"
IS_ROOT = os.geteuid() == 0
VALIDATE = os.environ.get("WSGI_VALIDATE") == "1"
VALIDATED = (ROOT / "t" / "lib" / "validated.py").read_text()


def shared_memory():
    """Named shared memory of the machine; browsers that others run make and remove theirs all the time."""
    return {path for path in Path("/dev/shm").glob("*") if "chromium" not in path.name.lower()}


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Nginx:
    def __init__(self):
        # Short, because the paths of unix sockets are. Not private: the groups' users read it.
        self.dir = Path(tempfile.mkdtemp(prefix="wsgi-"))
        self.dir.chmod(0o755)
        (self.dir / "logs").mkdir()
        self.port = free_port()
        self.tls_port = free_port()
        self.conf = self.dir / "nginx.conf"
        self.pid_file = self.dir / "nginx.pid"
        self.error_log = self.dir / "logs" / "error.log"
        self.master = None
        self.has_workers = True
        self.shared_memory = shared_memory()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def write(self, name, text, invalid=None):
        """Writes a file; invalid says why the application in it has to be left out of validate."""
        path = self.dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        if not invalid:
            self.validate(name)
        return path

    def validate(self, name):
        """With WSGI_VALIDATE=1, puts the application in a file inside wsgiref.validate."""
        path = self.dir / name
        text = path.read_text()
        if VALIDATE and re.search(r"^(def )?application\b", text, re.M):
            path.write_text(text + VALIDATED)

    def configure(self, server="", http="", main="", workers=2, master="on", daemon="on"):
        """Writes nginx.conf. {dir} in the texts is the directory."""
        self.has_workers = master == "on"
        texts = [text.replace("{dir}", str(self.dir)) for text in (main, http, server)]
        user = "user www-data;" if IS_ROOT else ""
        temp = "\n".join(
            f"{kind}_temp_path {self.dir}/temp/{kind};"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi", "wsgi")
        )
        (self.dir / "temp").mkdir(exist_ok=True)
        self.conf.write_text(
            f"""
            load_module {MODULE};
            {user}
            worker_processes {workers};
            master_process {master};
            daemon {daemon};
            pid {self.pid_file};
            error_log {self.error_log} info;
            events {{ worker_connections 1024; }}
            {texts[0]}
            http {{
                access_log {self.dir}/logs/access.log;
                {temp}
                {texts[1]}
                server {{
                    listen 127.0.0.1:{self.port};
                    server_name localhost;
                    {texts[2]}
                }}
            }}
            """
        )

    def command(self, *arguments):
        return [BINARY, "-p", str(self.dir), "-e", str(self.error_log), "-c", str(self.conf), *arguments]

    def run(self, *arguments):
        return subprocess.run(self.command(*arguments), capture_output=True, text=True, timeout=60)

    def start(self):
        """Starts it as an administrator does, and waits until it answers."""
        done = self.run()
        assert done.returncode == 0, done.stderr + self.log()
        self.wait_for_port()

    def wait_for_port(self):
        def answers():
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                return False
            return self.pid_file.exists() and self.pid_file.read_text().strip()

        wait_until(answers, lambda: "nginx to answer: " + self.log())
        self.master = int(self.pid_file.read_text())
        # A signal that the master gets before it has workers has no effect until the next one.
        wait_until(lambda: not self.has_workers or self.workers(), lambda: "a worker: " + self.log())

    def send(self, number):
        os.kill(self.master, number)

    def workers(self, master=None):
        return [
            process
            for process in everybody().values()
            if process.parent == (master or self.master)
            and process.title.startswith("nginx: worker process")
            and "shutting down" not in process.title
        ]

    def hosts(self):
        """Every process that runs the host executable: supervisors and daemons."""
        found = []
        for process in descendants():
            try:
                if os.readlink(f"/proc/{process.pid}/exe").startswith(str(MODULE.parent / "ngx-wsgi-host")):
                    found.append(process)
            except OSError:
                pass
        return found

    def supervisors(self):
        hosts = self.hosts()
        pids = {process.pid for process in hosts}
        return [process for process in hosts if process.parent not in pids]

    def daemons(self):
        supervisors = {process.pid for process in self.supervisors()}
        return [process for process in self.hosts() if process.parent in supervisors]

    def sockets(self):
        return [path for path in self.dir.rglob("*") if path.is_socket()]

    def reload(self):
        """Reloads, and waits until the old generation is gone."""
        old = {process.pid for process in self.workers() + self.supervisors()}
        self.send(signal.SIGHUP)
        wait_until(
            lambda: self.workers() and not any(alive(pid) for pid in old),
            lambda: f"the old generation to go: {descendants()}\n{self.log()}",
            seconds=60,
        )

    def stop(self, number=signal.SIGQUIT):
        if self.master and alive(self.master):
            self.send(number)
        self.wait_until_gone()

    def wait_until_gone(self):
        """Nothing that this nginx started is there any more: no process, zombie or socket."""

        def gone():
            reap()
            return not descendants()

        wait_until(gone, lambda: f"every process to end: {descendants()}\n{self.log()}")
        assert self.sockets() == []
        self.master = None

    def log(self):
        return self.error_log.read_text(errors="replace") if self.error_log.exists() else ""

    def wait_for_log(self, pattern, seconds=30):
        return wait_until(
            lambda: re.search(pattern, self.log(), re.M),
            lambda: f"{pattern!r} in the error log:\n{self.log()}",
            seconds,
        )

    def zombies(self):
        """Zombies that are not for the test process to reap."""
        return [p for p in descendants() if p.state == "Z" and p.parent != os.getpid()]

    def end(self):
        """The end of a test, whatever became of it. Leaves nothing; says what it had to kill, and which
        sockets and named shared memory were left. (What has no name went with the processes.)"""
        killed = []
        for number, seconds in ((signal.SIGTERM, 20), (signal.SIGKILL, 20)):
            if number == signal.SIGTERM:
                targets = [self.master] if self.master and alive(self.master) else []
            else:
                targets = [process.pid for process in descendants() if process.state != "Z"]
                killed = [repr(Process(pid)) for pid in targets if alive(pid)]
            for pid in targets:
                try:
                    os.kill(pid, number)
                except ProcessLookupError:
                    pass
            try:
                wait_until(lambda: reap() or not descendants(), "the end", seconds)
                break
            except AssertionError:
                pass
        left = [*self.sockets(), *sorted(shared_memory() - self.shared_memory)]
        log = self.log()
        shutil.rmtree(self.dir, ignore_errors=True)
        return killed, left, log
