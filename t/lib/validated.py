

# With WSGI_VALIDATE=1 this follows every application's own text: its callables run inside
# wsgiref.validate.
def _validated(namespace):
    import types
    import warnings
    from wsgiref import validate

    warnings.simplefilter("error", validate.WSGIWarning)
    # It doesn't know WebDAV's.
    warnings.filterwarnings("ignore", "Unknown REQUEST_METHOD")

    # The validator wants more than PEP 3333 does in two points, in which applications are free:
    # read() with a size, and a Content-Type in every response that has a body.
    class Input:
        def __init__(self, wrapped):
            self.wrapped = wrapped

        def __getattr__(self, name):
            return getattr(self.wrapped, name)

        def __iter__(self):
            return iter(self.wrapped)

        def read(self, size=-1):
            return self.wrapped.read(size)

    def complete(status, headers):
        bare = type(headers) is list and not any(str(item[0]).lower() == "content-type" for item in headers)
        return [*headers, ("Content-Type", "text/plain")] if bare and str(status)[:3] not in ("204", "304") else headers

    def freed(application):
        def run(environ, start_response):
            def start(status, headers, *exc_info):
                return start_response(status, complete(status, headers), *exc_info)

            environ["wsgi.input"] = Input(environ["wsgi.input"])
            return application(environ, start)

        return run

    def is_application(name, value):
        if name == "application":
            return callable(value)
        return type(value) is types.FunctionType and value.__code__.co_varnames[:2] == ("environ", "start_response")

    for name, value in list(namespace.items()):
        if is_application(name, value):
            namespace[name] = validate.validator(freed(value))


_validated(globals())
del _validated
