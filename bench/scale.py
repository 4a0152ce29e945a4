"""How cost, throughput and memory change with threads, processes, connections and groups."""

import subprocess
import sys
from dataclasses import replace
from statistics import median

from clients import check, exactly
from measure import beside, measure
from peers import PEERS
from report import table
from servers import Setting, memory, running
from workloads import WORKLOADS

SERVERS = ["daemon", "embedded"]
HELLO = WORKLOADS["hello"]
ACTIVE = HELLO.connections
FIGURES = ("cpu_us", "rate", "p50_ms", "p99_ms", "pss")
APPLICATIONS = ("plain", "flask_json", "django_page")


def run(options, directory):
    peers = [PEERS[name] for name in options.server or SERVERS]
    results = {}
    for part in options.part:
        results[part] = PARTS[part](peers, options, directory)
        print(f"{part} is done", file=sys.stderr)
    return results


def medians(server, workload, options, **load):
    rounds = [measure(server, workload, options.seconds, **load) for _ in range(options.rounds)]
    return {figure: median(entry[figure] for entry in rounds) for figure in FIGURES}


def points(peers, options, directory, workload, settings):
    """Rows of figures: each peer with each setting. `settings` gives one for a peer, by what is in the first column."""
    rows = []
    expected = workload.expected()
    for peer in peers:
        for label, setting in settings(peer).items():
            with running([peer], setting, directory) as [server]:
                check(server, workload, expected)
                exactly(server, workload, 4 * ACTIVE, ACTIVE)
                rows.append({"server": peer.title, "point": label, **medians(server, workload, options)})
    return rows


def threads(peers, options, directory):
    """One process with 1 to 8 threads; the workload that sleeps shows how many requests run at a time."""

    def settings(peer):
        workers = 1 if peer.embedded else 2
        return {str(number): Setting(workers=workers, processes=1, threads=number) for number in (1, 2, 4, 8)}

    return [
        {"workload": name, **row}
        for name in ("hello", "sleep")
        for row in points(peers, options, directory, WORKLOADS[name], settings)
    ]


def processes(peers, options, directory):
    """1 to 4 processes with 8 threads."""

    def settings(peer):
        numbers = (1, 2, 3, 4)
        return {str(number): Setting(workers=number if peer.embedded else 2, processes=number) for number in numbers}

    return points(peers, options, directory, HELLO, settings)


def connections(peers, options, directory):
    """1 to 10,000 open connections; 64 of them ask for something, the others have been answered and wait."""
    rows = []
    for peer in peers:
        for number in (1, 10, 100, 1000, 10000):
            active = min(number, ACTIVE)
            with running([peer], Setting(worker_connections=16384), directory) as [server]:
                exactly(server, HELLO, 4 * ACTIVE, ACTIVE)
                before = server.memory()
                with beside(server, "idle", number - active, HELLO.path):
                    grown = server.memory() - before
                    figures = medians(server, HELLO, options, connections=active)
                each = grown / (number - active) if number > active else None
                rows.append({"server": peer.title, "point": f"{number:,}", **figures, "bytes_each": each})
    return rows


def groups_peer(peer, number, processes):
    """A peer of ours whose server has aliases /0, /1, ... with a group of processes each, or an application group."""
    embedded = "process-group=%{GLOBAL}"
    conf = ["wsgi_temp_path @dir@/temp-wsgi;", "wsgi_socket_prefix @dir@/wsgi;", "wsgi_embedded_threads @threads@;"]
    aliases = []
    for index in range(number):
        group = f"process-group=p{index}" if processes else embedded if peer.embedded else "process-group=p0"
        if not peer.embedded and (processes or index == 0):
            conf.append(f"wsgi_daemon_process p{index} processes=1 threads=@threads@;")
        name = "%{GLOBAL}" if processes else f"a{index}"
        aliases.append(f'wsgi_script_alias /{index} @applications@/plain.py "{group}" "application-group={name}";')
    conf += ["server {", "listen 127.0.0.1:@port@;", *aliases, "}"]
    return replace(peer, files={**peer.files, "peer.conf": "\n".join(conf)})


def groups(peers, options, directory, processes, threads):
    rows = []
    for peer in peers:
        first = None
        for number in (1, 10, 50, 100, 200):
            setting = Setting(workers=1 if peer.embedded else 2, processes=1, threads=threads)
            with running([groups_peer(peer, number, processes)], setting, directory) as [server]:
                for index in range(number):
                    check(server, replace(HELLO, path=f"/{index}/hello"), HELLO.expected())
                figures = medians(server, HELLO, options, paths=number)
            first = first or figures
            each = (figures["pss"] - first["pss"]) / (number - 1) if number > 1 else None
            rows.append({"server": peer.title, "point": str(number), **figures, "bytes_each": each})
    return rows


def application_groups(peers, options, directory):
    """1 to 200 application groups in one process of 8 threads; requests go to one after the other."""
    return groups([peer for peer in peers if peer.ours], options, directory, processes=False, threads=8)


def process_groups(peers, options, directory):
    """1 to 200 groups of one process with 2 threads; requests go to one after the other."""
    daemons = [peer for peer in peers if peer.ours and not peer.embedded]
    return groups(daemons, options, directory, processes=True, threads=2)


def idle_memory(peers, options, directory):
    """A process that has loaded the application and waits, and a bare Python that has imported the same."""
    rows = []
    for application in APPLICATIONS:
        rows.append({"server": "bare Python", "point": application, **bare_python(application, directory)})
        for peer in peers:
            if not peer.ours:
                continue
            setting = Setting(application, workers=1, processes=1)
            with running([peer], setting, directory) as [server]:
                roles = server.roles()
                pid = roles["worker" if peer.embedded else "application"][0]
                what = "worker" if peer.embedded else "daemon process"
                rows.append({"server": f"{peer.title}: {what}", "point": application, **memory(pid)})
    return rows


def bare_python(application, directory):
    program = f"import {application}, sys; print('ready', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=directory / "applications",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as python:
        python.stdout.readline()
        found = memory(python.pid)
        python.stdin.close()
    return found


PARTS = {
    "threads": threads,
    "processes": processes,
    "connections": connections,
    "application-groups": application_groups,
    "process-groups": process_groups,
    "memory": idle_memory,
}

COLUMNS = {
    "workload": ("workload", str),
    "cpu_us": ("CPU per request, µs", "{:,.1f}".format),
    "rate": ("requests/s", "{:,.0f}".format),
    "p50_ms": ("p50, ms", "{:.2f}".format),
    "p99_ms": ("p99, ms", "{:.2f}".format),
    "pss": ("PSS, MiB", lambda size: f"{size / 2**20:.1f}"),
    "private": ("private, MiB", lambda size: f"{size / 2**20:.1f}"),
    "rss": ("RSS, MiB", lambda size: f"{size / 2**20:.1f}"),
    "bytes_each": ("KiB for each more", lambda size: "" if size is None else f"{size / 1024:,.1f}"),
}


def markdown(results):
    yield "# Scale"
    for part, rows in results.items():
        yield ""
        yield f"## {part}"
        yield ""
        yield PARTS[part].__doc__
        yield ""
        if not rows:
            yield "Not of these servers."
            continue
        columns = [name for name in COLUMNS if name in rows[0]]
        point = "application" if part == "memory" else part
        cells = ([row["server"], row["point"], *(COLUMNS[name][1](row[name]) for name in columns)] for row in rows)
        yield from table(["", point, *(COLUMNS[name][0] for name in columns)], cells)
