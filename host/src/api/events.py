# Requests that run, and who wants to know of them and of the process's end.
import sys
import threading
import time

active_requests = {}
event_callbacks = []
shutdown_callbacks = []
signal_callbacks = []


def subscribe_events(callback):
    """Has callback(name, **payload) called for every event of this interpreter."""
    event_callbacks.append(callback)
    return callback


def subscribe_shutdown(callback):
    """Has callback(name, **payload) called when the process is about to end."""
    shutdown_callbacks.append(callback)
    return callback


def subscribe_signals(callback):
    """Has callback(name, **payload) called when the daemon process gets a signal of its own."""
    if process_group:
        signal_callbacks.append(callback)
    else:
        import traceback
        _log(7, 'mod_wsgi.subscribe_signals() is for daemon processes; embedded, the callback is '
                'not called.\n' + ''.join(traceback.format_stack(sys._getframe(1))))
    return callback


_MORE_CALLBACKS = {'process_stopping': shutdown_callbacks, 'process_signal': signal_callbacks}


def _publish(event, payload):
    for callback in event_callbacks + _MORE_CALLBACKS.get(event, []):
        try:
            result = callback(event, **payload)
            if isinstance(result, dict):
                payload.update(result)
        except BaseException:
            _log_exception("exception raised by event callback for '%s'." % event)


def _log_exception(what):
    import traceback
    _log(4, '%s %s\n%s' % (sys.exc_info()[0].__name__, what, traceback.format_exc()))


def _join_threads():
    # What threading does when Python ends, but for a main thread that is a request thread.
    for callback in reversed(getattr(threading, '_threading_atexits', ())):
        try:
            callback()
        except BaseException:
            _log_exception('exception raised by a callback at the end of all threads.')
    while True:
        left = [thread for thread in threading.enumerate() if _has_to_end(thread)]
        if not left:
            return
        for thread in left:
            try:
                thread.join()
            except RuntimeError:
                # Another thread is about to start it.
                time.sleep(0.001)


def _has_to_end(thread):
    own = thread is threading.main_thread() or isinstance(thread, threading._DummyThread)
    return not own and not thread.daemon
