"""Reloads and replacements under load: no request fails, and none waits for a process to start.

ZERO_LOSS is how often each is done; `make zero-loss` sets it high, and then the application takes as
long to import as a large one does. ZERO_LOSS_LIMIT is how many seconds a request may take over the
application's own time.
"""

import os
import signal

import pytest

from client import Load, get
from processes import wait_until
from zero_loss import APP, Measurement

EVENTS = int(os.environ.get("ZERO_LOSS", "3"))
LIMIT = float(os.environ.get("ZERO_LOSS_LIMIT", "0.1"))
IMPORT_SECONDS = 2 if "ZERO_LOSS" in os.environ else 0.5


@pytest.fixture(params=[1, 4], ids=["1-process", "4-processes"])
def processes(request):
    return request.param


def start(nginx, processes, options=""):
    nginx.write("app.wsgi", APP.format(seconds=IMPORT_SECONDS))
    nginx.configure(
        http=f"wsgi_daemon_process app processes={processes} threads=8 {options};",
        server="""wsgi_script_alias / {dir}/app.wsgi process-group=app "application-group=%{GLOBAL}";""",
    )
    nginx.start()
    # Every process has loaded the script.
    with Load(nginx.port, "/?0000", threads=10 * processes) as load:
        load.wait_for(20 * processes)


def pid(nginx):
    status, headers, _ = get(nginx.port, "/?0000")
    assert status == 200, nginx.log()[-4000:]
    return int(headers["x-pid"])


def pids(nginx):
    return {process.pid for process in nginx.daemons()}


def measured(nginx, event, what, count):
    """Does it `count` times under load, and says what the clients have seen."""
    with Measurement(nginx.port) as load:
        for number in range(count):
            event(nginx, number)
    print(f"{count} x {event.__name__} {what}: {load.summary()}", flush=True)
    access = (nginx.dir / "logs" / "access.log").read_text()
    assert load.report["requests"] >= 10 * count
    assert load.report["failures"] == {}, (load.report["examples"], nginx.log()[-4000:])
    assert [query for query in load.report["races"] if query in access] == [], "nginx had seen them"
    # What the client itself could not see in time is not nginx's.
    assert load.report["slowest"] < LIMIT + load.report["stall"], load.summary()


def all_replaced(nginx, before, processes):
    """Waits until the group has other processes, and only those."""
    wait_until(
        lambda: len(pids(nginx)) == processes and not pids(nginx) & before,
        lambda: f"{processes} other processes than {before}: {nginx.hosts()}\n{nginx.log()[-4000:]}",
        60,
    )


def a_reload(nginx, _):
    before = pids(nginx)
    done = nginx.run("-s", "reload")
    assert done.returncode == 0, done.stderr
    all_replaced(nginx, before, len(before))
    assert pid(nginx) not in before


def a_touch(nginx, number):
    before = pids(nginx)
    # Any other time: a clock's resolution has no part in it.
    os.utime(nginx.dir / "app.wsgi", (number, number))
    all_replaced(nginx, before, len(before))


def a_signal(nginx, _):
    before = pids(nginx)
    for victim in before:
        os.kill(victim, signal.SIGUSR1)
    all_replaced(nginx, before, len(before))


def by_itself(nginx, _):
    """Every process is replaced without anybody's doing."""
    before = pids(nginx)
    wait_until(lambda: not pids(nginx) & before, lambda: f"others than {before}: {nginx.hosts()}", 120)


@pytest.mark.parametrize(
    ("event", "options", "count"),
    [
        (a_reload, "", lambda processes: EVENTS),
        (a_touch, "", lambda processes: EVENTS),
        (a_signal, "", lambda processes: EVENTS),
        # Each of these replaces all processes.
        (by_itself, "maximum-requests=50", lambda processes: 2 * EVENTS // processes),
        (by_itself, "restart-interval=2", lambda processes: 2 * EVENTS // processes),
    ],
    ids=["reload", "touch", "sigusr1", "maximum-requests", "restart-interval"],
)
def test_no_request_fails_or_waits(nginx, processes, event, options, count):
    start(nginx, processes, options)
    measured(nginx, event, options, count(processes))
