"""wsgi_lazy_initialization off: processes are forked from one that has Python."""

import json
import os
import re
import signal
import sys
import venv

import pytest

from client import get
from nginx import IS_ROOT
from processes import Process, alive, descendants, wait_until

APP = """
    import gc, json, os, signal

    def leave_behind():
        '''A process that loses its parent and ends.'''
        middle = os.fork()
        if middle == 0:
            if os.fork() == 0:
                os.read(pipe[0], 1)
            os._exit(0)
        os.waitpid(middle, 0)

    pipe = os.pipe()

    def application(environ, start_response):
        if environ['PATH_INFO'] == '/orphan':
            leave_behind()
        answer = {
            'pid': os.getpid(),
            'parent': os.getppid(),
            # A Python of its own has frozen a few hundred objects from 3.12 on.
            'shared': gc.get_freeze_count() > 2000,
            'uid': os.getuid(),
            'restricted': signal.signal(signal.SIGUSR1, print) is print,
        }
        start_response('200 OK', [('Content-Type', 'application/json')])
        return [json.dumps(answer).encode()]
    """


def set_up(nginx, options="", lazy="off", http="", server="", **settings):
    nginx.write("app.wsgi", APP)
    nginx.configure(
        http=f"wsgi_lazy_initialization {lazy};\nwsgi_restrict_embedded on;\n{http}\nwsgi_daemon_process app threads=1 {options};",
        server=f"""
            wsgi_script_alias /main {{dir}}/app.wsgi process-group=app "application-group=%{{GLOBAL}}";
            wsgi_script_alias /sub {{dir}}/app.wsgi process-group=app;
            {server}
            """,
        **settings,
    )


def start(nginx, options="", **settings):
    set_up(nginx, options, **settings)
    nginx.start()


def ask(nginx, path="/main"):
    status, _, body = get(nginx.port, path)
    assert status == 200, (status, body, nginx.log())
    return json.loads(body)


def templates(nginx):
    return [process for process in nginx.hosts() if ": template of" in process.title]


def template(nginx, before=None):
    """The only template, and not the one of before. What it forks has its title for a moment."""

    def only():
        found = templates(nginx)
        return len(found) == 1 and (before is None or found[0].pid != before.pid) and found

    return wait_until(only, lambda: f"a template: {templates(nginx)} {nginx.log()}")[0]


def new_process(nginx, old):
    """What the next process answers; requests that come in between may be told that there is none."""

    def answer():
        status, _, body = get(nginx.port, "/main")
        who = json.loads(body) if status == 200 else {"pid": old}
        return who["pid"] != old and who

    return wait_until(answer, lambda: f"a new process: {nginx.log()}")


def test_processes_are_forked_from_a_template(nginx):
    start(nginx, "processes=2")
    shared = template(nginx)
    supervisor = nginx.supervisors()[0]
    assert shared.parent == supervisor.pid and shared.threads == 1
    who = ask(nginx)
    assert who["shared"] and who["parent"] == supervisor.pid, who
    for path in "/sub", "/main":
        who = ask(nginx, path)
        assert who["pid"] != shared.pid and who["restricted"], who
    wait_until(lambda: len(nginx.daemons()) == 3, "two processes and their template")
    if IS_ROOT:
        assert who["uid"] != 0
        assert shared.status()["Uid"].split() == [str(who["uid"])] * 4
        assert shared.status()["NoNewPrivs"] == "1"
    assert nginx.log().count("Initializing Python runtime") == 1
    assert "Initializing Python runtime in the template of daemon process 'app'" in nginx.log()
    master = Process(nginx.master)
    assert "libpython" not in "".join(master.open_files().values()) and master.threads == 1


def test_without_it_processes_have_pythons_of_their_own(nginx):
    start(nginx, "processes=2", lazy="on")
    assert not ask(nginx)["shared"]
    assert not templates(nginx)
    wait_until(lambda: nginx.log().count("Initializing Python runtime in daemon process 'app'") == 2, "both")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGUSR1])
def test_next_processes_come_from_the_template(nginx, number):
    start(nginx)
    shared = template(nginx)
    pids = {ask(nginx)["pid"]}
    for _ in range(3):
        old = ask(nginx)["pid"]
        os.kill(old, number)
        who = new_process(nginx, old)
        assert who["shared"], nginx.log()
        pids.add(who["pid"])
    assert len(pids) == 4 and template(nginx).pid == shared.pid
    assert nginx.log().count("Initializing Python runtime") == 1
    if number == signal.SIGKILL:
        assert "has died, terminated by signal 9 (SIGKILL)" in nginx.log()


def test_a_template_that_is_killed_is_replaced(nginx):
    start(nginx)
    who, first = ask(nginx), template(nginx)
    os.kill(first.pid, signal.SIGKILL)
    second = template(nginx, first)
    assert ask(nginx)["pid"] == who["pid"], "processes don't depend on their template"
    assert "Template of 'app' (pid %d) has died, terminated by signal 9" % first.pid in nginx.log()
    os.kill(who["pid"], signal.SIGKILL)
    assert new_process(nginx, who["pid"])["shared"], nginx.log()
    assert template(nginx).pid == second.pid


def test_a_template_that_does_not_answer_is_killed(nginx):
    start(nginx)
    who, first = ask(nginx), template(nginx)
    os.kill(first.pid, signal.SIGSTOP)
    os.kill(who["pid"], signal.SIGKILL)
    assert not new_process(nginx, who["pid"])["shared"], "it starts a Python of its own meanwhile"
    assert "the template of group \"app\" cannot fork" in nginx.log()
    wait_until(lambda: not alive(first.pid), "the template to be killed")


def environment(path, code):
    """A virtual environment that runs code when Python starts."""
    venv.create(path, with_pip=False, symlinks=True)
    library = path / "lib" / "python{}.{}".format(*sys.version_info) / "site-packages"
    (library / "start.pth").write_text("import start_of_python\n")
    (library / "start_of_python.py").write_text(code)
    return path


def test_a_python_that_starts_threads_is_not_forked(nginx):
    python = environment(
        nginx.dir / "venv",
        "import threading, time\nthreading.Thread(target=time.sleep, args=(600,), daemon=True).start()\n",
    )
    start(nginx, f"processes=2 python-home={python}")
    assert not ask(nginx)["shared"]
    assert not templates(nginx)
    log = nginx.log()
    assert re.search(r"\[alert\] .*the template cannot go on: Python's start has started a thread", log)
    assert re.search(r'\[warn\] .*the processes of group "app" initialize Python themselves', log)
    assert log.count("Initializing Python runtime in the template") == 1


def test_a_python_that_does_not_start(nginx):
    python = nginx.dir / "venv"
    environment(python, "")
    set_up(nginx, f"python-home={python}")
    assert nginx.run("-t").returncode == 0
    broken = f"import os\nif not os.path.exists('{nginx.dir}/on'): os._exit(7)\n"
    environment(python, broken)
    nginx.start()
    wait_until(
        lambda: "initialize Python themselves: their template" in nginx.log(), lambda: f"it to fail: {nginx.log()}"
    )
    (nginx.dir / "on").touch()
    assert not wait_until(lambda: get(nginx.port, "/main")[0] == 200 and ask(nginx), nginx.log)["shared"]


def test_reload_and_the_master_s_death(nginx):
    start(nginx)
    ask(nginx)
    first = template(nginx)
    nginx.reload()
    second = template(nginx, first)
    assert ask(nginx)["shared"]
    everybody = [process.pid for process in descendants()]
    workers = [worker.pid for worker in nginx.workers()]
    for pid in nginx.master, *workers:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not any(map(alive, everybody)), lambda: f"all to end: {descendants()}")
    nginx.master = None


def test_the_supervisor_s_death(nginx):
    start(nginx)
    shared, who = template(nginx), ask(nginx)
    os.kill(nginx.supervisors()[0].pid, signal.SIGKILL)
    wait_until(lambda: not alive(shared.pid) and not alive(who["pid"]), lambda: f"{descendants()}")


def test_what_processes_leave_behind_is_buried(nginx):
    start(nginx)
    supervisor = nginx.supervisors()[0].pid
    who = ask(nginx, "/main/orphan")

    def adopted():
        known = {who["pid"], template(nginx).pid}
        return [p for p in descendants(supervisor) if p.parent == supervisor and p.pid not in known]

    orphan = wait_until(adopted, lambda: f"the supervisor to adopt: {descendants()}")[0]
    os.kill(orphan.pid, signal.SIGKILL)
    wait_until(lambda: not adopted(), lambda: f"it to be buried: {descendants()}")


@pytest.mark.skipif(not IS_ROOT, reason="not root: users cannot be switched")
def test_every_group_has_a_template_of_its_own_user(nginx):
    start(
        nginx,
        http="wsgi_daemon_process other user=nobody cpu-priority=3;",
        server="wsgi_script_alias /other {dir}/app.wsgi process-group=other;",
    )
    assert ask(nginx)["uid"] != ask(nginx, "/other")["uid"]
    found = {t.title.split()[-1]: int(t.status()["Uid"].split()[0]) for t in templates(nginx)}
    assert found == {"app": ask(nginx)["uid"], "other": ask(nginx, "/other")["uid"]}
    assert os.getpriority(os.PRIO_PROCESS, ask(nginx, "/other")["pid"]) == 3


def test_services_start_by_themselves(nginx):
    nginx.write("service.py", "import signal\nprint('the service runs', flush=True)\nsignal.pause()\n")
    start(
        nginx,
        http="""
            wsgi_daemon_process service threads=0;
            wsgi_import_script {dir}/service.py process-group=service "application-group=%{GLOBAL}";
            """,
    )
    wait_until(lambda: "the service runs" in nginx.log(), nginx.log)
    assert "Initializing Python runtime in daemon process 'service'" in nginx.log()
    assert template(nginx).title.endswith(" app")


def pss(process):
    """Bytes of the process, of what is shared its part."""
    with open(f"/proc/{process.pid}/smaps_rollup") as smaps:
        return next(int(line.split()[1]) << 10 for line in smaps if line.startswith("Pss:"))


def test_memory_is_shared(nginx):
    """Ten idle processes and their template need less than ten without."""
    used = {}
    for lazy in "on", "off":
        start(nginx, "processes=10", lazy=lazy)
        number = 10 if lazy == "on" else 11
        wait_until(lambda: nginx.log().count('daemon process of group "app" is ready') >= 10, nginx.log)
        daemons = wait_until(lambda: (d := nginx.daemons()) and len(d) == number and d, nginx.log)
        used[lazy] = sum(pss(process) for process in daemons)
        nginx.stop()
        nginx.error_log.write_text("")
    print({lazy: f"{bytes / (1 << 20):.1f} MiB" for lazy, bytes in used.items()})
    assert used["off"] < 0.9 * used["on"], used


@pytest.mark.parametrize("lazy", ["on", "off"])
def test_embedded(nginx, lazy):
    """Python runs in the workers before a request asks for it, and never in the master."""
    nginx.write("app.wsgi", APP)
    nginx.configure(
        http=f"wsgi_lazy_initialization {lazy};",
        server="wsgi_script_alias /app {dir}/app.wsgi; location = /x { return 204; }",
    )
    nginx.start()
    assert get(nginx.port, "/x")[0] == 204
    if lazy == "off":
        wait_until(lambda: nginx.log().count("Initializing Python runtime in embedded mode") == 2, nginx.log)
    else:
        assert "Initializing Python runtime" not in nginx.log()
    assert Process(nginx.master).threads == 1
    assert ask(nginx, "/app")["parent"] == nginx.master


@pytest.mark.parametrize("hook", ["", "wsgi_access_script {dir}/hook.py;"])
def test_embedded_python_that_nobody_may_use(nginx, hook):
    nginx.write("hook.py", "def allow_access(environ, host):\n    return True\n")
    set_up(nginx, server=f"location /y {{ {hook} return 204; }}")
    nginx.start()
    ask(nginx)
    embedded = "Initializing Python runtime in embedded mode"
    if hook:
        wait_until(lambda: embedded in nginx.log(), nginx.log)
    else:
        assert embedded not in nginx.log()
