# Runs last in the namespace of the module mod_wsgi: prepares the interpreter for applications.
import os
import signal
import site
import sys
import threading  # noqa: F401  whoever imports it first is its main thread
import types


class RequestTimeout(BaseException):
    """Raised in a request thread whose request takes too long."""


def _restrict_signals():
    pid = os.getpid()
    register = signal.signal

    def intercept(signum, handler):
        if os.getpid() != pid:
            return register(signum, handler)
        import traceback
        stack = ''.join(traceback.format_stack(sys._getframe(1)))
        _log(7, 'Ignoring Python signal handler registration for signal %d.\n%s' % (signum, stack))
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
_make_apache()
_restrict_signals()
_extend_path()
