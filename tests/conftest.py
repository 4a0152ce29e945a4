import os
import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from nginx import MODULE, VALIDATE, Nginx  # noqa: E402
from processes import become_subreaper  # noqa: E402

MODES = {
    "embedded": '"process-group=%{GLOBAL}"',
    "daemon": "process-group=app",
}


def pytest_sessionstart(session):
    if not MODULE.exists():
        pytest.exit(f"{MODULE} is missing: make build", 2)
    become_subreaper()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    outcome = yield
    setattr(item, "report_" + outcome.get_result().when, outcome.get_result())


@pytest.fixture
def nginx(request):
    """An nginx to configure and start. After the test, nothing of it may be left."""
    server = Nginx()
    yield server
    killed, left, log = server.end()
    report = getattr(request.node, "report_call", None)
    if report is not None and report.failed:
        sys.stderr.write(f"\nerror log of {request.node.name}:\n{log[-8000:]}\n")
    assert not killed, f"did not end with nginx: {killed}\n{log[-4000:]}"
    assert not left, f"left over: {left}"
    for line in log.splitlines():
        assert "panicked" not in line and "exited on signal 11" not in line, line
        if VALIDATE:
            assert not re.search(r", in (assert_|check_string_type)|validate\.WSGIWarning", line), log[-4000:]


@pytest.fixture(params=list(MODES))
def mode(request):
    return request.param


@pytest.fixture
def group(mode):
    """The process-group= option of the mode; daemon mode's group is called app."""
    return MODES[mode]


@pytest.fixture
def venv_path():
    """The directory that has Django, Flask and numpy."""
    return next(p for p in sys.path if p.startswith(sys.prefix) and p.endswith("site-packages"))


@pytest.fixture(scope="session")
def soak():
    return os.environ.get("SOAK") == "1"
