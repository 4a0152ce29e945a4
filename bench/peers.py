"""Who is measured, and how each is started. How they are configured is in peers/."""

from dataclasses import dataclass
from pathlib import Path

TEMPLATES = Path(__file__).resolve().parent / "peers"
NGINX = ("@nginx@", "-p", "@dir@", "-e", "@dir@/error.log", "-c", "@dir@/nginx.conf")
APACHE = ("@apache@", "-DFOREGROUND", "-f", "@dir@/apache.conf")
GUNICORN = ("@venv@/bin/gunicorn", "-c", "@dir@/gunicorn.py", "--no-control-socket", "@application@:application")
# nginx's connections may be idle for 50 seconds; by default granian would close them after 30.
# Its threads would end as soon, and be made again in the next round.
GRANIAN = (
    *("@venv@/bin/granian", "--interface", "wsgi", "--http", "1", "--no-ws", "--no-log", "--backlog", "1024"),
    *("--workers", "@processes@", "--blocking-threads", "@threads@", "--blocking-threads-idle-timeout", "600"),
    *("--http1-header-read-timeout", "60000", "--working-dir", "@applications@"),
)


@dataclass(frozen=True)
class Peer:
    """A kind of server. `files` has the templates of the files in its directory; @names@ in them are filled in."""

    name: str
    title: str
    files: dict
    frontend: tuple = ()
    backend: tuple = ()
    ours: bool = False
    # Whether the workers are the processes that run the application.
    embedded: bool = False
    # Measured with requests that have a body only.
    uploads: bool = False


def behind_nginx(name, title, peer, backend=(), files=(), directives="", **more):
    configuration = {"peer.conf": directives + template(peer)}
    return Peer(name, title, read("nginx.conf", *files) | configuration, NGINX, backend, **more)


def unbuffered(name, title, **more):
    """This module passing request bodies on as they come, as mod_wsgi does."""
    directives = "wsgi_request_buffering off; client_body_buffer_size 128k;\n"
    name, peer = f"{name}-unbuffered", f"{name}.conf"
    return behind_nginx(name, f"{title}, unbuffered", peer, directives=directives, ours=True, uploads=True, **more)


def apache(name, title, **more):
    return Peer(name, title, read("apache.conf") | {"peer.conf": template(f"{name}.conf")}, APACHE, **more)


def read(*names):
    return {name: template(name) for name in names}


def template(name):
    return (TEMPLATES / name).read_text()


PEERS = {
    peer.name: peer
    for peer in (
        behind_nginx("daemon", "ngx-wsgi, daemon", "daemon.conf", ours=True),
        behind_nginx("embedded", "ngx-wsgi, embedded", "embedded.conf", ours=True, embedded=True),
        unbuffered("daemon", "ngx-wsgi, daemon"),
        unbuffered("embedded", "ngx-wsgi, embedded", embedded=True),
        behind_nginx("inline", "ngx-wsgi, embedded, 0 threads", "inline.conf", ours=True, embedded=True),
        behind_nginx(
            "uwsgi",
            "nginx + uWSGI",
            "uwsgi.conf",
            ("@venv@/bin/uwsgi", "--ini", "@dir@/uwsgi.ini"),
            files=["uwsgi.ini"],
        ),
        behind_nginx("gunicorn", "nginx + gunicorn", "proxy.conf", GUNICORN, files=["gunicorn.py"]),
        apache("mod_wsgi-daemon", "Apache + mod_wsgi, daemon"),
        apache("mod_wsgi-embedded", "Apache + mod_wsgi, embedded (64 threads)", embedded=True),
        behind_nginx(
            "granian",
            "nginx + granian",
            "proxy.conf",
            (*GRANIAN, "--uds", "@dir@/socket", "@application@:application"),
        ),
        Peer(
            "granian-alone",
            "granian alone",
            {},
            backend=(*GRANIAN, "--host", "127.0.0.1", "--port", "@port@", "@application@:application"),
        ),
        behind_nginx(
            "bjoern",
            "nginx + bjoern (1 thread)",
            "proxy.conf",
            ("@venv@/bin/python", "@dir@/bjoern_server.py"),
            files=["bjoern_server.py"],
        ),
        Peer(
            "bjoern-alone",
            "bjoern alone (1 thread)",
            read("bjoern_server.py"),
            backend=("@venv@/bin/python", "@dir@/bjoern_server.py", "127.0.0.1", "@port@"),
        ),
        behind_nginx("nginx", "nginx itself", "reference.conf"),
    )
}
