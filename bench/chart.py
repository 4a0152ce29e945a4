"""An SVG chart: a panel for each workload, a bar for each server's CPU time per request."""

from html import escape
from statistics import median

from peers import PEERS
from workloads import WORKLOADS

WIDTH, LABELS, BAR, GAP, HEAD = 900, 270, 16, 5, 34
BARS = WIDTH - LABELS - 130
STYLE = (
    "text{font:12px sans-serif;fill:#222}.title{font-weight:bold;font-size:14px}"
    ".ours{fill:#009639}.peer{fill:#8a97a6}.reference{fill:#d5dbe1}.spread{stroke:#222}"
)


def panel(top, name, measured):
    """The elements of a panel, and where the next one begins."""
    title = escape(f"{WORKLOADS[name].title}: µs of CPU time per request")
    yield f'<text class="title" x="0" y="{top + 18}">{title}</text>'
    figures = {server: [entry["cpu_us"] for entry in rounds] for server, rounds in measured.items()}
    scale = BARS / max(max(values) for values in figures.values())
    for number, (server, values) in enumerate(figures.items()):
        y = top + HEAD + number * (BAR + GAP)
        kind = "ours" if PEERS[server].ours else "reference" if server == "nginx" else "peer"
        middle = y + BAR / 2
        low, high = LABELS + min(values) * scale, LABELS + max(values) * scale
        yield f'<text x="{LABELS - 8}" y="{y + 12}" text-anchor="end">{escape(PEERS[server].title)}</text>'
        yield f'<rect class="{kind}" x="{LABELS}" y="{y}" width="{median(values) * scale:.1f}" height="{BAR}"/>'
        yield f'<line class="spread" x1="{low:.1f}" x2="{high:.1f}" y1="{middle}" y2="{middle}"/>'
        yield f'<text x="{high + 8:.1f}" y="{y + 12}">{median(values):,.1f}</text>'


def chart(results):
    """Lines go from the lowest to the highest round."""
    elements, top = [], 0
    for name, measured in results.items():
        elements += panel(top, name, measured)
        top += HEAD + len(measured) * (BAR + GAP) + 20
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-10 0 {WIDTH} {top}" width="{WIDTH}" height="{top}">\n'
        f'<style>{STYLE}</style>\n<rect x="-10" width="{WIDTH}" height="{top}" fill="white"/>\n'
        + "\n".join(elements)
        + "\n</svg>\n"
    )
