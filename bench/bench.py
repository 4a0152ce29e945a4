"""Measures requests a second, and the CPU time that the servers' processes take for one.

Every server answers 13 bytes, with the same number of nginx workers, processes and threads. The
servers run at the same time and are measured one after the other, round by round, so that a change
of the machine's mood meets all of them. wrk keeps its connections open.
"""

import argparse
import json
import os
import platform
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from processes import become_subreaper, descendants, reap, wait_until  # noqa: E402

NGINX = os.environ.get("WSGI_NGINX", "/usr/sbin/nginx")
TICK = os.sysconf("SC_CLK_TCK")

APP = """
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain'), ('Content-Length', '13')])
    return [b'Hello, World!']
"""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    """An nginx, and what else answers for it."""

    def __init__(self, name, directory, http, server, load_module=False, beside=None):
        self.name, self.dir = name, directory
        others = {process.pid for process in descendants()}
        self.port = free_port()
        self.beside = subprocess.Popen(beside, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) if beside else None
        user = "user www-data;" if os.geteuid() == 0 else ""
        module = f"load_module {ROOT}/build/ngx_http_wsgi_module.so;" if load_module else ""
        kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] + ["wsgi"] * load_module
        temp = "\n".join(f"{kind}_temp_path {directory}/temp-{kind};" for kind in kinds)
        (directory / "nginx.conf").write_text(
            f"""
            {module} {user}
            daemon off; worker_processes 1; pid {directory}/nginx.pid; error_log {directory}/error.log warn;
            events {{ worker_connections 1024; }}
            http {{
                access_log off; keepalive_requests 100000000; {temp}
                {http}
                server {{ listen 127.0.0.1:{self.port}; {server} }}
            }}
            """
        )
        command = [NGINX, "-p", directory, "-e", directory / "error.log", "-c", directory / "nginx.conf"]
        self.nginx = subprocess.Popen(command)
        wait_until(self.answers, lambda: f"{name}: " + (directory / "error.log").read_text())
        # A supervisor is nobody's child, so it has become this process's.
        self.roots = [p.pid for p in descendants() if p.parent == os.getpid() and p.pid not in others]

    def answers(self):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=5) as answer:
                return answer.read() == b"Hello, World!"
        except OSError:
            return False

    def processes(self):
        return self.roots + [child.pid for root in self.roots for child in descendants(root)]

    def cpu(self):
        """Seconds that the processes have used."""
        ticks = 0
        for pid in self.processes():
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / TICK

    def stop(self):
        for process, number in ((self.nginx, signal.SIGQUIT), (self.beside, signal.SIGINT)):
            if process:
                process.send_signal(number)
                process.wait(60)


def servers(directory, options):
    def place(name):
        path = directory / name
        path.mkdir()
        path.chmod(0o755)
        (path / "app.wsgi").write_text(APP)
        return path

    size = {"processes": options.processes, "threads": options.threads}
    daemon, embedded, uwsgi = place("daemon"), place("embedded"), place("uwsgi")
    yield Server(
        "ngx-wsgi, daemon",
        daemon,
        "wsgi_daemon_process app processes={processes} threads={threads};".format(**size),
        f'wsgi_script_alias / {daemon}/app.wsgi process-group=app "application-group=%{{GLOBAL}}";',
        load_module=True,
    )
    yield Server(
        "ngx-wsgi, embedded",
        embedded,
        "wsgi_embedded_threads {threads};".format(**size),
        f'wsgi_script_alias / {embedded}/app.wsgi "application-group=%{{GLOBAL}}";',
        load_module=True,
    )
    beside = [os.environ["UWSGI"], "--socket", uwsgi / "socket", "--chmod-socket=666", "--master", "--need-app"]
    beside += ["--wsgi-file", uwsgi / "app.wsgi", "--disable-logging", "--listen", "100"]
    beside += ["--processes", str(options.processes), "--threads", str(options.threads)]
    yield Server(
        "nginx + uWSGI",
        uwsgi,
        "",
        f"location / {{ uwsgi_pass unix:{uwsgi}/socket; include /etc/nginx/uwsgi_params; }}",
        beside=beside,
    )


def load(server, options, seconds):
    before = server.cpu()
    done = subprocess.run(
        ["wrk", "-t1", f"-c{options.connections}", f"-d{seconds}s", f"http://127.0.0.1:{server.port}/"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    used = server.cpu() - before
    requests = int(re.search(r"(\d+) requests in", done).group(1))
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", done).group(1))
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)|Socket errors:.*", done)
    if bad:
        sys.exit(f"{server.name}: {bad.group()}")
    return {"cpu_us": used / requests * 1e6, "rate": rate}


def machine():
    with open("/proc/cpuinfo") as cpuinfo:
        model = re.search(r"model name\s*:\s*(.*)", cpuinfo.read())
    return {
        "cpu": model.group(1) if model else platform.machine(),
        "cores": os.cpu_count(),
        "nginx": subprocess.run([NGINX, "-v"], capture_output=True, text=True).stderr.strip().split("/")[-1],
        "python": platform.python_version(),
        "uwsgi": subprocess.run([os.environ["UWSGI"], "--version"], capture_output=True, text=True).stdout.strip(),
    }


def report(results, options):
    facts = machine()
    print(f"\n{facts['cpu']}, {facts['cores']} cores; nginx {facts['nginx']}, Python {facts['python']},")
    print(f"uWSGI {facts['uwsgi']}. One nginx worker, {options.processes} processes x {options.threads} threads,")
    print(f"{options.connections} connections, median of {options.rounds} rounds of {options.seconds} s.\n")
    print("| | CPU per request | lowest to highest | requests/s |")
    print("|---|---:|---:|---:|")
    for name, rounds in results.items():
        cpu = [entry["cpu_us"] for entry in rounds]
        rate = statistics.median(entry["rate"] for entry in rounds)
        print(f"| {name} | {statistics.median(cpu):.1f} us | {min(cpu):.1f} to {max(cpu):.1f} | {rate:.0f} |")
    output = ROOT / "build" / "bench.json"
    output.write_text(json.dumps({"machine": facts, "options": vars(options), "results": results}, indent=1))
    print(f"\n{output}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--threads", type=int, default=4)
    options = parser.parse_args()

    become_subreaper()
    directory = Path(tempfile.mkdtemp(prefix="wsgi-bench-", dir="/tmp"))
    directory.chmod(0o755)
    running = []
    try:
        for server in servers(directory, options):
            running.append(server)
        for server in running:
            load(server, options, 1)
        results = {server.name: [] for server in running}
        for number in range(options.rounds):
            for server in running:
                results[server.name].append(load(server, options, options.seconds))
            print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
        report(results, options)
    finally:
        for server in running:
            server.stop()
        wait_until(lambda: reap() or not descendants(), lambda: f"the end of {descendants()}")
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
