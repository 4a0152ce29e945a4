"""What a request may cost here, as a ratio to what it costs a peer."""

from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Limit:
    """A figure of one server divided by that of another, round by round; the median may be at most `most`.

    Without `most` the ratio is only reported.
    """

    workload: str
    server: str
    peer: str
    most: float | None = 1.0
    figure: str = "cpu_us"

    def ratio(self, results):
        """None when one of both has not been measured."""
        measured = results.get(self.workload, {})
        if self.server not in measured or self.peer not in measured:
            return None
        pairs = zip(measured[self.server], measured[self.peer])
        return median(mine[self.figure] / theirs[self.figure] for mine, theirs in pairs)


FIGURES = {
    "cpu_us": "CPU per request",
    "p50_ms": "median latency",
    "p99_ms": "99th percentile",
    "pss": "memory",
}
# Of each workload: at most so many times a peer's CPU time, in daemon and in embedded mode.
COST = {
    "hello": [("granian", 0.75, 0.75), ("uwsgi", 0.30, 0.30)],
    "environ": [("granian", 0.60, 0.55)],
    "flask": [("granian", 0.75, 0.70)],
    "django": [("granian", 0.90, 0.90)],
    "body-64k": [("granian", 0.75, 0.75)],
    "body-1m": [("granian", 0.75, 0.75)],
    "file": [("nginx", 1.15, 1.15)],
    "post-1m": [("granian", 0.70, 0.70)],
    "post-20m": [("nginx", 1.10, 1.10)],
    "blocks": [("uwsgi", 0.80, 0.80)],
    "flushed-blocks": [("uwsgi", 0.80, 0.80)],
    "sleep": [("granian", 0.70, 0.70)],
    "slow-readers": [("granian", 0.75, 0.75)],
    "latency": [("granian", 0.75, 0.75)],
}
# The same without threads, where an application that never waits may cost little more than what it runs in.
INLINE = {
    "hello": [("nginx", 1.5)],
    "flask": [("bjoern-alone", 1.15)],
}
# Ahead of Apache in every row.
APACHE = {"daemon": "mod_wsgi-daemon", "embedded": "mod_wsgi-embedded"}


def limits_of(workload):
    """What the project promises of a workload; a figure without a promise is only reported."""
    for column, server in enumerate(("daemon", "embedded")):
        for peer, *most in COST.get(workload, []):
            yield Limit(workload, server, peer, most[column])
        yield Limit(workload, server, APACHE[server])
        if workload.startswith("post-"):
            # Apache keeps no body before the application runs.
            yield Limit(workload, f"{server}-unbuffered", APACHE[server])
        if workload == "latency":
            yield Limit(workload, server, "granian", figure="p50_ms")
        if workload == "hello":
            yield from (Limit(workload, server, peer, None, "pss") for peer in ("uwsgi", "granian"))
    yield from (Limit(workload, "inline", peer, most) for peer, most in INLINE.get(workload, []))
