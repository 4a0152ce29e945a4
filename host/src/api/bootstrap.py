# Runs once in the namespace of the module mod_wsgi of every interpreter, before anything else.
import os
import signal
import site
import sys
import threading  # noqa: F401  whoever imports it first is its main thread
import types


class RequestTimeout(BaseException):
    """Raised in a request thread whose request takes too long."""


class FileWrapper:
    """wsgi.file_wrapper of PEP 3333."""

    def __init__(self, filelike, blksize=8192):
        if blksize < 0:
            raise ValueError('blksize must not be negative')
        self._filelike = filelike
        self._blksize = blksize
        self._closed = False

    @property
    def filelike(self):
        if self._closed:
            raise ValueError('I/O operation on closed file')
        return self._filelike

    @property
    def blksize(self):
        return self._blksize

    def __iter__(self):
        return self

    def __next__(self):
        data = self.filelike.read(self._blksize)
        if not isinstance(data, bytes):
            raise TypeError('file wrapper read() must return bytes')
        if not data:
            raise StopIteration
        return data

    def close(self):
        if not self._closed:
            self._closed = True
            try:
                self._filelike.close()
            except Exception:
                pass


class _TextStream(_Stream):
    __slots__ = ()
    encoding = 'utf-8'
    errors = 'replace'
    mode = 'w'
    newlines = None
    closed = False
    line_buffering = True

    def fileno(self):
        raise OSError('a log has no file descriptor')

    def isatty(self):
        return False

    def readable(self):
        return False

    def seekable(self):
        return False

    def writable(self):
        return True

    def close(self):
        self.flush()

    def writelines(self, lines):
        for line in lines:
            self.write(line)


class _ErrorStream(_TextStream):
    __slots__ = ()
    name = '<wsgi.errors>'


class _StdoutStream(_TextStream):
    __slots__ = ()
    name = '<stdout>'


class _StderrStream(_TextStream):
    __slots__ = ()
    name = '<stderr>'


active_requests = {}
event_callbacks = []
shutdown_callbacks = []


def subscribe_events(callback):
    event_callbacks.append(callback)
    return callback


def subscribe_shutdown(callback):
    shutdown_callbacks.append(callback)
    return callback


def request_data():
    return _current_request()


def _publish(event, **payload):
    callbacks = event_callbacks
    if event == 'process_stopping':
        payload.setdefault('shutdown_reason', '')
        callbacks = event_callbacks + shutdown_callbacks
    for callback in list(callbacks):
        try:
            result = callback(event, **payload)
            if isinstance(result, dict):
                payload.update(result)
        except Exception:
            import traceback
            _log(4, 'Exception occurred within event callback.\n' + traceback.format_exc().rstrip())
    return payload


def _join_threads():
    threading = sys.modules.get('threading')
    if threading is None:
        return
    for callback in reversed(getattr(threading, '_threading_atexits', ())):
        callback()
    main, dummy = threading.main_thread(), threading._DummyThread
    for thread in threading.enumerate():
        if thread is not main and not thread.daemon and not isinstance(thread, dummy):
            thread.join()


def __getattr__(name):
    # logging takes long to import, and few applications use the handler.
    if name != 'LogHandler':
        raise AttributeError("module 'mod_wsgi' has no attribute %r" % name)
    import logging

    class LogHandler(logging.Handler):
        """Writes to the server's log at the level of the record."""

        def emit(self, record):
            try:
                level = next(n for least, n in _LEVELS if record.levelno >= least)
                _log(level, self.format(record))
            except Exception:
                self.handleError(record)

    globals()['LogHandler'] = LogHandler
    return LogHandler


_LEVELS = ((50, 3), (40, 4), (30, 5), (20, 7), (0, 8))


def _restrict_signals():
    pid = os.getpid()
    register = signal.signal

    def intercept(signum, handler):
        if os.getpid() != pid:
            return register(signum, handler)
        _log(7, 'Ignoring Python signal handler registration for signal %d.' % signum)
        return handler

    intercept.__name__ = 'signal'
    intercept.__doc__ = register.__doc__
    signal.signal = intercept


def _extend_path():
    before = list(sys.path)
    for directory in _python_path:
        if not os.path.isdir(directory):
            _log(4, "Unable to add directory '%s' to the Python module search path." % directory)
            break
        site.addsitedir(directory)
    added = [entry for entry in sys.path if entry not in before]
    sys.path[:] = _home + added + before


def _make_apache():
    module = types.ModuleType('apache')
    module.__dict__.update(_apache)
    module.maximum_processes = maximum_processes
    module.threads_per_process = threads_per_process
    module.mpm_name = 'nginx'
    module.build_date = ''
    sys.modules['apache'] = module


sys.argv = ['mod_wsgi']
sys.stdout = sys.__stdout__ = _StdoutStream()
sys.stderr = sys.__stderr__ = _StderrStream()
_make_apache()
_restrict_signals()
_extend_path()
