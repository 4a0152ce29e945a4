# Runs last in the namespace of the module mod_wsgi: prepares the interpreter for applications.
import _signal  # what the module signal builds on, which takes long to import
import functools
import os
import site
import sys
import threading  # noqa: F401  whoever imports it first is its main thread
import types


class RequestTimeout(BaseException):
    """Raised in a request thread whose request takes too long."""


class _Restricted:
    """Stands for a stream that applications may not use."""

    __slots__ = ('_name',)

    def __init__(self, name):
        self._name = name

    def __getattribute__(self, name):
        stream = object.__getattribute__(self, '_name')
        raise OSError('%s access restricted by mod_wsgi' % stream)


def _intercept_signals():
    pid = os.getpid()
    register = _signal.signal

    @functools.wraps(register)
    def intercept(signalnum, handler):
        # Processes that the application has forked are its own.
        if os.getpid() != pid:
            return register(signalnum, handler)
        import traceback
        text = 'Ignoring Python signal handler registration for signal %d.' % signalnum
        stack = ''.join(traceback.format_stack(sys._getframe(1)))
        _log(7, text + '\n' + stack.rstrip('\n'))
        return handler

    _signal.signal = intercept


def _exit_on_signals():
    def leave(signalnum, frame):
        raise SystemExit

    # Only the main interpreter takes them.
    if not application_group:
        _signal.signal(_signal.SIGTERM, leave)
        _signal.signal(_signal.SIGINT, leave)


def _extend_path():
    before = list(sys.path)
    for path in _python_paths:
        for directory in path:
            if not os.path.isdir(directory):
                _log(4, "Unable to add directory '%s' to the Python module search path." % directory)
                break
            _log(7, "Adding '%s' to Python module search path." % directory)
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
sys.stdout = _StdoutStream()
sys.stderr = _StderrStream()
if _restrict_stdin:
    sys.stdin = _Restricted('sys.stdin')
if _restrict_stdout:
    sys.stdout = _Restricted('sys.stdout')
if sys.warnoptions:
    # Python itself applies the filters in the main interpreter only.
    import warnings  # noqa: F401
for _directory in _python_eggs:
    os.environ['PYTHON_EGG_CACHE'] = _directory
_make_apache()
if _service:
    _exit_on_signals()
elif _restrict_signal:
    _intercept_signals()
_extend_path()
