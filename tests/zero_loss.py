"""A client that measures whether requests are lost or held up while a server is being changed.

It keeps connections open, sends requests at a steady rate below what the server can take, and checks
every answer in full. It runs in a process of its own, so that the test's work does not show up in the
times; `Measurement` starts it and gives its report. The application answers

- the nonce of the query, padded by it, in the body (chunked when the query ends in `c`), and
- in the header `X-Slept` how many microseconds it slept, which the client takes off the time.
"""

import asyncio
import json
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

APP = """
    import os, random, time
    time.sleep({seconds})

    def application(environ, start_response):
        query = environ['QUERY_STRING']
        began = time.monotonic()
        time.sleep(random.uniform(0.001, 0.05))
        slept = time.monotonic() - began
        body = (query + '\\n').encode() * (int(query[:4], 16) % 300 + 1)
        headers = [('Content-Type', 'text/plain'), ('X-Slept', '%d' % (slept * 1e6)),
                   ('X-Pid', str(os.getpid()))]
        if query.endswith('c'):
            start_response('200 OK', headers)
            return iter([body[:1000], body[1000:]])
        start_response('200 OK', headers + [('Content-Length', str(len(body)))])
        return [body]
    """

# A request that takes longer than this has failed.
TIMEOUT = 60


def padded(query):
    return (query + "\n").encode() * (int(query[:4], 16) % 300 + 1)


class Failure(Exception):
    """An answer that is none, or not the right one; the text is its kind."""


async def read_answer(reader, first):
    """Status, headers and body of an answer whose first byte has been read."""
    head = (first + await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {}
    for line in filter(None, head[1:]):
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    if headers.get("transfer-encoding") == "chunked":
        body = b""
        while size := int(await reader.readuntil(b"\r\n"), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        if await reader.readexactly(2) != b"\r\n":
            raise Failure("bad last chunk")
    else:
        body = await reader.readexactly(int(headers["content-length"]))
    return int(head[0].split()[1]), headers, body


class Client:
    """Requests over `connections` kept connections, together `rate` a second."""

    def __init__(self, port, path, connections, rate):
        self.port, self.path = port, path
        self.connections, self.pause = connections, connections / rate
        self.stopped = False
        self.times, self.failures, self.examples = [], Counter(), []
        self.slowest = (0, 0)
        self.idle_closes, self.races, self.pids = 0, [], set()
        self.stall = 0

    async def connect(self):
        try:
            return await asyncio.open_connection("127.0.0.1", self.port)
        except OSError as error:
            self.fail(f"connect: {error.strerror}", "")
            await asyncio.sleep(0.05)
            return None

    def fail(self, kind, query):
        self.failures[kind] += 1
        if len(self.examples) < 10:
            self.examples.append([kind, query, time.strftime("%H:%M:%S")])

    async def work(self):
        streams, kept = None, False
        while not self.stopped:
            await asyncio.sleep(random.uniform(0, 2 * self.pause))
            if streams and streams[0].at_eof():
                # nginx has closed it while nothing was under way.
                self.idle_closes += 1
                streams[1].close()
                streams = None
            if not streams:
                streams, kept = await self.connect(), False
                if not streams:
                    continue
            again = await self.ask(*streams, kept)
            kept = True
            if not again:
                streams[1].close()
                streams = None
        if streams:
            streams[1].close()

    async def ask(self, reader, writer, kept):
        """One request and its answer; whether the connection can be used again."""
        query = f"{random.getrandbits(64):016x}{random.choice('cl')}"
        writer.write(f"GET {self.path}?{query} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        began = time.monotonic()
        try:
            answer = await asyncio.wait_for(self.answer(reader, query, kept), TIMEOUT)
        except asyncio.TimeoutError:
            self.fail("timeout", query)
            return False
        except (asyncio.IncompleteReadError, ConnectionError):
            self.fail("cut", query)
            return False
        except Failure as failure:
            self.fail(str(failure), query)
            return False
        if not answer:
            return False
        took = time.monotonic() - began
        status, headers, body = answer
        if status != 200:
            self.fail(f"status {status}", query)
        elif body != padded(query):
            self.fail("wrong body", query)
        else:
            over = took - int(headers["x-slept"]) / 1e6
            self.times.append(over)
            if len(self.times) == self.connections:
                print("under way", flush=True)
            self.slowest = max(self.slowest, (over, time.time()))
            self.pids.add(int(headers["x-pid"]))
        return headers.get("connection") != "close"

    async def answer(self, reader, query, kept):
        """What comes back; None when nginx has closed the idle connection while the request was on
        its way. That it has not seen that request is for the test to verify, in the access log."""
        try:
            first = await reader.readexactly(1)
        except (asyncio.IncompleteReadError, ConnectionError):
            if not kept:
                raise Failure("closed without an answer") from None
            self.idle_closes += 1
            self.races.append(query)
            return None
        return await read_answer(reader, first)

    async def watch_self(self):
        """How long this process itself was kept from working."""
        while not self.stopped:
            began = time.monotonic()
            await asyncio.sleep(0.005)
            self.stall = max(self.stall, time.monotonic() - began - 0.005)

    async def main(self):
        loop = asyncio.get_running_loop()
        loop.add_reader(sys.stdin, self.stop)
        await asyncio.gather(self.watch_self(), *(self.work() for _ in range(self.connections)))
        times = sorted(self.times)
        at = time.strftime("%H:%M:%S", time.localtime(self.slowest[1])) + f".{self.slowest[1] % 1 * 1000:03.0f}"
        return {
            "requests": len(times) + sum(self.failures.values()),
            "failures": dict(self.failures),
            "examples": self.examples,
            "slowest": self.slowest[0],
            "slowest_at": at,
            "p99": times[len(times) * 99 // 100] if times else 0,
            "idle_closes": self.idle_closes,
            "races": self.races,
            "pids": sorted(self.pids),
            "stall": self.stall,
        }

    def stop(self):
        self.stopped = True
        asyncio.get_running_loop().remove_reader(sys.stdin)


class Measurement:
    """Runs the client while the block does something to the server; then `report` is there.

    The rate is well below what 8 threads can take, or requests would wait for threads and no time
    could be told from another.
    """

    def __init__(self, port, path="/", connections=32, rate=100):
        self.arguments = [str(port), path, str(connections), str(rate)]
        self.report = None

    def __enter__(self):
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__)), *self.arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout.readline() == "under way\n"
        return self

    def __exit__(self, kind, *_):
        try:
            out, _ = self.process.communicate(timeout=2 * TIMEOUT)
        finally:
            self.process.kill()
            self.process.wait()
        if kind is None:
            self.report = json.loads(out)

    def summary(self):
        report = self.report
        return (
            f"{report['requests']} requests, failed {report['failures']}, "
            f"slowest {report['slowest'] * 1000:.1f} ms at {report['slowest_at']}, "
            f"p99 {report['p99'] * 1000:.1f} ms, from {len(report['pids'])} processes; "
            f"{report['idle_closes']} idle connections closed, {len(report['races'])} of them in a race; "
            f"the client's own longest stall {report['stall'] * 1000:.1f} ms"
        )


if __name__ == "__main__":
    port, path, connections, rate = sys.argv[1:]
    print(json.dumps(asyncio.run(Client(int(port), path, int(connections), float(rate)).main())))
