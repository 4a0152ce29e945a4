"""Reloads and replacements under load: no request fails.

ZERO_LOSS is how often each is done; `make zero-loss` sets it high, and then the application takes as
long to import as a large one does.
"""

import os

import pytest

from client import Load, get
from processes import wait_until
from zero_loss import APP, Measurement

EVENTS = int(os.environ.get("ZERO_LOSS", "3"))
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


def measured(nginx, event, count=EVENTS):
    """Does it `count` times under load, and says what the clients have seen."""
    with Measurement(nginx.port) as load:
        for number in range(count):
            event(nginx, number)
    print(f"{count} x {event.__name__}: {load.summary()}")
    access = (nginx.dir / "logs" / "access.log").read_text()
    assert load.report["requests"] >= 10 * count
    assert load.report["failures"] == {}, (load.report["examples"], nginx.log()[-4000:])
    assert [query for query in load.report["races"] if query in access] == [], "nginx had seen them"
    return load.report


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


@pytest.mark.parametrize("event", [a_reload, a_touch])
def test_no_request_fails(nginx, processes, event):
    start(nginx, processes)
    measured(nginx, event)
