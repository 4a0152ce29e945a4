"""Runs the cases against Apache with mod_wsgi and nginx with this module, and compares."""

import argparse
import importlib
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "tests")]

from case import CASES, MODES  # noqa: E402
from explained import EXPLAINED  # noqa: E402
from facts import differences  # noqa: E402
from processes import become_subreaper  # noqa: E402
from profiles import PROFILES  # noqa: E402
from servers import APACHE, NGINX_MODULE, Apache, Nginx, end_everything, make_certificate  # noqa: E402

# Of each section every so many cases are in the quick part, and those that say so themselves.
QUICK = 4


def load():
    for path in sorted((HERE / "sections").glob("*.py")):
        importlib.import_module(f"sections.{path.stem}")


def choose(options):
    if options.case:
        chosen = [case for case in CASES if any(name in case.name for name in options.case)]
        if not chosen:
            sys.exit(f"no case is called {', '.join(options.case)}: --list")
        return chosen
    if not options.quick:
        return CASES
    chosen, seen = [], {}
    for case in CASES:
        number = seen.setdefault(case.section, 0)
        wanted = case.server == "main" and number % QUICK == 0 if case.quick is None else case.quick
        seen[case.section] += 1
        if wanted:
            chosen.append(case)
    return chosen


def run(profile, cases, certificate, options):
    """Facts by case and server, and what died."""
    servers = {
        (mode, kind): kind(profile, mode, [case for case in cases if mode in case.modes], certificate)
        for mode in MODES
        for kind in (Nginx, Apache)
    }
    died = []
    try:
        for server in servers.values():
            server.start()
        for server in servers.values():
            server.wait()
        for server in servers.values():
            server.run()
        for server in servers.values():
            server.thread.join()
    finally:
        for server in servers.values():
            if server.process:
                server.stop()
        left = end_everything()
        for server in servers.values():
            died += server.read_log()
            slow = sorted(server.times.items(), key=lambda item: -item[1])[: options.slow]
            for case, seconds in slow:
                print(f"{server}: {case} took {seconds:.1f} s")
            if options.keep:
                print(f"{server}: {server.dir}")
            else:
                server.remove()
    results = {key: server.results for key, server in servers.items()}
    return results, died + [f"left behind: {process}" for process in left]


def main():
    parser = argparse.ArgumentParser(prog="conformance", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a part of the cases that has every section")
    parser.add_argument("--case", action="append", metavar="NAME", help="the cases whose name contains this")
    parser.add_argument("--list", action="store_true", help="list the cases")
    parser.add_argument("--keep", action="store_true", help="keep the servers' directories, and print them")
    parser.add_argument("--facts", action="store_true", help="print every fact of every case")
    parser.add_argument(
        "--slow", type=int, default=0, metavar="N", help="print each server's N slowest cases"
    )
    options = parser.parse_args()
    load()
    cases = choose(options)
    if options.list:
        for case in cases:
            print(case.name)
        return 0
    for needed in (APACHE, NGINX_MODULE):
        if not os.path.exists(needed):
            sys.exit(f"{needed} is missing: scripts/setup conformance, make build")
    become_subreaper()
    started = time.monotonic()
    found, errors = {case.name: [] for case in cases}, []
    work = tempfile.mkdtemp(prefix="wsgi-c-")
    try:
        certificate = make_certificate(work)
        for name in PROFILES:
            selected = [case for case in cases if case.server == name]
            if not selected:
                continue
            results, died = run({"name": name, **PROFILES[name]}, selected, certificate, options)
            errors += died
            for case in selected:
                pairs = {
                    mode: tuple(results[mode, kind][case.name] for kind in (Nginx, Apache))
                    for mode in case.modes
                }
                errors += idle(case, [facts for pair in pairs.values() for facts in pair])
                for mode, (ours, theirs) in pairs.items():
                    found[case.name] += differences(case, mode, ours, theirs)
                    if options.facts:
                        show_facts(case, mode, ours, theirs)
    finally:
        shutil.rmtree(work)
    return summary(cases, found, errors, options, started)


def show_facts(case, mode, ours, theirs):
    for fact in {**theirs, **ours}:
        print(f"{case.name} ({mode}): {fact}")
        print(f"    ours:   {ours.get(fact)!r}\n    theirs: {theirs.get(fact)!r}")


def idle(case, results):
    """What of a case can never differ, because no server does what it looks at."""

    def broken(facts):
        failed = any("status" in fact and "500" in value for fact, value in facts.items())
        return failed and not any("value " in fact for fact in facts)

    if "report(" in (case.app or "") and all(broken(facts) for facts in results):
        yield f"{case.name}: no server reports facts; is the script in order?"
    for pattern in (*case.log, *case.anywhere):
        if not any(facts.get(f"log {pattern}") for facts in results):
            yield f"{case.name}: no server logs anything like {pattern!r}"


def explain(difference):
    rows = [row for row in EXPLAINED if row.covers(difference)]
    for row in rows:
        row.used += 1
    return bool(rows)


def shown(unexplained):
    """The differences as text; what is the same in both modes once."""
    modes = {}
    for difference in unexplained:
        modes.setdefault(str(difference), []).append(difference.mode)
    return [text.replace(":", f" ({', '.join(found)}):", 1) for text, found in modes.items()]


def summary(cases, found, errors, options, started):
    failed = 0
    for section in dict.fromkeys(case.section for case in cases):
        own = [case for case in cases if case.section == section]
        explained = bad = 0
        texts = []
        for case in own:
            unexplained = [difference for difference in found[case.name] if not explain(difference)]
            explained += len(found[case.name]) > 0 and not unexplained
            bad += bool(unexplained)
            texts += shown(unexplained)
        failed += bad
        print(
            f"{section}: {len(own)} cases, {len(own) - bad} passed ({explained} with explained differences), {bad} failed"
        )
        for text in texts:
            print(text)
    if not options.quick and not options.case:
        errors += [
            f"no difference fits this row of explained.py any more: {row}"
            for row in EXPLAINED
            if not row.used
        ]
    for error in errors:
        print(f"  {error}")
    print(f"{time.monotonic() - started:.0f} s")
    print(f"{len(cases) - failed} passed, {failed + len(errors)} failed")
    return 1 if failed or errors else 0


if __name__ == "__main__":
    sys.exit(main())
