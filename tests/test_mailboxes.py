"""Requests and responses that go through memory while both sides are awake.

The applications look into that memory themselves: it is mapped into their process.
"""

import os
import re
import signal
import socket
import threading

import pytest
from client import get
from conftest import MODES
from nginx import wait_until

# As in host/src/mailbox.rs.
SLOTS = 32
ROOM = 16 << 10

APP = f"""
import ctypes, struct, time

SLOTS, ROOM, ROOMS, WAY = {SLOTS}, {ROOM}, 4096, 192
# Where in a direction these are: what the receiver is at, the slots with messages, the lengths.
RECEIVER, THERE, LENGTHS = 0, 4, 8
HOST, WORKER = 0, 1

def memories():
    with open('/proc/self/maps') as maps:
        found = [line.split('-', 1)[0] for line in maps if 'ngx-wsgi-mailboxes' in line]
    # The worker's own view of the same memory, where it is one process.
    return [int(address, 16) for address in found]

def word(memory, way, offset):
    return ctypes.c_uint32.from_address(memory + way * WAY + offset)

def room(memory, way, slot):
    return memory + ROOMS + (2 * slot + way) * ROOM

def used(way):
    return sum(word(m, way, LENGTHS + 4 * slot).value > 0 for m in memories() for slot in range(SLOTS))

def frame(kind, payload):
    return struct.pack('<IBBH', len(payload), kind, 0, 0) + payload

def response(body, line=b'200 OK'):
    head = struct.pack('<HI', 200, len(line)) + line + struct.pack('<H', 0)
    return frame(16, head) + frame(17, body) + frame(21, b'\\0')

def leave(message, length=None):
    # For whoever waits: this process does not know its own slot.
    for memory in memories():
        for slot in range(SLOTS):
            ctypes.memmove(room(memory, WORKER, slot), message, len(message))
            word(memory, WORKER, LENGTHS + 4 * slot).value = len(message) if length is None else length
        word(memory, WORKER, THERE).value = 2 ** SLOTS - 1

def application(environ, start_response):
    path, _, argument = environ['PATH_INFO'][1:].partition('/')
    body = environ['wsgi.input'].read()
    if path == 'used':
        answer = '%d %d %d' % (used(HOST), used(WORKER), len(memories()))
    elif path == 'size':
        answer = 'x' * int(argument)
    elif path == 'sleep':
        time.sleep(float(argument))
        answer = 'slept'
    elif path in LIES:
        LIES[path]()
        # What is logged goes over the socket, and wakes the worker.
        print('lied', file=environ['wsgi.errors'], flush=True)
        answer = 'truth'
    else:
        answer = path + argument + environ.get('HTTP_X_PAD', '') + body.decode()
    start_response('200 OK', [('Content-Type', 'text/plain'), ('Content-Length', str(len(answer)))])
    return [answer.encode()]

def asleep():
    for memory in memories():
        word(memory, HOST, RECEIVER).value &= ~3

LIES = {{
    'forged': lambda: leave(response(b'forged')),
    'garbage': lambda: leave(b'\\xff' * ROOM),
    'long': lambda: leave(response(b'forged'), 2 ** 32 - 1),
    'empty': lambda: leave(b''),
    'request': lambda: leave(frame(1, b'x')),
    'half': lambda: leave(response(b'forged')[:-12]),
    'asleep': asleep,
}}
"""


def configure(nginx, group, threads=8, workers=2, processes=2):
    nginx.write("app.wsgi", APP)
    nginx.configure(
        http=f"""
            wsgi_daemon_process app processes={processes} threads={threads};
            wsgi_embedded_threads {threads};
            large_client_header_buffers 4 64k;
            """,
        server=f"""
            keepalive_requests 1000000;
            wsgi_read_timeout 60s;
            wsgi_script_alias / {{dir}}/app.wsgi {group} "application-group=%{{GLOBAL}}";
            """,
        workers=workers,
    )
    nginx.start()


class Client:
    """A connection that is kept, and what arrives on it."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.file = self.socket.makefile("rb")

    def send(self, path, headers="", body=b""):
        head = f"POST /{path} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
        self.socket.sendall(head.encode() + body)

    def answer(self):
        status = int(self.file.readline().split()[1])
        length = 0
        while (line := self.file.readline().strip()) != b"":
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        return status, self.file.read(length).decode()

    def get(self, path, **what):
        self.send(path, **what)
        return self.answer()


def crowd(port, clients, requests):
    """Runs requests(client, number) on so many connections at once; what any of them raises is raised."""
    failures = []

    def run(number):
        try:
            requests(Client(port), number)
        except Exception as failure:  # noqa: BLE001
            failures.append(failure)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(clients)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    if failures:
        raise failures[0]


def used(port):
    """How many rooms have been used to the host and to the worker, and how many memories there are."""
    return [int(part) for part in get(port, "/used")[2].split()]


@pytest.fixture(params=MODES)
def group(request):
    return MODES[request.param]


def test_messages_go_either_way(nginx, group):
    """Small ones and large ones, in any order on the same connections: every answer is the right one."""
    configure(nginx, group)

    def requests(client, number):
        for turn in range(150):
            token = f"{number}-{turn}"
            kind = (number + turn) % 7
            if kind == 1:
                assert client.get(f"size/{ROOM + number}") == (200, "x" * (ROOM + number))
            elif kind == 2:
                # Just fits, or does not, with what else is in a message.
                assert client.get(f"size/{ROOM - 200 + turn}") == (200, "x" * (ROOM - 200 + turn))
            elif kind == 3:
                pad = "p" * (ROOM + turn)
                assert client.get(f"a/{token}", headers=f"X-Pad: {pad}\r\n") == (200, "a" + token + pad)
            elif kind == 4:
                body = token.encode() * 3000
                assert client.get(f"a/{token}", body=body) == (200, "a" + token + body.decode())
            elif kind == 5:
                assert client.get(f"a/{token}", body=b"short") == (200, "a" + token + "short")
            else:
                assert client.get(f"a/{token}") == (200, "a" + token)

    crowd(nginx.port, 32, requests)
    to_host, to_worker, _ = used(nginx.port)
    assert to_host > 0 and to_worker > 0
    assert not re.search(r"\[(error|crit|alert|emerg)\]", nginx.log()), nginx.log()


def test_more_connections_than_slots(nginx, group):
    configure(nginx, group, threads=SLOTS + 8, workers=1, processes=1)
    barrier = threading.Barrier(SLOTS + 8)

    def requests(client, number):
        barrier.wait(60)
        assert client.get("sleep/1") == (200, "slept")
        for turn in range(50):
            assert client.get(f"a/{number}-{turn}") == (200, f"a{number}-{turn}")

    crowd(nginx.port, SLOTS + 8, requests)
    sides = 2 if "GLOBAL" in group else 1
    assert used(nginx.port)[2] == 2 * sides


def test_clients_that_go_away_leave_nothing(nginx, group):
    """Their connections are closed, and with them their slots are gone, which are never given twice."""
    configure(nginx, group, workers=1, processes=1)

    def requests(client, number):
        for turn in range(12):
            leaver = Client(nginx.port)
            leaver.send("sleep/0.05")
            leaver.socket.close()
            assert client.get(f"a/{turn}") == (200, f"a{turn}")

    crowd(nginx.port, 8, requests)
    sides = 2 if "GLOBAL" in group else 1
    wait_until(
        lambda: get(nginx.port, "/a/0")[2] == b"a0" and used(nginx.port)[2] <= 2 * sides,
        lambda: f"memory that nobody uses to be given back: {used(nginx.port)}",
    )


def test_a_worker_that_died_leaves_nothing(nginx):
    configure(nginx, MODES["daemon"], workers=1, processes=1)
    crowd(nginx.port, 8, lambda client, number: [client.get("a/1") for _ in range(50)])
    [worker] = nginx.workers()
    os.kill(worker.pid, signal.SIGKILL)
    wait_until(lambda: [p.pid for p in nginx.workers()] not in ([], [worker.pid]), "another worker")
    wait_until(
        lambda: get(nginx.port, "/a/0")[2] == b"a0" and used(nginx.port)[2] == 1,
        lambda: f"the old worker's memory to be given back: {used(nginx.port)}",
    )


@pytest.mark.parametrize("lie", ["forged", "garbage", "long", "empty", "request", "half", "asleep"])
def test_what_a_hostile_host_leaves(nginx, lie):
    """It can spoil its own answers, and nothing else."""
    configure(nginx, MODES["daemon"], workers=1, processes=1, threads=4)
    crowd(nginx.port, 8, lambda client, number: [client.get("a/1") for _ in range(50)])
    [worker] = nginx.workers()
    for _ in range(20):
        status, _, body = get(nginx.port, f"/{lie}")
        cut = lie == "half" and body is None
        assert (status, body) in ((200, b"truth"), (200, b"forged")) or status == 502 or cut, (status, body)
    # What it left twice may be the next request's answer, no more than once for each slot.
    for _ in range(2 * SLOTS):
        if get(nginx.port, "/a/1")[2] == b"a1":
            break
    crowd(nginx.port, 8, lambda client, number: [client.get("a/1") for _ in range(50)])
    assert [process.pid for process in nginx.workers()] == [worker.pid]
    assert "exited on signal" not in nginx.log()
    if lie in ("garbage", "request"):
        assert "upstream sent an invalid response" in nginx.log()
