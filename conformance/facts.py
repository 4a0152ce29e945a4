"""From what a server did to facts that can be compared."""

import fnmatch
import hashlib
import json
import re

# Of the server and the moment, not of the application.
IGNORED_HEADERS = {"date", "server", "connection", "keep-alive", "transfer-encoding", "content-length"}

# The servers' own error pages: Apache's, nginx's. One may be cut, or follow something else.
ERROR_PAGE = re.compile(
    r"<!DOCTYPE HTML PUBLIC [^\n]*\n(<html xmlns[^\n]*\n)?<htm(l><head>\n<title>\d{3} .*)?$"
    r"|<html>\r\n<head><title>\d{3} .*$",
    re.DOTALL,
)


def responses(step, label, found, beyond, ended, clean):
    """Facts of the responses of one connection."""
    # A server that closes with data unread resets the connection.
    facts = {"connection": "closed" if ended == "reset" else ended}
    if beyond:
        facts["beyond the last response"] = ERROR_PAGE.sub("<error page>", beyond.decode("latin-1"))
    for number, response in enumerate(found, 1):
        at = f"{number}. " if len(step.methods) > 1 else ""
        facts[at + "status"] = response.status
        if response.interim:
            facts[at + "interim"] = "; ".join(response.interim)
        if ERROR_PAGE.match(response.body.decode("latin-1")):
            facts[at + "body"] = "<error page>"
            continue
        for name in dict.fromkeys(name for name, _ in response.headers):
            if name not in IGNORED_HEADERS:
                facts[f"{at}header {name}"] = clean("\n".join(response.all(name)))
        if ended == "left":
            continue
        if response.all("content-type") == ["application/x-facts"] and response.complete and response.body:
            for name, value in json.loads(response.body).items():
                facts[f"{at}value {name}"] = clean(str(value))
            continue
        facts[at + "framing"] = response.framing
        if not response.complete:
            facts[at + "complete"] = "no"
        facts[at + "body"] = clean(ERROR_PAGE.sub("<error page>", shown(response.body)))
    return {f"[{label}] {name}" if label else name: value for name, value in facts.items()}


def shown(body):
    if len(body) > 2000:
        return f"{len(body)} bytes, SHA-256 {hashlib.sha256(body).hexdigest()[:16]}"
    return body.decode("latin-1")


# The last line of a traceback, or all that there is of it.
EXCEPTION = r"^[\w.]*(Error|Exception|Exit|Interrupt|Warning)(: .*)?$"


class Line:
    """A line of an error log, without what the servers add to the text."""

    def __init__(self, level, text, client=None, context=""):
        self.level, self.text, self.client, self.context = level, text, client, context


# [Sat Nov 21 12:28:06 2026] [wsgi:error] [pid 1:tid 2] [client 127.0.0.1:4] WSGI0174: [script S] text
APACHE_LINE = re.compile(
    r"\[[^]]+\] \[[\w-]*:(\w+)\] \[pid [^]]+\] (?:\[(?:client|remote) [\d.]+:(\d+)\] )?"
    r"((?:WSGI\d+: |AH\d+: )?(?:\[script [^]]*\] )?)(.*)"
)
# 2026/11/21 12:28:06 [error] 1#2: *3 text while doing something, client: 127.0.0.1, ...
NGINX_LINE = re.compile(
    r"[\d/]+ [\d:]+ \[(\w+)\] \d+#\d+: (?:\*\d+ )?(.*?)"
    r"((?: while (?:[a-z]+ing |sending |SSL )[^,]*)?, client: [\d.]+.*|, request: \"[^\"]*\")?$"
)


ESCAPE = re.compile(r"\\(x[0-9a-f]{2}|.)")
ESCAPED = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "v": "\v", "f": "\f", "\\": "\\", '"': '"'}


def lines(text):
    """The lines of an error log, of either server. What has no level is somebody's raw output."""
    found = []
    for line in text.splitlines():
        if match := APACHE_LINE.match(line):
            level, client, context, text = match.groups()
            # Apache escapes what is not printable ASCII, and the backslash.
            text = ESCAPE.sub(lambda match: ESCAPED.get(match[1]) or chr(int(match[1][1:], 16)), text)
            text = text.encode("latin-1", "replace").decode("utf-8", "replace")
            found.append(Line(level, text, client and int(client), context))
        elif match := NGINX_LINE.match(line):
            found.append(Line(match.group(1), match.group(2), None, match.group(3) or ""))
        else:
            found.append(Line("raw", line))
    return found


def log(case, known, clients, clean):
    """Facts of the log lines that belong to a case: its clients', and those that name it."""
    words = {case.name, case.script, case.target}
    name = re.compile("|".join(re.escape(word) + r"(?![\w-])" for word in words))
    own = [
        line
        for line in known
        if line.client in clients or name.search(line.text) or name.search(line.context)
    ]
    facts = {}
    for pattern in (EXCEPTION, *case.log, *case.anywhere):
        wanted = re.compile(pattern)
        where = known if pattern in case.anywhere else own
        matches = [(line.level, wanted.search(line.text)) for line in where]
        found = [f"{level}: {match.group()}" for level, match in matches if match]
        facts["log exceptions" if pattern is EXCEPTION else f"log {pattern}"] = clean("\n".join(found))
    return facts


class Difference:
    def __init__(self, case, mode, fact, ours, theirs):
        self.case, self.mode, self.fact, self.ours, self.theirs = case, mode, fact, ours, theirs

    def __str__(self):
        return (
            f"  {self.case.name}: {self.fact}\n"
            f"    ours:   {indented(self.ours)}\n"
            f"    theirs: {indented(self.theirs)}"
        )


def indented(value):
    if value is None:
        return "(none)"
    value = value if len(value) <= 1000 else f"{value[:1000]}... ({len(value)} characters)"
    value = "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in value)
    return value.replace("\n", "\n            ")


def differences(case, mode, ours, theirs):
    names = list(theirs) + [name for name in ours if name not in theirs]
    found = [
        Difference(case, mode, name, ours.get(name), theirs.get(name))
        for name in names
        if ours.get(name) != theirs.get(name)
    ]
    # Different answers have nothing else to compare.
    other = {d.fact[: -len("status")] for d in found if d.fact.endswith("status")}
    return [d for d in found if d.fact.endswith("status") or prefix(d.fact) not in other]


def prefix(fact):
    """Which response a fact is of."""
    if fact.startswith("log "):
        return fact
    return re.match(r"(\[[^]]*\] )?(\d+\. )?", fact).group()


def bare(fact):
    return fact[len(prefix(fact)) :] if prefix(fact) != fact else fact


class Explained:
    """A row of the table: which differences, and why they are."""

    def __init__(self, fact, because, case="*", mode="*", ours=None, theirs=None):
        self.fact, self.because, self.case, self.mode = fact, because, case, mode
        self.ours, self.theirs = ours, theirs
        self.used = 0

    def covers(self, difference):
        return (
            any(fnmatch.fnmatchcase(bare(difference.fact), part) for part in self.fact.split(" | "))
            and any(fnmatch.fnmatchcase(difference.case.name, part) for part in self.case.split(" | "))
            and self.mode in ("*", difference.mode)
            and fits(self.ours, difference.ours)
            and fits(self.theirs, difference.theirs)
        )

    def __str__(self):
        return f"{self.fact} in {self.case} ({self.mode})"


def fits(pattern, value):
    return pattern is None or re.fullmatch(pattern, value or "", re.DOTALL) is not None
