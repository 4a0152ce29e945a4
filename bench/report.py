"""What was measured, as Markdown and JSON."""

import json
import os
import platform
import re
import subprocess
from importlib.metadata import version
from pathlib import Path
from statistics import median

from limits import FIGURES, limits_of
from peers import PEERS
from servers import APACHE, NGINX, ROOT, Setting
from workloads import WORKLOADS

OUTPUT = ROOT / "build" / "bench"


def machine():
    """What the figures depend on."""
    with open("/proc/cpuinfo") as cpuinfo:
        model = re.search(r"model name\s*:\s*(.*)", cpuinfo.read())
    commit = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty"], capture_output=True, text=True)
    nginx = subprocess.run([NGINX, "-v"], capture_output=True, text=True).stderr
    apache = subprocess.run([APACHE, "-v"], capture_output=True, text=True).stdout
    packages = ("uwsgi", "gunicorn", "granian", "bjoern", "flask", "django")
    return {
        "cpu": model.group(1) if model else platform.machine(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "ngx-wsgi": commit.stdout.strip(),
        "nginx": nginx.strip().rpartition("/")[2],
        "apache": re.search(r"Apache/(\S+)", apache).group(1),
        "mod_wsgi": mod_wsgi_version(),
        "python": platform.python_version(),
        **{package: version(package) for package in packages},
    }


def mod_wsgi_version():
    [found] = Path(os.environ["MOD_WSGI"]).glob("lib/python*/site-packages/mod_wsgi-*.dist-info")
    return found.stem.partition("-")[2]


def table(head, rows):
    """Lines of a Markdown table; all columns but the first are numbers."""
    yield "| " + " | ".join(head) + " |"
    yield "|---" + "|---:" * (len(head) - 1) + "|"
    for row in rows:
        yield "| " + " | ".join(row) + " |"


def spread(values, form):
    return f"{min(values):{form}} to {max(values):{form}}"


def workload_table(measured):
    ours = [name for name in measured if PEERS[name].ours]
    head = ["", "CPU per request, µs", "lowest to highest", "requests/s", "p50, ms", "p99, ms", "memory, MiB"]
    head += [f"CPU of {name} / this" for name in ours]

    def row(name, rounds):
        column = {figure: [entry[figure] for entry in rounds] for figure in rounds[0]}
        cells = [
            PEERS[name].title,
            f"{median(column['cpu_us']):,.1f}",
            spread(column["cpu_us"], ",.1f"),
            f"{median(column['rate']):,.0f}",
            f"{median(column['p50_ms']):.2f}",
            f"{median(column['p99_ms']):.2f}",
            f"{median(column['pss']) / 2**20:.1f}",
        ]
        for mine in ours:
            pairs = zip(measured[mine], rounds)
            ratio = median(one["cpu_us"] / other["cpu_us"] for one, other in pairs)
            cells.append("" if mine == name else f"{ratio:.2f}")
        return cells

    return table(head, (row(name, rounds) for name, rounds in measured.items()))


def limits_table(results):
    rows = []
    for limit in (limit for workload in results for limit in limits_of(workload)):
        ratio = limit.ratio(results)
        if ratio is None:
            continue
        most, verdict = "", ""
        if limit.most is not None:
            most, verdict = f"{limit.most:.2f}", "passed" if ratio <= limit.most else "**missed**"
        what = f"{WORKLOADS[limit.workload].title}: {FIGURES[limit.figure]}, {limit.server}"
        rows.append([what, PEERS[limit.peer].title, f"{ratio:.2f}", most, verdict])
    return table(["", "divided by that of", "ratio", "at most", ""], rows)


def markdown(facts, options, results):
    setting = Setting()
    yield "# Costs of a request"
    yield ""
    yield f"{facts['cpu']}, {facts['cores']} cores, Linux {facts['kernel']}. " + ", ".join(
        f"{name} {facts[name]}" for name in facts if name not in ("cpu", "cores", "kernel")
    ) + "."
    yield ""
    yield (
        f"{setting.workers} workers of nginx or Apache, {setting.processes} processes with {setting.threads} threads. "
        f"Medians of {options['rounds']} round{'s' * (options['rounds'] > 1)} of {options['seconds']} s. "
        "How it is done: docs/benchmarks.md."
    )
    for name, measured in results.items():
        workload = WORKLOADS[name]
        yield ""
        yield f"## {workload.title}"
        yield ""
        yield f"`{name}`, {workload.connections} connection{'s' * (workload.connections > 1)}."
        yield ""
        yield from workload_table(measured)
    yield ""
    yield "## Limits"
    yield ""
    yield from limits_table(results)


def save(name, facts, options, results, lines):
    """Prints the report and leaves it in build/bench/, beside the figures."""
    OUTPUT.mkdir(parents=True, exist_ok=True)
    text = "\n".join(lines) + "\n"
    (OUTPUT / f"{name}.md").write_text(text)
    document = {"machine": facts, "options": options, "results": results}
    (OUTPUT / f"{name}.json").write_text(json.dumps(document, indent=1) + "\n")
    print(text)
    print(OUTPUT / f"{name}.md")
