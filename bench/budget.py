"""What one request takes: system calls, and instructions in user space.

Both are counted in two runs of different lengths. The difference divided by the difference of the
numbers of requests has no share of connecting, starting and ending, and hardly changes from run to
run or with what else the machine does.
"""

import os
import re
import signal
import subprocess
from collections import Counter
from dataclasses import replace
from pathlib import Path

from clients import exactly
from compare import takers
from peers import PEERS
from processes import wait_until
from report import table
from servers import Setting, running
from workloads import WORKLOADS

SERVERS = ["daemon", "embedded", "uwsgi", "granian", "nginx"]
SETTING = Setting(workers=1, processes=1)
CONNECTIONS = (1, 64)
# Requests of the two runs, and of those that move many bytes.
LENGTHS, SHORT_LENGTHS = (500, 2500), (20, 100)
TOP = 30
# callgrind_annotate's: "12,345  file:function [object]".
LINE = r"^ *([\d,]+) +[^:\n]+:(.+?)(?: \[([^\]\n]+)\])?$"
OUR_OBJECTS = ("ngx_http_wsgi_module.so", "ngx-wsgi-host")


def run(options, directory):
    return {name: run_workload(WORKLOADS[name], options.server or SERVERS, directory) for name in options.workload}


def run_workload(workload, names, directory):
    peers = takers(workload, names)
    # An application server of its own would have to be run under callgrind as well.
    under_callgrind = [peer for peer in peers if peer.ours or peer.name == "nginx"]
    return {
        "system calls": {peer.name: system_calls(peer, workload, directory) for peer in peers},
        "instructions": {peer.name: instructions(peer, workload, directory) for peer in under_callgrind},
    }


def lengths(workload):
    return LENGTHS if len(workload.expected()) < 10000 and not workload.body else SHORT_LENGTHS


def system_calls(peer, workload, directory):
    """Calls per request by number of connections, role and name."""
    found = {}
    short, long = lengths(workload)
    with running([peer], replace(SETTING, application=workload.application), directory) as [server]:
        for connections in CONNECTIONS:
            exactly(server, workload, 2 * connections, connections)
            few, many = (count_calls(server, workload, connections, requests) for requests in (short, long))
            found[connections] = {}
            for role, calls in many.items():
                calls.subtract(few[role])
                each = ((name, count / (long - short)) for name, count in calls.most_common())
                found[connections][role] = {name: count for name, count in each if count >= 0.005}
    return found


def count_calls(server, workload, connections, requests):
    """Calls of each role while so many requests are made."""
    traces = {role: Trace(server.dir / f"strace {role}", tasks) for role, tasks in tasks_of(server).items()}
    exactly(server, workload, requests, connections)
    return {role: trace.end() for role, trace in traces.items()}


def tasks_of(server):
    """Thread ids by role; the worker's first thread is nginx's event loop, the others run Python."""
    roles = server.roles()
    found = {"event loop": roles["worker"]}
    threads = [int(task) for pid in roles["worker"] for task in os.listdir(f"/proc/{pid}/task") if int(task) != pid]
    if threads:
        found["Python threads"] = threads
    tasks = [int(task) for pid in roles["application"] for task in os.listdir(f"/proc/{pid}/task")]
    if tasks:
        found["application"] = tasks
    return found


class Trace:
    """Counts the system calls of some threads until end()."""

    def __init__(self, output, tasks):
        self.output = output
        which = [f"--attach={task}" for task in tasks]
        self.process = subprocess.Popen(
            ["strace", "--summary-only", "--summary-columns=calls,name", f"--output={output}", *which],
            stderr=subprocess.DEVNULL,
        )
        wait_until(lambda: all(traced(task) for task in tasks), "strace to attach")

    def end(self):
        self.process.send_signal(signal.SIGINT)
        self.process.wait()
        rows = re.findall(r"^ *(\d+) +(\w+)$", self.output.read_text(), re.M)
        return Counter({name: int(calls) for calls, name in rows if name != "total"})


def traced(task):
    return "TracerPid:\t0\n" not in Path(f"/proc/{task}/status").read_text()


def instructions(peer, workload, directory):
    """Instructions per request by role: in all, by object, and of the functions that have most."""
    short, long = lengths(workload)
    few, many = (dumps_of_run(peer, workload, requests, directory) for requests in (short, long))
    found = {}
    for role in many:
        own = grown(few[role], many[role], long - short)
        whole = grown(few[role], many[role], long - short, "--inclusive=yes")
        objects = Counter()
        for (_, name), count in own.items():
            objects[name] += count
        every = sum(own.values())
        # A function that is called inside itself would be counted twice.
        ours = Counter({place: n for place, n in whole.items() if place[1] in OUR_OBJECTS and n <= every})
        found[role] = {
            "all": every,
            "objects": {name: count for name, count in objects.most_common() if count >= 1},
            "functions": top(own),
            "functions with what they call": top(ours),
        }
    return found


def top(functions):
    return [[function, name, count] for (function, name), count in functions.most_common(TOP)]


def dumps_of_run(peer, workload, requests, directory):
    """By role, the files that callgrind leaves of processes which answer so many requests in their life."""
    dumps = directory / f"callgrind-{peer.name}-{workload.name}-{requests}"
    dumps.mkdir()
    # Workers and daemon processes write here as users of their own.
    dumps.chmod(0o777)
    valgrind = ("valgrind", "--tool=callgrind", "--trace-children=yes", "--vgdb=no", "-q")
    under = (*valgrind, f"--callgrind-out-file={dumps}/%p")
    # A random order of dictionaries would make runs differ.
    seed = "wsgi_python_hash_seed 0;" if peer.ours else ""
    setting = replace(SETTING, application=workload.application, under=under, directives=seed)
    with running([peer], setting, directory) as [server]:
        exactly(server, workload, requests, 1)
        roles = server.roles()
    return {role: [dumps / str(pid) for pid in pids] for role, pids in roles.items() if pids}


def grown(few, many, requests, *how):
    """How many instructions the functions of the longer run have more, for each of the requests that it has more."""
    functions = sum((functions_of(dump, *how) for dump in many), Counter())
    functions.subtract(sum((functions_of(dump, *how) for dump in few), Counter()))
    return Counter({place: count / requests for place, count in functions.items()})


def functions_of(dump, *how):
    """Instructions by function and object."""
    join = max if how else sum
    annotated = subprocess.run(
        ["callgrind_annotate", "--threshold=100", "--auto=no", "--show-percs=no", *how, dump],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    found, objects = Counter(), {}
    for count, function, name in re.findall(LINE, annotated, re.M):
        # Recursive calls have names of their own.
        function = re.sub(r"'\d+$", "", function)
        # Where code has been inlined from another file, the object is left out.
        objects[function] = os.path.basename(name) or objects.get(function, "")
        # With what it calls, each of a function's parts has the whole.
        found[function] = join([found[function], int(count.replace(",", ""))])
    return Counter({(function, objects[function]): count for function, count in found.items()})


def markdown(results):
    yield "# What a request takes"
    yield ""
    yield f"One worker, one process, {SETTING.threads} threads."
    for name, found in results.items():
        yield ""
        yield f"## {WORKLOADS[name].title}"
        for connections in CONNECTIONS:
            yield ""
            yield f"### System calls, {connections} connection{'s' * (connections > 1)}"
            yield ""
            yield from table(["", "all", "by name"], calls_rows(found["system calls"], connections))
        for server, roles in found["instructions"].items():
            for role, counts in roles.items():
                yield ""
                yield f"### Instructions, {PEERS[server].title}, {role}: {counts['all']:,.0f}"
                yield from instructions_tables(counts)


def calls_rows(servers, connections):
    for name, found in servers.items():
        for role, calls in found[connections].items():
            each = ", ".join(f"{call} {count:.2f}" for call, count in calls.items())
            yield [f"{PEERS[name].title}: {role}", f"{sum(calls.values()):.2f}", each]


def instructions_tables(counts):
    yield ""
    yield from table(["object", "instructions"], ([name, f"{n:,.0f}"] for name, n in counts["objects"].items()))
    yield ""
    rows = ([f"`{function}`", name, f"{n:,.0f}"] for function, name, n in counts["functions"])
    yield from table(["function, without what it calls", "object", "instructions"], rows)
    if counts["functions with what they call"]:
        yield ""
        rows = ([f"`{function}`", f"{n:,.0f}"] for function, _, n in counts["functions with what they call"])
        yield from table(["function of this module, with what it calls", "instructions"], rows)
