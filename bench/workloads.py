"""What is asked of the servers."""

import importlib
import io
from dataclasses import dataclass
from wsgiref.util import setup_testing_defaults

@dataclass(frozen=True)
class Workload:
    """One request, made again and again over a number of connections."""

    name: str
    title: str
    path: str
    application: str = "plain"
    connections: int = 64
    # Bytes of the request's body. None is a GET request.
    body: int | None = None
    # How many headers of its own the request has.
    headers: int = 0
    # Clients that read /body-1m slowly at the same time.
    slow_readers: int = 0
    # Whether nginx can do it without an application.
    reference: bool = False

    @property
    def method(self):
        return "GET" if self.body is None else "POST"

    @property
    def extra_headers(self):
        return {f"X-Header-{number}": f"the value of header {number}" for number in range(1, self.headers + 1)}

    def expected(self):
        """What every server has to answer: what the application says when it is called."""
        application = importlib.import_module(self.application).application
        body = io.BytesIO(b"x" * (self.body or 0))
        environ = {"PATH_INFO": self.path, "REQUEST_METHOD": self.method, "wsgi.input": body}
        environ |= {"HTTP_" + name.upper().replace("-", "_"): value for name, value in self.extra_headers.items()}
        setup_testing_defaults(environ)
        found = application(environ, lambda status, headers: None)
        try:
            return b"".join(found)
        finally:
            getattr(found, "close", lambda: None)()


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload("hello", "13 bytes", "/hello", reference=True),
        Workload("environ", "13 bytes, 20 request headers, the application walks environ", "/environ", headers=20),
        Workload("flask", "JSON from Flask", "/json", "flask_json"),
        Workload("django", "A template from Django", "/page", "django_page"),
        Workload("body-64k", "64 KiB", "/body-64k"),
        Workload("body-1m", "1 MiB", "/body-1m"),
        Workload("file", "10 MiB from wsgi.file_wrapper", "/file", connections=16, reference=True),
        Workload("post-1m", "POST of 1 MiB", "/post", body=1 << 20, connections=16, reference=True),
        Workload("post-20m", "POST of 20 MiB", "/post", body=20 << 20, connections=4, reference=True),
        Workload("blocks", "200 blocks of 1 KiB, gathered", "/blocks"),
        Workload("flushed-blocks", "200 blocks of 1 KiB, each sent at once", "/flushed-blocks"),
        Workload("sleep", "The application sleeps 20 ms", "/sleep"),
        Workload("latency", "13 bytes, one connection", "/hello", connections=1, reference=True),
        Workload("slow-readers", "13 bytes, while 50 clients read 1 MiB slowly", "/hello", slow_readers=50),
    )
}
