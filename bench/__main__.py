"""Measures what requests cost this module and its peers, all in one run on this machine.

    bench/run [compare]     CPU time, throughput, latency and memory beside the peers
    bench/run scale         how that changes with threads, processes, connections and groups
    bench/run budget        system calls and instructions of one request
"""

import argparse
import resource
import shutil
import signal
import sys

import budget
import scale
from chart import chart
from compare import compare, takers
from peers import PEERS
from processes import become_subreaper, descendants, reap, wait_until
from report import OUTPUT, machine, markdown, save
from servers import make_directory
from workloads import WORKLOADS

QUICK = ["daemon", "embedded", "uwsgi", "gunicorn", "mod_wsgi-daemon", "mod_wsgi-embedded", "granian", "nginx"]


def names(known):
    def parse(text):
        chosen = text.split(",")
        for name in chosen:
            if name not in known:
                raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(known)}")
        return chosen

    return parse


def some(known):
    return "some of " + ",".join(known)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=["compare", "scale", "budget"], default="compare")
    parser.add_argument("--server", type=names(PEERS), help=some(PEERS))
    parser.add_argument("--workload", type=names(WORKLOADS), help="of compare and budget, " + some(WORKLOADS))
    parser.add_argument("--part", type=names(scale.PARTS), help="of scale, " + some(scale.PARTS))
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=int, help="of each measurement")
    parser.add_argument("--quick", action="store_true", help="one round of a second: a rough picture")
    options = parser.parse_args()
    options.part = options.part or list(scale.PARTS)
    options.workload = options.workload or (["hello"] if options.what == "budget" else list(WORKLOADS))
    few = options.what == "scale"
    options.rounds = options.rounds or (1 if options.quick else 3 if few else 5)
    options.seconds = options.seconds or (1 if options.quick else 2 if few else 3)
    return options


def run(options, directory):
    facts = machine()
    if options.what == "compare":
        servers = options.server or (QUICK if options.quick else list(PEERS))
        minutes = expected_seconds(servers, options) / 60
        print(f"This takes about {minutes:.0f} minutes.", file=sys.stderr)
        results = compare(servers, options.workload, options.rounds, options.seconds, directory)
        save("compare", facts, vars(options), results, markdown(facts, vars(options), results))
        (OUTPUT / "compare.svg").write_text(chart(results))
        print(OUTPUT / "compare.svg")
        return
    module = {"scale": scale, "budget": budget}[options.what]
    results = module.run(options, directory)
    save(options.what, facts, vars(options), results, module.markdown(results))


def expected_seconds(servers, options):
    """Starting and checking take a second or two for each server."""
    each = options.rounds * (options.seconds + 0.5) + 1.5
    return sum(len(takers(WORKLOADS[name], servers)) * each for name in options.workload)


def main():
    options = arguments()
    # As an interrupt does: what was started ends.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    become_subreaper()
    directory = make_directory()
    # Answers are compared with what the applications say in this process.
    sys.path.insert(0, str(directory / "applications"))
    try:
        run(options, directory)
    except AssertionError as failure:
        sys.exit(str(failure))
    finally:
        wait_until(lambda: reap() or not descendants(), lambda: f"the end of {descendants()}", 60)
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
