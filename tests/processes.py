"""Finds and awaits the processes that a test starts, directly or not.

The test process is the subreaper: whatever loses its parent becomes its child, so nothing that an
nginx leaves behind can get out of sight.
"""

import ctypes
import os
import time

PR_SET_CHILD_SUBREAPER = 36


def become_subreaper():
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


class Process:
    def __init__(self, pid):
        self.pid = pid
        with open(f"/proc/{pid}/stat", "rb") as stat:
            head, tail = stat.read().rsplit(b")", 1)
        fields = tail.split()
        self.name = head.split(b"(", 1)[1].decode()
        self.state = fields[0].decode()
        self.parent = int(fields[1])
        self.started = int(fields[19])

    def __repr__(self):
        return f"<{self.pid} child of {self.parent} ({self.state}) {self.title or self.name}>"

    @property
    def title(self):
        try:
            with open(f"/proc/{self.pid}/cmdline", "rb") as cmdline:
                return cmdline.read().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            return ""

    @property
    def threads(self):
        return len(os.listdir(f"/proc/{self.pid}/task"))

    def thread_states(self):
        """The state letter of each thread."""
        found = []
        for task in os.listdir(f"/proc/{self.pid}/task"):
            with open(f"/proc/{self.pid}/task/{task}/stat") as stat:
                found.append(stat.read().rsplit(")", 1)[1].split()[0])
        return found

    @property
    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    @property
    def memory(self):
        """Resident bytes that belong to nobody else."""
        with open(f"/proc/{self.pid}/smaps_rollup") as smaps:
            lines = [line.split() for line in smaps if line.startswith("Private_")]
        return sum(int(line[1]) for line in lines) * 1024

    def status(self):
        with open(f"/proc/{self.pid}/status") as status:
            return dict(line.rstrip("\n").split(":\t", 1) for line in status if ":\t" in line)

    def open_files(self):
        found = {}
        for descriptor in os.listdir(f"/proc/{self.pid}/fd"):
            try:
                found[int(descriptor)] = os.readlink(f"/proc/{self.pid}/fd/{descriptor}")
            except OSError:
                pass
        return found


def everybody():
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                found[int(name)] = Process(int(name))
            except (FileNotFoundError, ProcessLookupError):
                pass
    return found


def descendants(root=None):
    """All processes below this one, zombies included, parents before their children."""
    children = {}
    for process in everybody().values():
        children.setdefault(process.parent, []).append(process)
    found, queue = [], [root or os.getpid()]
    while queue:
        for child in children.get(queue.pop(0), []):
            found.append(child)
            queue.append(child.pid)
    return found


def reap():
    """Takes the exit codes of adopted processes, as init would."""
    for process in descendants():
        if process.state == "Z" and process.parent == os.getpid():
            try:
                os.waitpid(process.pid, os.WNOHANG)
            except ChildProcessError:
                pass


def alive(pid):
    try:
        return Process(pid).state != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until(condition, what, seconds=30):
    """Waits for a condition and gives its value; what says what was awaited."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds} s for: {what() if callable(what) else what}")
        time.sleep(0.02)
