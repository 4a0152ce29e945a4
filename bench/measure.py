"""Loads a server with wrk and reads what that cost."""

import contextlib
import json
import resource
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def wrk(server, workload, seconds, connections=None, paths=0):
    """Keeps all connections busy for some seconds; gives requests, rate and percentiles of the latency.

    One thread of wrk is enough for all these servers, and leaves them the most of the machine.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [
            *("wrk", "-t1", f"-c{connections or workload.connections}", f"-d{seconds}s", "--timeout", "60s"),
            *("-s", HERE / "wrk.lua", f"http://127.0.0.1:{server.port}{workload.path}"),
            *("--", workload.method, str(-1 if workload.body is None else workload.body)),
            *(str(workload.headers), str(paths)),
        ],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"{server.peer.title}, {workload.name}: wrk: {done.stdout}{done.stderr}")
    found = json.loads(done.stdout.splitlines()[-1])
    failed = {kind: count for kind, count in found.pop("failed").items() if count}
    if failed:
        raise SystemExit(f"{server.peer.title}, {workload.name}: requests have failed: {failed}\n{server.said()}")
    found["rate"] = found["requests"] / found["seconds"]
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    found["client_cpu_us"] = used / max(found["requests"], 1) * 1e6
    return found


def measure(server, workload, seconds, **load):
    """One measurement: microseconds of CPU time per request of all the server's processes, and what wrk saw."""
    with beside(server, "slow", workload.slow_readers, "/body-1m"):
        before = server.cpu()
        found = wrk(server, workload, seconds, **load)
        used = server.cpu() - before
        found["pss"] = server.memory()
    if not found["requests"]:
        raise SystemExit(f"{server.peer.title} answered no request of {workload.name} in {seconds} s\n{server.said()}")
    found["cpu_us"] = used / found["requests"] * 1e6
    return found


@contextlib.contextmanager
def beside(server, kind, count, path):
    """Other clients of the server: so many slow readers or idle connections."""
    if not count:
        yield
        return
    command = [sys.executable, HERE / "clients.py", kind, str(server.port), str(count), path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as clients:
        try:
            if clients.stdout.readline() != "ready\n":
                raise SystemExit(f"{server.peer.title}: clients could not connect\n{server.said()}")
            yield
            if clients.poll() is not None:
                raise SystemExit(f"{server.peer.title}: clients beside the load ended early")
        finally:
            clients.kill()
