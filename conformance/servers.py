"""Apache with mod_wsgi, and nginx with this module, from one description of what they serve."""

import functools
import glob
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from pathlib import Path

import facts
from client import talk
from processes import alive, descendants, reap, wait_until

ROOT = Path(__file__).resolve().parent.parent
NGINX = os.environ.get("WSGI_NGINX", "/usr/sbin/nginx")
NGINX_MODULE = ROOT / "build" / "ngx_http_wsgi_module.so"
APACHE = "/usr/sbin/apache2"
APACHE_MODULES = "/usr/lib/apache2/modules"
IS_ROOT = os.geteuid() == 0
PRELUDE = (Path(__file__).parent / "prelude.py").read_text()
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}

taken_ports = set()


def free_port():
    while True:
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        if port not in taken_ports:
            taken_ports.add(port)
            return port


def source(case, app):
    """The script of a case."""
    app = textwrap.dedent(app).strip("\n") + "\n"
    if case.plain:
        return app
    if not re.search(r"^(def|class) application\b|^(from .* import )?application\b", app, re.M):
        app = "def application(environ, start_response):\n" + textwrap.indent(app, "    ")
    return f"NAME = {case.name!r}\n{PRELUDE}\n\n{app}"


class Server:
    """One running server: of one product, in one mode, with one profile of global settings."""

    def __init__(self, profile, mode, cases, certificate):
        self.profile, self.mode, self.cases, self.certificate = profile, mode, cases, certificate
        self.dir = Path(tempfile.mkdtemp(prefix="wsgi-c-", dir="/tmp"))
        self.dir.chmod(0o755)
        self.port, self.tls_port = free_port(), free_port()
        self.error_log = self.dir / "error.log"
        self.results = {}
        self.clients = {}
        self.client_ports = set()
        self.missing = []
        self.failures = []
        self.times = {}
        self.process = None
        self.write_scripts()

    def write_scripts(self):
        (self.dir / "scripts").mkdir()
        (self.dir / "html").mkdir()
        for name, text in self.profile.get("files", {}).items():
            self.write(name, self.fill(text))
        for case in self.cases:
            if case.app is not None:
                self.write(case.script, source(case, case.app))
            for name, text in case.files.items():
                self.write(name, textwrap.dedent(text) if isinstance(text, str) else text)

    def write(self, name, text):
        path = self.dir / "scripts" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)

    def touch(self, case, seconds):
        path = self.dir / "scripts" / case.target
        modified = path.stat().st_mtime + seconds
        os.utime(path, (modified, modified))

    def rewrite(self, case, app):
        path = self.dir / "scripts" / case.target
        before = path.stat().st_mtime
        # A new file, put in place at once, as editors and deployments do.
        new = path.with_suffix(".new")
        new.write_text(source(case, app))
        os.utime(new, (before + 10, before + 10))
        new.rename(path)

    def fill(self, text):
        return text.replace("{dir}", str(self.dir / "scripts"))

    def start(self):
        (self.dir / "conf").write_text(self.configuration())
        with open(self.dir / "output", "wb") as output:
            self.process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=ENVIRONMENT
            )

    def wait(self):
        def answers():
            if self.process.poll() is not None:
                return True
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                return False
            return True

        wait_until(answers, lambda: f"{self} to answer: {self.said()}")
        if self.process.poll() is not None:
            raise SystemExit(f"{self} did not start:\n{self.said()}")

    def said(self):
        texts = [(self.dir / "output"), self.error_log]
        return "".join(path.read_text(errors="replace") for path in texts if path.exists())

    def run(self):
        self.thread = threading.Thread(target=self.run_cases)
        self.thread.start()

    def run_cases(self):
        for case in self.cases:
            started = time.monotonic()
            try:
                self.results[case.name] = self.run_case(case)
            except Exception as error:  # noqa: BLE001 - whatever it is, the case has failed
                self.failures.append(f"{case.name} could not be run: {error!r}")
            self.times[case.name] = time.monotonic() - started

    def run_case(self, case):
        found, number = {}, 0
        requests = [step for step in case.steps if not hasattr(step, "function")]
        for step in case.steps:
            if hasattr(step, "function"):
                step.function(self, case)
                continue
            number += 1
            label = step.label or (str(number) if len(requests) > 1 else "")
            mount = case.url.rstrip("/").encode()
            pieces = [piece if callable(piece) else piece.replace(b"{mount}", mount) for piece in step.pieces]
            port = self.tls_port if step.tls else self.port
            answers, beyond, ended, client = talk(port, step, pieces, self.client_ports)
            self.clients.setdefault(case.name, set()).add(client)
            found.update(facts.responses(step, label, answers, beyond, ended, self.clean))
        return found

    def clean(self, text):
        text = text.replace(str(self.dir), "<dir>")
        text = re.sub(rf"\b({self.port}|{self.tls_port})\b", "<port>", text)
        text = re.sub(r"_mod_wsgi_[0-9a-f]{32}", "_mod_wsgi_<md5>", text)
        return re.sub(r" at 0x[0-9a-f]+", " at <address>", text)

    def stop(self):
        """Ends it as an administrator does, and adds what the log has of each case."""
        if self.process.poll() is None:
            self.process.send_signal(self.stop_signal)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.failures.append("did not end, and was killed")
            self.process.kill()
            self.process.wait()

    def read_log(self):
        text = self.error_log.read_text(errors="replace") if self.error_log.exists() else ""
        text += (self.dir / "output").read_text(errors="replace")
        known = facts.lines(text)
        for case in self.cases:
            clients = self.clients.get(case.name, ())
            found = facts.log(case, known, clients, self.clean)
            self.results.setdefault(case.name, {}).update(found)
        for owner, what in self.missing:
            if owner in self.results:
                self.results[owner]["configuration"] = what
            else:
                self.failures.append(what)
        died = [line.text for line in known if re.search(self.deaths, line.text)]
        return [f"{self}: {text}" for text in died + self.failures]

    def remove(self):
        shutil.rmtree(self.dir, ignore_errors=True)

    def hosts(self):
        hosts = {"localhost": []}
        for case in self.cases:
            hosts.setdefault(case.host, []).append(case)
        return hosts

    def groups(self):
        return self.profile.get("groups", ["main threads=4"]) if self.mode == "daemon" else []

    def __str__(self):
        return f"{self.product} ({self.mode}, {self.profile['name']})"


class Apache(Server):
    product = "Apache"
    stop_signal = signal.SIGTERM
    # mod_wsgi does crash; what that does to a case is compared like everything else.
    deaths = r"(?!)"

    def command(self):
        return [APACHE, "-DFOREGROUND", "-f", str(self.dir / "conf")]

    def configuration(self):
        wsgi = sorted(glob.glob(f"{sys.prefix}/lib/python*/site-packages/mod_wsgi/server/mod_wsgi-py*.so"))
        if not wsgi:
            raise SystemExit(f"mod_wsgi is not in {sys.prefix}: scripts/setup conformance")
        modules = "mpm_event authz_core alias env ssl setenvif authn_core authn_file auth_basic authz_user"
        names = [f"LoadModule {name}_module {APACHE_MODULES}/mod_{name}.so" for name in modules.split()]
        lines = [
            f"ServerRoot {self.dir}",
            f"DefaultRuntimeDir {self.dir}",
            f"PidFile {self.dir}/pid",
            f"ErrorLog {self.error_log}",
            "LogLevel info ssl:warn",
            *names,
            f"LoadModule wsgi_module {wsgi[-1]}",
            *(["User www-data", "Group www-data"] if IS_ROOT else []),
            "ServerLimit 1",
            "StartServers 1",
            "ThreadsPerChild 8",
            "MaxRequestWorkers 8",
            "MinSpareThreads 1",
            "MaxSpareThreads 8",
            f"WSGISocketPrefix {self.dir}/wsgi",
            f"Listen 127.0.0.1:{self.port}",
            f"Listen 127.0.0.1:{self.tls_port}",
            "ServerName localhost",
            "UseCanonicalName On",
            "UseCanonicalPhysicalPort On",
            f"DocumentRoot {self.dir}/html",
            "Timeout 20",
            f'<Directory "{self.dir}">',
            "Require all granted",
            "</Directory>",
            *[self.fill(line) for line in self.profile.get("config", [])],
            self.fill(self.profile.get("apache", "")),
            *[f"WSGIDaemonProcess {self.fill(group)}" for group in self.groups()],
        ]
        if sys.base_prefix != "/usr":
            lines.append(f"WSGIPythonHome {sys.base_prefix}")
        for host, cases in self.hosts().items():
            for port in (self.port, self.tls_port):
                lines += self.host(host, port, cases)
        return "\n".join(lines) + "\n"

    def host(self, host, port, cases):
        lines = [f"<VirtualHost 127.0.0.1:{port}>", f"ServerName {host}", "AllowEncodedSlashes On"]
        if port == self.tls_port:
            lines += [
                "SSLEngine on",
                *(f"{name} {self.certificate}" for name in ("SSLCertificateFile", "SSLCertificateKeyFile")),
            ]
            lines += ["SSLOptions +StdEnvVars"]
        if self.mode == "daemon":
            lines.append("WSGIProcessGroup main")
        for case in cases:
            lines += [
                f'WSGIScriptAlias "{case.url}" "{self.dir}/scripts/{case.target}" {case.options}',
                f'<Location "{case.url}">',
                f'WSGIApplicationGroup "{case.application_group}"',
                *([f"WSGIProcessGroup {case.group}"] if self.mode == "daemon" else []),
                *[f'SetEnv {name} "{value}"' for name, value in case.env.items()],
                *[self.fill(line) for line in case.config],
                self.fill(case.apache),
                "</Location>",
            ]
        return [*lines, "</VirtualHost>"]


class Unknown(Exception):
    """A directive that this module does not have."""


@functools.lru_cache(None)
def known_directives():
    return set(re.findall(rb"wsgi_[a-z0-9_]+", NGINX_MODULE.read_bytes()))


def in_nginx(line):
    """A directive of mod_wsgi in nginx's spelling."""
    name, _, rest = line.partition(" ")
    name = name.replace("HEADToGET", "HeadToGet").replace("WSGI", "Wsgi")
    name = re.sub(r"(?<!^)([A-Z])", r"_\1", name).lower()
    if name.encode() not in known_directives():
        raise Unknown(f"the module has no {name}")
    words = [word.lower() if word in ("On", "Off", "Auto") else f'"{word}"' for word in rest.split()]
    return f"{name} {' '.join(words)};"


class Nginx(Server):
    product = "nginx"
    stop_signal = signal.SIGQUIT
    deaths = r"exited on signal|panicked|terminated by signal"

    def wait(self):
        super().wait()
        # A client that leaves while no process is ready is not served, rightly.
        groups = len(self.groups())
        wait_until(
            lambda: self.said().count('" is ready') >= groups,
            lambda: f"the groups of {self} to be ready: {self.said()}",
        )

    def command(self):
        return [NGINX, "-p", str(self.dir), "-e", str(self.error_log), "-c", str(self.dir / "conf")]

    def configuration(self):
        (self.dir / "temp").mkdir()
        temp = [
            f"{kind}_temp_path {self.dir}/temp/{kind};"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi", "wsgi")
        ]
        lines = [
            f"load_module {NGINX_MODULE};",
            *(["user www-data;"] if IS_ROOT else []),
            "daemon off;",
            "worker_processes 1;",
            f"pid {self.dir}/pid;",
            f"error_log {self.error_log} info;",
            "events { worker_connections 256; }",
            "http {",
            *temp,
            "access_log off;",
            "client_max_body_size 0;",
            "wsgi_embedded_threads 8;",
            "server_names_hash_bucket_size 128;",
            *self.directives("(server)", self.profile.get("config", [])),
            self.fill(self.profile.get("nginx", "")),
            # mod_wsgi's requests wait for the process that has a changed script.
            *[in_nginx(f"WSGIDaemonProcess {self.fill(group)} reload-wait=30") for group in self.groups()],
        ]
        for host, cases in self.hosts().items():
            lines += self.host(host, cases)
        return "\n".join([*lines, "}"]) + "\n"

    def directives(self, owner, lines):
        """In nginx's spelling; one that the module lacks fails its case, and not all the others."""
        found = []
        for line in lines:
            try:
                found.append(in_nginx(self.fill(line)))
            except Unknown as unknown:
                self.missing.append((owner, str(unknown)))
        return found

    def host(self, host, cases):
        lines = [
            "server {",
            f"listen 127.0.0.1:{self.port};",
            f"listen 127.0.0.1:{self.tls_port} ssl;",
            "ssl_protocols TLSv1.2 TLSv1.3;",
            f"ssl_certificate {self.certificate};",
            f"ssl_certificate_key {self.certificate};",
            f"server_name {host};",
        ]
        for case in cases:
            lines += [
                in_nginx(f"WSGIScriptAlias {case.url} {self.dir}/scripts/{case.target} {case.options}"),
                f'location "{case.url}" {{',
                f'wsgi_application_group "{case.application_group}";',
                *([f'wsgi_process_group "{case.group}";'] if self.mode == "daemon" else []),
                *[f'wsgi_param {name} "{value}";' for name, value in case.env.items()],
                *self.directives(case.name, case.config),
                self.fill(case.nginx),
                "}",
            ]
        return [*lines, "}"]


def end_everything():
    """Ends what the servers have left behind, and says what that was."""

    def gone():
        reap()
        return not [process for process in descendants() if alive(process.pid)]

    try:
        wait_until(gone, "the end", 20)
        return []
    except AssertionError:
        left = [repr(process) for process in descendants() if alive(process.pid)]
        for process in descendants():
            try:
                os.kill(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        wait_until(gone, "the end", 20)
        return left


def make_certificate(directory):
    path = Path(directory) / "certificate.pem"
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "30",
            "-subj",
            "/C=XX/O=Conformance/CN=localhost",
            "-keyout",
            str(path),
            "-out",
            str(path) + ".crt",
        ],
        check=True,
        capture_output=True,
    )
    path.write_text(path.read_text() + Path(str(path) + ".crt").read_text())
    return path
