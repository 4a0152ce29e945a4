"""Clients beside wrk: exact numbers of requests, checked answers, and connections that are held open.

As a program: `clients.py idle|slow PORT COUNT PATH` opens COUNT connections, says "ready" and holds
them until it is killed; idle ones after one answered request each, slow ones while reading answers
at 160 KiB a second.
"""

import http.client
import selectors
import socket
import sys
import threading
import time

SLOW_BLOCK = 16384
SLOW_PAUSE = 0.1


def ask(connection, workload):
    """One request; returns the body of its answer."""
    body = None if workload.body is None else b"x" * workload.body
    connection.request(workload.method, workload.path, body, workload.extra_headers)
    answer = connection.getresponse()
    data = answer.read()
    if answer.status != 200:
        raise SystemExit(f"{workload.path} was answered {answer.status}: {data[:200]!r}")
    return data


def check(server, workload, expected):
    """Ends the run unless the server answers what the application does."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    found = ask(connection, workload)
    connection.close()
    if found != expected:
        raise SystemExit(
            f"{server.peer.title}, {workload.name}: {len(found)} bytes {found[:60]!r} instead of {len(expected)} bytes "
            f"{expected[:60]!r}\n{server.said()}"
        )


def exactly(server, workload, requests, connections):
    """Makes so many requests over connections that stay open."""
    left = iter(range(requests))
    failures = []

    def client():
        try:
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=600)
            for _ in left:
                ask(connection, workload)
            connection.close()
        except (Exception, SystemExit) as failure:  # noqa: BLE001 - raised by the thread that waits
            failures.append(failure)

    threads = [threading.Thread(target=client) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise SystemExit(f"{server.peer.title}, {workload.name}: {failures[0]}\n{server.said()}")


def request(path):
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


def hold(port, count, path):
    connections = []
    for _ in range(count):
        connection = socket.create_connection(("127.0.0.1", port))
        connection.sendall(request(path))
        if not connection.recv(65536).startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"no answer to {path}")
        connections.append(connection)
    print("ready", flush=True)
    threading.Event().wait()


def read_slowly(port, count, path):
    """Each connection asks again when it has read 1 MiB, so there are always so many readers."""
    unread = {}
    with selectors.DefaultSelector() as selector:
        for _ in range(count):
            connection = socket.socket()
            # The kernel must not read ahead for a slow client.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SLOW_BLOCK)
            connection.connect(("127.0.0.1", port))
            connection.setblocking(False)
            selector.register(connection, selectors.EVENT_READ)
            unread[connection] = 0
        print("ready", flush=True)
        while True:
            for connection, count in unread.items():
                if count <= 0:
                    connection.sendall(request(path))
                    unread[connection] += 1 << 20
            time.sleep(SLOW_PAUSE)
            for key, _ in selector.select(timeout=0):
                data = key.fileobj.recv(SLOW_BLOCK)
                if not data:
                    raise SystemExit("a slow reader's connection was closed")
                unread[key.fileobj] -= len(data)


if __name__ == "__main__":
    kind, port, count, path = sys.argv[1:]
    {"idle": hold, "slow": read_slowly}[kind](int(port), int(count), path)
