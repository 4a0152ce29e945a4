"""How cost, throughput and memory change with threads, processes, connections and groups."""

import contextlib
import subprocess
import sys
from dataclasses import dataclass, field, replace
from statistics import median

from clients import check, exactly
from measure import beside, measure
from peers import PEERS, Peer
from processes import wait_until
from report import table
from servers import Server, Setting, memory, running
from workloads import WORKLOADS, Workload

SERVERS = ["daemon", "embedded", "uwsgi", "nginx"]
HELLO = WORKLOADS["hello"]
ACTIVE = HELLO.connections
FIGURES = ("cpu_us", "rate", "p50_ms", "p99_ms", "pss")
APPLICATIONS = ("plain", "flask_json", "django_page")
# Seconds for so many connections: opening one may cost as much as some requests.
SECONDS_EACH = 1 / 1000
# How many there are.
GROUPS = (1, 10, 50, 200)


@dataclass
class Point:
    """One row of a table. The first columns are `labels`; what it is compared with is the first row of a series."""

    labels: dict
    peer: Peer
    setting: Setting
    workload: Workload = HELLO
    connections: int = ACTIVE
    # Connections that are held open beside these.
    idle: int = 0
    # Groups that there are, by number of the path's first segment; and how many of them are asked, in turn.
    groups: int = 0
    asked: int = 0
    server: Server | None = None
    # Bytes for each more of what the series is about.
    bytes_each: float | None = None
    rounds: list = field(default_factory=list)

    def measure(self, seconds):
        seconds = max(seconds, round(self.connections * SECONDS_EACH))
        load = {"connections": self.connections, "paths": self.asked}
        self.rounds.append(measure(self.server, self.workload, seconds, **load))

    def row(self, first):
        ratios = (mine["cpu_us"] / firsts["cpu_us"] for mine, firsts in zip(self.rounds, first.rounds))
        figures = {figure: median(entry[figure] for entry in self.rounds) for figure in FIGURES}
        return {**self.labels, **figures, "relative": median(ratios), "bytes_each": self.bytes_each}


def run(options, directory):
    peers = [PEERS[name] for name in options.server or SERVERS]
    results = {}
    for part in options.part:
        results[part] = PARTS[part](peers, options, directory)
        print(f"{part} is done", file=sys.stderr)
    return results


def series(points, options, directory):
    """Rows of points. All servers run at the same time and are measured in turn, round by round: whatever else the
    machine does meets them all, and ratios are taken within rounds."""
    with contextlib.ExitStack() as stack:
        servers = {}
        for point in points:
            key = (id(point.peer), point.setting)
            if key not in servers:
                [servers[key]] = stack.enter_context(running([point.peer], point.setting, directory))
                warm_up(servers[key], point)
            point.server = servers[key]
            if point.idle:
                before = point.server.memory()
                stack.enter_context(beside(point.server, "idle", point.idle, point.workload.path))
                point.bytes_each = (point.server.memory() - before) / point.idle
        for _ in range(options.rounds):
            for point in points:
                point.measure(options.seconds)
    return [point.row(points[0]) for point in points]


def warm_up(server, point):
    expected = point.workload.expected()
    for index in range(point.groups):
        path = f"/{index}{point.workload.path}"
        # Many processes take their time to start.
        wait_until(lambda: server.answers(path) == 200, server.said, 120)
        check(server, replace(point.workload, path=path), expected)
    if not point.groups:
        check(server, point.workload, expected)
        exactly(server, point.workload, 4 * ACTIVE, ACTIVE)


def applications(peers):
    return [peer for peer in peers if peer.name != "nginx"]


def threads(peers, options, directory):
    """One process with 1 to 8 threads; the workload that sleeps shows how many requests run at a time."""
    rows = []
    for name in ("hello", "sleep"):
        for peer in applications(peers):
            workers = 1 if peer.embedded else 2
            points = []
            for number in (1, 2, 4, 8):
                labels = {"server": peer.title, "point": str(number), "workload": name}
                setting = Setting(workers=workers, processes=1, threads=number)
                points.append(Point(labels, peer, setting, WORKLOADS[name]))
            rows += series(points, options, directory)
    return rows


def processes(peers, options, directory):
    """1 to 4 processes with 8 threads."""
    rows = []
    for peer in applications(peers):
        points = []
        for number in (1, 2, 3, 4):
            setting = Setting(workers=number if peer.embedded else 2, processes=number)
            points.append(Point({"server": peer.title, "point": str(number)}, peer, setting))
        rows += series(points, options, directory)
    return rows


def connections(peers, options, directory):
    """64 to 10,000 open connections, of which 64 ask and the others have been answered and wait; then 1 and 10."""
    rows = []
    for peer in (peer for peer in peers if peer.ours or peer.name == "nginx"):
        points = []
        for number in (ACTIVE, 1000, 10000, 1, 10):
            labels = {"server": peer.title, "point": f"{number:,}"}
            active = min(number, ACTIVE)
            setting = Setting(worker_connections=16384)
            # Each with a server of its own.
            points.append(Point(labels, replace(peer), setting, connections=active, idle=number - active))
        rows += series(points, options, directory)
    return rows


def active(peers, options, directory):
    """64 to 10,000 connections that all ask all the time, of a server with 16 threads: the others' requests wait."""
    rows = []
    for peer in (peer for peer in peers if peer.ours or peer.name == "nginx"):
        setting = Setting(worker_connections=32768)
        labels = {"server": peer.title}
        points = [
            Point({**labels, "point": f"{number:,}"}, peer, setting, connections=number)
            for number in (ACTIVE, 1000, 10000)
        ]
        rows += series(points, options, directory)
    return rows


def groups_peer(peer, number, processes):
    """A peer whose server has /0, /1, ... with a group of processes each, or an application group."""
    own = uwsgi_groups if peer.name == "uwsgi" else our_groups
    return own(peer, number, processes)


def our_groups(peer, number, processes):
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


def uwsgi_groups(peer, number, processes):
    """uWSGI has an interpreter for each application that is mounted, and an emperor starts servers."""
    own = ("module", "socket", "master")
    common = [line for line in peer.files["uwsgi.ini"].splitlines() if not line.startswith(own)]
    common += ["manage-script-name = true", "max-apps = 1000"]
    files, conf = {"nginx.conf": peer.files["nginx.conf"]}, ["server {", "listen 127.0.0.1:@port@;"]
    mounts = [f"mount = /{index}=plain.py" for index in range(number)]
    for index in range(number):
        place = f"socket{index}" if processes else "socket"
        conf += [f"location /{index}/ {{", "include /etc/nginx/uwsgi_params;", f"uwsgi_pass unix:@dir@/{place};", "}"]
        if processes:
            files[f"vassal{index}.ini"] = "\n".join([*common, f"socket = @dir@/{place}", mounts[index]])
    # nginx is started when this one is there.
    files["peer.conf"] = "\n".join([*conf, "}"])
    files["uwsgi.ini"] = "\n".join([*common, "master = true", "socket = @dir@/socket", *mounts])
    emperor = ("@venv@/bin/uwsgi", "--master", "--emperor", "@dir@/vassal*.ini", "--socket", "@dir@/socket")
    return replace(peer, files=files, backend=emperor if processes else peer.backend)


def groups(peers, options, directory, processes, threads):
    rows = []
    for peer in peers:
        points = []
        for number in GROUPS:
            kind = groups_peer(peer, number, processes)
            setting = Setting(workers=1 if peer.embedded else 2, processes=1, threads=threads)
            for asked in sorted({1, number}):
                labels = {"server": peer.title, "point": str(number), "asked": str(asked)}
                points.append(Point(labels, kind, setting, groups=number, asked=asked))
        found = series(points, options, directory)
        for number, row in zip((point.groups for point in points), found):
            if number > 1 and row["asked"] != "1":
                row["bytes_each"] = (row["pss"] - found[0]["pss"]) / (number - 1)
        rows += found
    return rows


def application_groups(peers, options, directory):
    """1 to 200 application groups in one process of 8 threads; one of them is asked, or all, one after the other."""
    return groups(applications(peers), options, directory, processes=False, threads=8)


def process_groups(peers, options, directory):
    """1 to 200 groups of one process with 2 threads; one of them is asked, or all, one after the other."""
    return groups([peer for peer in applications(peers) if not peer.embedded], options, directory, True, threads=2)


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
    "active": active,
    "application-groups": application_groups,
    "process-groups": process_groups,
    "memory": idle_memory,
}

COLUMNS = {
    "asked": ("of which are asked", str),
    "workload": ("workload", str),
    "cpu_us": ("CPU per request, µs", "{:,.1f}".format),
    "relative": ("by that of the first", "{:.2f}".format),
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
