"""A client that sends what it is told, byte for byte, and keeps everything that comes back."""

import socket
import ssl
import struct
import threading
import time

# Seconds without a byte after which a connection counts as hanging.
PATIENCE = 15


class Pause:
    def __init__(self, seconds):
        self.seconds = seconds

    def __call__(self, connection):
        time.sleep(self.seconds)


class Await:
    """Goes on when the text has been received, or the connection has ended, or after a time."""

    def __init__(self, text, seconds=PATIENCE):
        self.text, self.seconds = text, seconds

    def __call__(self, connection):
        connection.wait(lambda: self.text in connection.data or connection.end, self.seconds)


def half_close(connection):
    connection.socket.shutdown(socket.SHUT_WR)


def abort(connection):
    """Leaves with a reset."""
    connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.end = connection.end or "left"
    connection.socket.shutdown(socket.SHUT_RD)
    connection.socket.close()


def connect(port, patience, used):
    """A connection from a port that has not been used yet: it tells log lines apart."""
    refused = []
    while True:
        connection = socket.create_connection(("127.0.0.1", port), timeout=patience)
        if connection.getsockname()[1] not in used:
            break
        refused.append(connection)
    used.add(connection.getsockname()[1])
    for other in refused:
        other.close()
    return connection


class Connection:
    def __init__(self, port, tls, patience, used):
        self.socket = connect(port, patience, used)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            self.socket = context.wrap_socket(self.socket, server_hostname="localhost")
        self.port = self.socket.getsockname()[1]
        self.data = bytearray()
        self.end = None
        self.changed = threading.Condition()
        self.reader = threading.Thread(target=self.read, daemon=True)
        # OpenSSL does not read and write one connection in two threads at a time.
        if not tls:
            self.reader.start()

    def read(self):
        end = None
        while end is None:
            try:
                part = self.socket.recv(65536)
                end = None if part else "closed"
            except socket.timeout:
                part, end = b"", "silence"
            except ConnectionResetError:
                part, end = b"", "reset"
            except OSError:
                part, end = b"", "left"
            with self.changed:
                self.data += part
                self.changed.notify_all()
        with self.changed:
            self.end = self.end or end
            self.changed.notify_all()

    def wait(self, condition, seconds=PATIENCE):
        with self.changed:
            return self.changed.wait_for(condition, seconds)

    def send(self, pieces):
        """Sends bytes and does actions in turn. A server may stop reading before the end."""
        for piece in pieces:
            try:
                if callable(piece):
                    piece(self)
                else:
                    self.socket.sendall(piece)
            except OSError:
                break
        if self.reader.ident is None:
            self.reader.start()

    def close(self):
        try:
            # The reader notices this; closing alone would not wake it.
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.socket.close()
        self.reader.join(PATIENCE)


class Response:
    def __init__(self):
        self.status = ""
        self.interim = []
        self.headers = []
        self.framing = "none"
        self.complete = False
        self.body = b""

    def all(self, name):
        return [value for known, value in self.headers if known == name]


def head(data):
    """Status line, headers, and where the body begins; None when the head is not complete."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return None
    lines = data[:end].decode("latin-1").split("\r\n")
    headers = []
    for line in lines[1:]:
        name, _, value = line.partition(":")
        headers.append((name.lower(), value.strip(" \t")))
    return lines[0], headers, end + 4


def dechunk(data):
    """The body, whether it is complete, and how long the chunks were."""
    body, at = bytearray(), 0
    while True:
        end = data.find(b"\r\n", at)
        if end < 0:
            return bytes(body), False, len(data)
        try:
            size = int(data[at:end].split(b";")[0], 16)
        except ValueError:
            return bytes(body) + data[at:], False, len(data)
        at = end + 2
        if size == 0:
            whole = data[at : at + 2] == b"\r\n"
            return bytes(body), whole, at + 2 if whole else len(data)
        body += data[at : at + size]
        at += size + 2
        if at > len(data):
            return bytes(body), False, len(data)


def parse(data, methods, ended):
    """The responses in what a connection brought, and what follows them.

    `methods` are those of the requests, in order.
    """
    data, found = bytes(data), []
    for method in methods:
        response = Response()
        while True:
            got = head(data)
            if got is None:
                break
            status, headers, start = got
            code = status.split(" ")[1:2]
            if code and code[0].startswith("1") and code[0] != "101":
                response.interim.append(status)
                data = data[start:]
                continue
            break
        if got is None:
            if data or response.interim:
                response.status = "incomplete: " + data.decode("latin-1")[:200]
                found.append(response)
            return found, b""
        response.status, response.headers = status, headers
        lengths = response.all("content-length")
        bodyless = method == "HEAD" or code in (["204"], ["304"])
        if "chunked" in response.all("transfer-encoding"):
            response.framing = "chunked"
            if bodyless:
                response.complete, used = True, start
            else:
                response.body, response.complete, used = dechunk(data[start:])
                used += start
        elif lengths:
            response.framing = "length " + ", ".join(lengths)
            length = 0 if bodyless else int(lengths[0]) if lengths[0].isdigit() else 0
            response.body = data[start : start + length]
            response.complete = len(response.body) == length
            used = start + length
        elif bodyless:
            response.complete, used = True, start
        else:
            response.framing = "close"
            response.body, used = data[start:], len(data)
            response.complete = ended == "closed"
        found.append(response)
        data = data[used:]
    return found, data


def talk(port, step, pieces, used):
    """One connection: responses, what follows them, how it ended, and the client's port."""
    methods = step.methods
    connection = Connection(port, step.tls, step.patience, used)
    try:
        connection.send(pieces)
        if step.keep:
            connection.wait(lambda: connection.end or is_answered(connection.data, methods))
            # A server that closes does so with its last bytes.
            connection.wait(lambda: connection.end, 0.3)
            ended = connection.end or "kept"
        else:
            connection.wait(lambda: connection.end, None)
            ended = connection.end or "silence"
        return *parse(connection.data, methods, ended), ended, connection.port
    finally:
        connection.close()


def is_answered(data, methods):
    found, _ = parse(data, methods, None)
    return len(found) >= len(methods) and all(response.complete for response in found)
