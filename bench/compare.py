"""Measures all servers with all workloads, interleaved: what changes on the machine meets all of them."""

import sys
import time

from clients import check, exactly
from measure import measure
from peers import PEERS
from servers import Setting, running
from workloads import WORKLOADS


def takers(workload, names):
    """The servers that can do a workload."""
    takes = {name: not PEERS[name].uploads or workload.body is not None for name in names} | {"nginx": workload.reference}
    return [PEERS[name] for name in names if takes[name]]


def compare(names, workloads, rounds, seconds, directory):
    """Figures by workload and server, one for each round."""
    results = {}
    started = time.monotonic()
    for number, name in enumerate(workloads, 1):
        workload = WORKLOADS[name]
        results[name] = compare_one(workload, takers(workload, names), rounds, seconds, directory)
        minutes = (time.monotonic() - started) / 60
        print(f"{number} of {len(workloads)}: {workload.title}, after {minutes:.1f} minutes", file=sys.stderr)
    return results


def compare_one(workload, peers, rounds, seconds, directory):
    expected = workload.expected()
    found = {peer.name: [] for peer in peers}
    # Servers without a past for each workload, so that one workload's memory is not another's.
    with running(peers, Setting(workload.application), directory) as servers:
        for server in servers:
            exactly(server, workload, 4 * workload.connections, workload.connections)
        for _ in range(rounds):
            for server in servers:
                check(server, workload, expected)
                found[server.name].append(measure(server, workload, seconds))
    return found
