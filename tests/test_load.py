"""Many requests over many kept connections: every answer is right, nothing is lost, nothing grows."""

import contextlib
import time

import pytest

from client import Load, Run, get
from processes import Process

APP = """
    import hashlib, time

    def application(environ, start_response):
        query = environ['QUERY_STRING']
        if environ['PATH_INFO'] == '/sleep':
            time.sleep(float(query))
        content = ('%s ' % query[2:]).encode()
        content += b'x' * (hash(query) % 3000)
        content = hashlib.md5(content).hexdigest().encode() + b'\\n' + content
        start_response('200 OK', [('Content-Type', 'text/plain'), ('Content-Length', str(len(content)))])
        return [content]
    """

CONNECTIONS = 64


def footprint(nginx):
    """Descriptors, and private memory, of everything that nginx is."""
    processes = [Process(nginx.master), *nginx.workers(), *nginx.hosts()]
    return sum(p.descriptors for p in processes), sum(p.memory for p in processes)


@pytest.mark.parametrize(
    ("mode", "processes", "threads"),
    [
        ("embedded", 1, 1),
        ("embedded", 1, 8),
        ("daemon", 1, 1),
        ("daemon", 1, 8),
        ("daemon", 4, 1),
        ("daemon", 4, 8),
    ],
)
def test_every_answer_is_right(nginx, soak, mode, processes, threads):
    nginx.write("app.wsgi", APP)
    group = "process-group=app" if mode == "daemon" else '"process-group=%{GLOBAL}"'
    nginx.configure(
        http=f"""
            wsgi_daemon_process app processes={processes} threads={threads};
            wsgi_embedded_threads {threads};
            keepalive_requests 1000000;
            """,
        server=f"wsgi_script_alias / {{dir}}/app.wsgi {group} application-group=load;",
        main="worker_rlimit_nofile 4096;",
    )
    nginx.start()
    requests = 20000 * (CONNECTIONS if soak else 1)
    footprints = {}

    def measure(count):
        if count in (1000, requests - 1000):
            footprints[count] = footprint(nginx)

    started = time.monotonic()
    run = Run(nginx.port, CONNECTIONS, requests, measure)(seconds=120 + requests / 200)
    print(f"{mode} {processes}x{threads}: {requests / (time.monotonic() - started):.0f} requests/s")
    assert run.wrong == []
    assert run.checked == requests

    (fds_before, memory_before), (fds_after, memory_after) = footprints.values()
    slots = processes * threads
    # Connections to hosts are made as they are needed, so a few may be younger than the first mark.
    assert fds_after <= fds_before + 4 * slots * 2, footprints
    # Threads that were not used at first come to use their share of the allocator, once.
    assert memory_after <= memory_before * 1.1 + (8 << 20) + slots * (512 << 10), footprints
    assert_all_threads_are_free(nginx, mode, slots)
    assert "[alert]" not in nginx.log() and "[error]" not in nginx.log(), nginx.log()[-4000:]


def assert_all_threads_are_free(nginx, mode, slots):
    """As many sleepers as there are threads sleep at the same time."""
    if mode == "embedded":
        return
    with Load(nginx.port, "/sleep?1", threads=slots) as load:
        load.stopped.set()
    assert [result[2] for result in load.results] == [200] * slots
    assert max(result[1] for result in load.results) - min(result[0] for result in load.results) < 3.5


def test_more_requests_than_threads_wait_their_turn(nginx, mode, group):
    nginx.write("app.wsgi", APP)
    nginx.configure(
        http="wsgi_daemon_process app processes=2 threads=1;\nwsgi_embedded_threads 1;",
        server=f"wsgi_script_alias / {{dir}}/app.wsgi {group} application-group=load;",
    )
    nginx.start()
    with Load(nginx.port, "/sleep?0.02", threads=32) as load:
        load.wait_for(400)
    assert {result[2] for result in load.results} == {200}
    # Nobody starves.
    assert max(end - begin for begin, end, *_ in load.results) < 15


def test_workers_wake_each_other(nginx):
    """A slot that one worker frees goes to a request that waits in the other."""
    nginx.write("app.wsgi", APP)
    nginx.configure(
        http="wsgi_daemon_process app processes=1 threads=1;",
        server="wsgi_script_alias / {dir}/app.wsgi process-group=app application-group=load;",
        workers=4,
    )
    nginx.start()
    get(nginx.port, "/")
    with Load(nginx.port, "/sleep?0.05", threads=16) as load:
        load.wait_for(120)
    assert {result[2] for result in load.results} == {200}
    assert max(end - begin for begin, end, *_ in load.results) < 10


def test_a_wake_up_is_for_the_group_that_has_a_slot(nginx):
    """While others wait as well. A worker looks by itself once a second, which would take far longer."""
    nginx.write("app.wsgi", APP)
    groups = [f"g{number}" for number in range(3)]
    nginx.configure(
        http="\n".join(f"wsgi_daemon_process {name} processes=1 threads=1;" for name in groups),
        server="\n".join(
            f"wsgi_script_alias /{name} {{dir}}/app.wsgi process-group={name} application-group=load;"
            for name in groups
        ),
        workers=2,
    )
    nginx.start()
    for name in groups:
        get(nginx.port, f"/{name}/")
    with contextlib.ExitStack() as stack:
        loads = [stack.enter_context(Load(nginx.port, f"/{name}/sleep?0.02", threads=6)) for name in groups]
        started = time.monotonic()
        for load in loads:
            load.wait_for(150)
        took = time.monotonic() - started
    assert {result[2] for load in loads for result in load.results} == {200}
    assert took < 30
