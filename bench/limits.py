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


FIGURES = {"cpu_us": "CPU per request", "p99_ms": "99th percentile", "pss": "memory"}
PEERS = {
    "daemon": ("uwsgi", "gunicorn", "granian", "mod_wsgi-daemon"),
    "embedded": ("uwsgi", "gunicorn", "granian", "mod_wsgi-embedded"),
}
# Where clients wait for the server, and not for their own share of the machine's memory bandwidth.
WAITING = ("hello", "sleep", "latency", "slow-readers")
REFERENCE = ("hello", "file", "post-1m", "post-20m", "latency")
# The threads in Apache's processes are eight times as many.
UNEQUAL = {("sleep", "mod_wsgi-embedded")}


def limits_of(workload):
    """No workload costs more than with a peer that is arranged alike, and no client waits longer."""
    for server, peers in PEERS.items():
        for peer in peers:
            if workload not in ("sleep", "slow-readers"):
                yield Limit(workload, server, peer)
            if workload in WAITING and (workload, peer) not in UNEQUAL:
                yield Limit(workload, server, peer, figure="p99_ms")
            if workload == "hello":
                yield Limit(workload, server, peer, figure="pss")
        if workload in REFERENCE:
            yield Limit(workload, server, "nginx", most=None)
