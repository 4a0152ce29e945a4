"""HTTP clients for the tests: raw requests, and many connections at once."""

import asyncio
import hashlib
import socket
import threading
import time


def exchange(port, request, timeout=30):
    """Sends bytes on a new connection and gives all that comes back until it is closed."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as s:
        s.sendall(request)
        parts = []
        while part := s.recv(65536):
            parts.append(part)
    return b"".join(parts)


def get(port, path, version="1.1", timeout=30, headers=""):
    """One GET on a connection of its own: status (0 when there is none), headers, body.

    The body is None when the connection ended before the body did.
    """
    request = f"GET {path} HTTP/{version}\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n"
    try:
        answer = exchange(port, request.encode(), timeout)
    except (ConnectionError, socket.timeout):
        return 0, {}, None
    return parse(answer)


def parse(answer):
    head, end, body = answer.partition(b"\r\n\r\n")
    if not end:
        return 0, {}, None
    lines = head.decode("latin-1").split("\r\n")
    headers = {}
    for line in lines[1:]:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    status = int(lines[0].split()[1])
    if headers.get("transfer-encoding") == "chunked":
        body = dechunk(body)
    elif "content-length" in headers and len(body) != int(headers["content-length"]):
        body = None
    return status, headers, body


def dechunk(data):
    """The body, or None when the terminating chunk is missing."""
    parts = []
    while True:
        size, found, data = data.partition(b"\r\n")
        if not found:
            return None
        length = int(size, 16)
        if length == 0:
            return b"".join(parts) if data == b"\r\n" else None
        if len(data) < length + 2:
            return None
        parts.append(data[:length])
        data = data[length + 2 :]


class Load:
    """Requests on new connections from threads, until stopped; keeps every result."""

    def __init__(self, port, path, threads=8):
        self.port, self.path = port, path
        self.results = []
        self.stopped = threading.Event()
        self.threads = [threading.Thread(target=self.work, daemon=True) for _ in range(threads)]

    def work(self):
        while not self.stopped.is_set():
            started = time.monotonic()
            status, _, body = get(self.port, self.path, timeout=60)
            self.results.append((started, time.monotonic(), status, body))

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        for thread in self.threads:
            thread.join(90)
            assert not thread.is_alive(), "a request hangs"

    def wait_for(self, count, seconds=60):
        deadline = time.monotonic() + seconds
        goal = len(self.results) + count
        while len(self.results) < goal:
            assert time.monotonic() < deadline, f"only {len(self.results)} of {goal} answers"
            time.sleep(0.01)


# The application that test_load.py mounts answers ?n=N with N, padding, and a checksum.
class Connection(asyncio.Protocol):
    """Keeps one request under way on a kept connection, and checks each answer."""

    def __init__(self, run):
        self.run, self.data, self.number = run, b"", None

    def connection_made(self, transport):
        self.transport = transport
        self.next()

    def next(self):
        self.number = self.run.take()
        if self.number is None:
            self.transport.close()
            return
        self.transport.write(b"GET /sum?n=%d HTTP/1.1\r\nHost: localhost\r\n\r\n" % self.number)

    def data_received(self, data):
        self.data += data
        head, end, body = self.data.partition(b"\r\n\r\n")
        if not end:
            return
        start = head.index(b"Content-Length: ") + 16
        length = int(head[start:].split(b"\r", 1)[0])
        if len(body) < length:
            return
        number, self.number, self.data = self.number, None, b""
        self.run.check(number, head, body)
        # nginx closes after keepalive_requests answers, and says so.
        if b"\r\nConnection: close" in head:
            self.transport.close()
            self.run.reconnect()
        else:
            self.next()

    def connection_lost(self, error):
        self.run.lost(self)


class Run:
    """A number of requests spread over connections that are kept open."""

    def __init__(self, port, connections, requests, on_thousand=None):
        self.port, self.connections, self.requests = port, connections, requests
        self.on_thousand = on_thousand
        self.taken = self.checked = 0
        self.wrong = []

    def take(self):
        if self.taken == self.requests:
            return None
        self.taken += 1
        return self.taken

    def check(self, number, head, body):
        sum_, _, content = body.partition(b"\n")
        good = (
            head.startswith(b"HTTP/1.1 200 ")
            and content.startswith(b"%d " % number)
            and hashlib.md5(content).hexdigest().encode() == sum_
        )
        if not good:
            self.wrong.append((number, head, body[:200]))
        self.count()

    def count(self):
        self.checked += 1
        if self.on_thousand and self.checked % 1000 == 0:
            self.on_thousand(self.checked)
        if self.checked == self.requests:
            self.done.set_result(None)

    def lost(self, connection):
        if connection.number is not None and not self.done.done():
            self.wrong.append((connection.number, "cut", connection.data[:200]))
            self.count()

    def reconnect(self):
        self.tasks.append(self.loop.create_task(self.connect()))

    async def connect(self):
        await self.loop.create_connection(lambda: Connection(self), "127.0.0.1", self.port)

    async def main(self, seconds):
        self.loop = asyncio.get_running_loop()
        self.done = self.loop.create_future()
        self.tasks = []
        await asyncio.gather(*(self.connect() for _ in range(self.connections)))
        await asyncio.wait_for(self.done, seconds)

    def __call__(self, seconds=600):
        try:
            asyncio.run(self.main(seconds))
        except asyncio.TimeoutError:
            raise AssertionError(f"{self.requests - self.checked} answers are missing; wrong: {self.wrong[:3]}")
        return self
