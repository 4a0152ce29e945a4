"""What a case is, and the words that cases are written with."""

import itertools

from client import PATIENCE, Await, Pause, abort, half_close  # noqa: F401

CASES = []
MODES = ("embedded", "daemon")
MEBIBYTE = 1 << 20


class Request:
    """Raw bytes and actions for one connection; `{mount}` in the bytes is the case's URL.

    methods are those of the requests in it. With keep the client leaves the connection open.
    """

    def __init__(self, *pieces, label="", methods=("GET",), tls=False, keep=False, patience=PATIENCE):
        self.pieces, self.label, self.methods = pieces, label, methods
        self.tls, self.keep, self.patience = tls, keep, patience


class Do:
    """Something done to the script between requests, by a function of the running server and case."""

    def __init__(self, function):
        self.function = function


def message(method, path, headers, body, version, host, close):
    """A request's bytes, in two parts."""
    lines = [f"{method} {path if path == '*' else '{mount}' + path} HTTP/{version}"]
    lines += [f"Host: {host}"] if host else []
    named = [header.lower() for header in headers]
    if close and not any(name.startswith("connection:") for name in named):
        lines.append("Connection: close")
    framed = any(name.startswith(("content-length:", "transfer-encoding:")) for name in named)
    if body is not None and not framed:
        lines.append(f"Content-Length: {len(body)}")
    lines += headers
    return "".join(line + "\r\n" for line in lines + [""]).encode("latin-1"), body or b""


def request(method, path="", *headers, body=None, version="1.1", host="localhost", **options):
    head, body = message(method, path, list(headers), body, version, host, version != "1.0")
    return Request(head, body, methods=(method,), **options)


def get(path="", *headers, **options):
    return request("GET", path, *headers, **options)


def head(path="", *headers, **options):
    return request("HEAD", path, *headers, **options)


def post(body, path="", *headers, **options):
    return request("POST", path, *headers, body=body, **options)


def chunks(*parts, end=b"0\r\n\r\n"):
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + end


def chunked(body, *headers, **options):
    """A POST whose body is what is given, bytes of chunked coding."""
    return request("POST", "", "Transfer-Encoding: chunked", *headers, body=body, **options)


def slowly(request, *pieces, **options):
    """The head of a request, and then pieces and actions instead of a body."""
    options.setdefault("methods", request.methods)
    return Request(request.pieces[0], *pieces, **options)


def raw(*pieces, **options):
    return Request(*pieces, **options)


def pipeline(*requests, **options):
    """Several requests on one connection, which the client keeps open."""
    pieces = itertools.chain.from_iterable(request.pieces for request in requests)
    methods = [method for request in requests for method in request.methods]
    pieces = [p.replace(b"Connection: close\r\n", b"") if isinstance(p, bytes) else p for p in pieces]
    return Request(*pieces, methods=methods, keep=True, **options)


def touch(seconds=10):
    """Changes the script's modification time."""
    return Do(lambda server, case: server.touch(case, seconds))


def rewrite(app):
    """Gives the script another source and another time."""
    return Do(lambda server, case: server.rewrite(case, app))


class Case:
    """One script and what is asked of it.

    app      the script: a whole one, or the body of application(environ, start_response)
    steps    requests, and things done between them
    log      regular expressions: lines of the error log in which the case's name occurs are
             compared where they match. Uncaught exceptions are always compared
    anywhere the same for lines that do not name the case
    config   directives of mod_wsgi for the case's URL; nginx gets them in its spelling
    apache, nginx   what only one of the two gets for the case's URL
    env      SetEnv / wsgi_param
    options  of WSGIScriptAlias; url, target and host replace what they are otherwise
    files    more files beside the script
    plain    the script as it is, without the helpers in front of it
    """

    def __init__(
        self,
        section,
        name,
        app,
        *steps,
        log=(),
        anywhere=(),
        config=(),
        apache="",
        nginx="",
        env=(),
        options="",
        url=None,
        target=None,
        host="localhost",
        files=(),
        plain=False,
        server=None,
        group="main",
        application_group="cases",
        modes=MODES,
        quick=None,
    ):
        self.section, self.name = section, f"{section}/{name}"
        self.app, self.steps = app, steps or (get(),)
        self.log = (log,) if isinstance(log, str) else log
        self.anywhere = (anywhere,) if isinstance(anywhere, str) else anywhere
        self.config = [config] if isinstance(config, str) else list(config)
        self.apache, self.nginx, self.env, self.options = apache, nginx, dict(env), options
        self.url = f"/{self.name}" if url is None else url
        self.script = self.name.replace("/", "-") + ".wsgi"
        self.target = target or self.script
        self.host, self.files, self.plain = host, dict(files), plain
        self.group, self.application_group = group, application_group
        self.server = server or ("global" if application_group == "%{GLOBAL}" else "main")
        self.modes, self.quick = modes, quick
        assert all(known.name != self.name for known in CASES), f"two cases are called {self.name}"


def of(section):
    """The function that adds a case to a section."""

    def case(name, app, *steps, **options):
        CASES.append(Case(section, name, app, *steps, **options))

    return case
