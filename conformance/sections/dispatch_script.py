"""e.7: a script chooses where a request runs."""

from case import of, post

case = of("dispatch-script")

WHERE = """
    def application(environ, start_response, name="application"):
        keys = ("mod_wsgi.process_group", "mod_wsgi.application_group", "mod_wsgi.callable_object")
        facts = {key: environ[key] for key in keys}
        return report(start_response, {**facts, "called": name, "body": describe(environ["wsgi.input"].read())})

    def other(environ, start_response):
        return application(environ, start_response, "other")
    """
# For requests that do not get there.
ANSWER = "start_response('200 OK', []); return [b'called']"


def script(name, functions, *steps, app=WHERE, config=(), **options):
    file = f"dispatch-script-{name}.py"
    config = [f"WSGIDispatchScript {{dir}}/{file}", *config]
    case(name, app, *steps, config=config, files={file: functions}, **options)


def returning(name, function, value, **options):
    script(name, f"def {function}(environ):\n    return {value}\n", **options)


returning("application-group", "application_group", "'chosen'")
returning("application-group-bytes", "application_group", "b'chosen'")
returning("application-group-none", "application_group", "None")
returning("application-group-empty", "application_group", "''")
returning("application-group-global", "application_group", "'%{GLOBAL}'")
returning("application-group-server", "application_group", "'%{SERVER}'")
returning("application-group-host", "application_group", "'%{HOST}'")
returning("application-group-resource", "application_group", "'%{RESOURCE}'")
returning("application-group-variable", "application_group", "'%{ENV:NAMED}'", env={"NAMED": "of-a-variable"})
returning("application-group-no-variable", "application_group", "'%{ENV:NAMED}'")
returning("application-group-no-token", "application_group", "'%{NONE}'")
returning("callable", "callable_object", "'other'")
returning("callable-bytes", "callable_object", "b'other'")
returning("callable-none", "callable_object", "None")
returning("callable-missing", "callable_object", "'missing'")
returning("callable-variable", "callable_object", "'%{ENV:NAMED}'", env={"NAMED": "other"})
returning("callable-no-variable", "callable_object", "'%{ENV:NAMED}'")
returning("callable-over-option", "callable_object", "'other'", options="callable-object=missing")
returning("process-group", "process_group", "'single'", modes=("daemon",))
returning("process-group-bytes", "process_group", "b'single'", modes=("daemon",))
returning("process-group-none", "process_group", "None")
returning("process-group-global", "process_group", "'%{GLOBAL}'", modes=("daemon",))
returning("process-group-empty", "process_group", "''", modes=("daemon",))
returning("process-group-variable", "process_group", "'%{ENV:NAMED}'", env={"NAMED": "single"}, modes=("daemon",))
returning("process-group-unknown", "process_group", "'nobody'", app=ANSWER)
returning("process-group-restricted", "process_group", "'single'", app=ANSWER, modes=("daemon",), config=["WSGIRestrictProcess main"])
returning("process-group-unrestricted", "process_group", "'single'", modes=("daemon",), config=["WSGIRestrictProcess single"])
for function in ("process_group", "application_group", "callable_object"):
    for kind, value in (("int", "5"), ("false", "False"), ("list", "['x']"), ("wide", "'\\u0101'"), ("exception", "{}['x']")):
        returning(f"{function.replace('_', '-')}-{kind}", function, value, app=ANSWER)
script("nothing", "x = 1\n")
script("no-function", "application_group = 'chosen'\n", app=ANSWER)
script("broken", "def application_group(environ:\n")
script("raises", "raise KeyError('x')\n")
script("exits", "raise SystemExit(1)\n")
case("missing", WHERE, config="WSGIDispatchScript {dir}/dispatch-script-none.py")
script(
    "environ",
    """
    # What depends on the server; the two versions are for access scripts alone in mod_wsgi.
    LEFT_OUT = ("SERVER_ADMIN", "SERVER_SOFTWARE", "UNIQUE_ID", "mod_wsgi.connection_id", "apache.version", "mod_wsgi.version")
    # Only whether they are strings.
    SHAPES = ("REMOTE_PORT", "mod_wsgi.server_pid", "mod_wsgi.request_id")

    def process_group(environ):
        for key, value in sorted(environ.items()):
            if not key.startswith(("HTTP_", "REQUEST_", "mod_wsgi.x-", *LEFT_OUT)):
                shown = repr(value) if isinstance(value, str) and key not in SHAPES else isinstance(value, str)
                print("environ", key, shown, file=environ["wsgi.errors"])
    """,
    post(b"the body", "/info?x=%41", "X-A: b", "Authorization: Basic dTpw", "Proxy: x"),
    config=["WSGIPassAuthorization On"],
    env={"VARIABLE": "value"},
    log=["environ .*"],
)
script("body", "def callable_object(environ):\n    return 'other'\n", post(b"the body"))
script(
    "order",
    """
    def callable_object(environ):
        return environ.get('seen', '')

    def application_group(environ):
        environ['seen'] = 'other'

    def process_group(environ):
        environ['seen'] = 'missing'
    """,
)
