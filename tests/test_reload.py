"""nginx -s reload with other groups than before, under load: each request gets an answer of its own group,
and the generation before leaves nothing."""

import os
import pwd
import re

import pytest

from client import Load, get
from nginx import IS_ROOT
from processes import Process, wait_until

APP = """
    import os

    def application(environ, start_response):
        name = environ['mod_wsgi.process_group']
        start_response('200 OK', [('Content-Type', 'text/plain')])
        return [('%s %d %d' % (name, os.getuid(), os.getpid())).encode()]
    """

WORKERS = 2


def configure(nginx, **groups):
    """Groups with their options; each is served at the path of its name. `kept` is always there."""
    groups.setdefault("kept", "processes=2")
    nginx.configure(
        http="".join(f"wsgi_daemon_process {name} threads=4 {options};\n" for name, options in groups.items()),
        server="".join(f"wsgi_script_alias /{name} {{dir}}/app.wsgi process-group={name};\n" for name in groups),
        workers=WORKERS,
    )


def who(nginx, name):
    """The user and the process that answer for a group."""
    status, _, body = get(nginx.port, f"/{name}")
    assert status == 200, nginx.log()[-4000:]
    group, uid, pid = body.decode().split()
    assert group == name
    return int(uid), int(pid)


def memfds(process, what="/memfd:ngx-wsgi-"):
    """Shared memory of ours that a process maps or holds open, each object once."""
    found = set()
    with open(f"/proc/{process.pid}/maps") as maps:
        found |= {line.split()[4] for line in maps if re.search(what, line)}
    for descriptor, name in process.open_files().items():
        if re.search(what, name):
            found.add(str(os.stat(f"/proc/{process.pid}/fd/{descriptor}").st_ino))
    return found


def assert_is_all(nginx, processes, groups):
    """Nothing is there but one generation with so many daemon processes and groups."""
    wait_until(lambda: len(nginx.supervisors()) == 1, lambda: nginx.hosts(), 60)
    wait_until(lambda: len(nginx.daemons()) == processes, lambda: f"{processes}: {nginx.daemons()}")
    [supervisor] = nginx.supervisors()
    paths = [str(path) for path in nginx.sockets()]
    generations = {re.fullmatch(r".*\.(\d+\.\d+)\.\d+\.\d+\.sock", path)[1] for path in paths}
    assert len(generations) == 1, paths
    everybody = [Process(nginx.master), *nginx.workers(), supervisor]

    def found(what):
        return set().union(*(memfds(process, what) for process in everybody))

    # The leases, and each group's report.
    shared = found("/memfd:ngx-wsgi-(leases|report)")
    assert len(shared) <= 1 + groups, {process.pid: memfds(process) for process in everybody}
    # Not those of processes that are gone.
    mailboxes = "/memfd:ngx-wsgi-mailboxes"
    wait_until(lambda: len(found(mailboxes)) <= WORKERS * processes, lambda: found(mailboxes))
    assert not found("/memfd:ngx-wsgi-(?!leases|report|mailboxes)")
    wait_until(lambda: not nginx.zombies(), lambda: nginx.zombies())


def test_groups_come_change_and_go(nginx):
    nginx.write("app.wsgi", APP)
    users = (["nobody", "www-data"] if IS_ROOT else [pwd.getpwuid(os.getuid()).pw_name] * 2)
    uids = [pwd.getpwnam(user).pw_uid for user in users]
    configure(nginx, sized="processes=1", owned=f"user={users[0]}")
    nginx.start()
    seen = {name: who(nginx, name)[1] for name in ("kept", "sized", "owned")}
    assert who(nginx, "owned")[0] == uids[0]
    steps = [
        (dict(sized="processes=4", owned=f"user={users[0]}"), 7, uids[0]),
        (dict(sized="processes=2", owned=f"user={users[1]}"), 5, uids[1]),
        (dict(sized="processes=2", owned=f"user={users[0]}", added="processes=2"), 7, uids[0]),
        # In another order: the indexes of all groups change.
        (dict(added="processes=1", owned=f"user={users[1]}", sized="processes=2"), 6, uids[1]),
        (dict(sized="processes=2", owned=f"user={users[1]}"), 5, uids[1]),
        (dict(sized="processes=2", owned=f"user={users[1]}"), 5, uids[1]),
    ]
    with Load(nginx.port, "/kept", threads=4) as kept, Load(nginx.port, "/sized", threads=4) as sized:
        with Load(nginx.port, "/owned", threads=2) as owned:
            for groups, processes, uid in steps:
                kept.wait_for(20)
                sized.wait_for(20)
                configure(nginx, **groups)
                nginx.reload()
                assert_is_all(nginx, processes, len(groups) + 1)
                now = {name: who(nginx, name)[1] for name in seen}
                assert not set(now.values()) & set(seen.values()), "processes of the generation before"
                seen = now
                assert who(nginx, "owned")[0] == uid
                if "added" in groups:
                    who(nginx, "added")
                else:
                    assert get(nginx.port, "/added")[0] == 404
    for load in kept, sized, owned:
        bad = [result for result in load.results if result[2] != 200 or result[3].split()[0].decode() != load.path[1:]]
        assert bad == [], f"{len(bad)} of {len(load.results)}: {bad[:3]}\n{nginx.log()[-4000:]}"
    if IS_ROOT:
        assert {int(result[3].split()[1]) for result in owned.results} == set(uids)


def descriptors(nginx):
    """How many each kind of process has; workers are alike."""
    [supervisor] = nginx.supervisors()
    kinds = {
        "master": [Process(nginx.master)],
        "worker": nginx.workers(),
        "supervisor": [supervisor],
        "daemon": nginx.daemons(),
    }
    return {kind: max(process.descriptors for process in found) for kind, found in kinds.items()}


@pytest.mark.parametrize("processes", [1, 3])
def test_nothing_grows_with_reloads(nginx, processes):
    nginx.write("app.wsgi", APP)
    configure(nginx, other=f"processes={processes}")
    nginx.start()

    def settled():
        for name in "kept", "other":
            who(nginx, name)
        return descriptors(nginx)

    nginx.reload()
    assert_is_all(nginx, 2 + processes, 2)
    first = settled()
    for _ in range(20):
        nginx.reload()
        assert_is_all(nginx, 2 + processes, 2)
        # Idle connections to the processes come and go with requests.
        wait_until(lambda: max_excess(settled(), first) <= 0, lambda: f"{first}, now {descriptors(nginx)}")


@pytest.mark.parametrize("processes", [1, 3])
def test_nothing_grows_with_replaced_processes(nginx, processes):
    nginx.write("app.wsgi", APP)
    configure(nginx, other=f"processes={processes}")
    nginx.start()

    def touched(number):
        """Changes the script, and waits until every process of both groups is another one."""
        before = {process.pid for process in nginx.daemons()}
        os.utime(nginx.dir / "app.wsgi", (number, number))

        def replaced():
            for name in "kept", "other":
                with Load(nginx.port, f"/{name}", threads=4) as load:
                    load.wait_for(4)
            now = {process.pid for process in nginx.daemons()}
            return len(now) == 2 + processes and not now & before

        wait_until(replaced, lambda: f"others than {before}: {nginx.hosts()}")

    # A process that has never run the script needs no replacement.
    for name in "kept", "other":
        who(nginx, name)
    touched(1)
    first = descriptors(nginx)
    for number in range(2, 22):
        touched(number)
    now = descriptors(nginx)
    assert now["supervisor"] <= first["supervisor"] and now["master"] <= first["master"], (first, now)
    # At most one kept connection for each thread.
    assert now["worker"] <= first["worker"] + 4 * (2 + processes), (first, now)
    assert now["daemon"] <= first["daemon"] + 4 * WORKERS, (first, now)
    assert_is_all(nginx, 2 + processes, 2)


def max_excess(now, first):
    return max(now[kind] - first[kind] for kind in first)
