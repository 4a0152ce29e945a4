# mod_wsgi.LogHandler, made when it is first asked for: logging takes long to import, and few
# applications use the handler.
import sys
_LEVELS = ((50, 3), (40, 4), (30, 5), (20, 7))


def __getattr__(name):
    if name != 'LogHandler':
        raise AttributeError("module 'mod_wsgi' has no attribute %r" % name)
    import logging

    class LogHandler(logging.Handler):
        """Writes to the server's log, at the level of the record and in the request's context."""

        def emit(self, record):
            try:
                level = next((n for least, n in _LEVELS if record.levelno >= least), 8)
                _log(level, self.format(record))
            except Exception:
                self.handleError(record)

    LogHandler.__qualname__ = 'LogHandler'
    return vars(sys.modules['mod_wsgi']).setdefault(name, LogHandler)


def __dir__():
    return sorted({'LogHandler', *vars(sys.modules['mod_wsgi'])} - {'__dir__', '__getattr__'})
