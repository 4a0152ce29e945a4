import json as _json


def describe(value):
    """A value as text that is the same in every process: no addresses, no times."""
    if isinstance(value, float) and value > 1e9:
        return "<time>"
    if value is None or isinstance(value, (str, bytes, int, float)):
        return repr(value)
    if isinstance(value, (tuple, list)):
        return type(value).__name__ + "(" + ", ".join(map(describe, value)) + ")"
    if type(value).__name__ in ("function", "builtin_function_or_method"):
        return "function"
    if isinstance(value, type):
        return f"class {value.__module__}.{value.__qualname__}"
    return f"{type(value).__module__}.{type(value).__qualname__} object"


def attempt(function, *arguments, **named):
    """What a call gives, or the exception that it raises."""
    try:
        return describe(function(*arguments, **named))
    except BaseException as error:
        return f"{type(error).__name__}: {error}"


def report(start_response, facts):
    """Answers with facts, each of which is compared by itself."""
    body = _json.dumps(facts).encode()
    start_response("200 OK", [("Content-Type", "application/x-facts"), ("Content-Length", str(len(body)))])
    return [body]


# What each server, process or request has a value of its own for; the shape of it is compared.
_VOLATILE = (
    "REMOTE_PORT",
    "mod_wsgi.server_pid",
    "mod_wsgi.request_id",
    "mod_wsgi.connection_id",
    "mod_wsgi.thread_id",
    "UNIQUE_ID",
    "SSL_SERVER_M_SERIAL",
    "SSL_SESSION_ID",
    "SSL_SERVER_V_START",
    "SSL_SERVER_V_END",
)


def shape(value):
    if isinstance(value, str):
        kind = "empty" if not value else "digits" if value.isdigit() else "text"
        return f"<str, {kind}>"
    return f"<{type(value).__name__}>"


def environment(environ):
    """The facts of an environ."""
    return {
        key: shape(value) if key in _VOLATILE else describe(value) for key, value in sorted(environ.items())
    }
