# What threads are at, for the log.
import sys
import threading


def _stacks(names, only):
    """Lines that show the Python stacks of all other threads, in whichever interpreter they are.

    names maps the identifiers of request threads to what they are called; only is the identifier
    of a single thread that is wanted, or None.
    """
    lines = []
    for ident, frame in sys._current_frames().items():
        if ident == threading.get_ident() or only not in (None, ident):
            continue
        lines.append('Stack of %s (most recent call last):' % names.get(ident, 'thread %d' % ident))
        lines += _stack(frame)
    return '\n'.join(lines)


def _stack(frame):
    try:
        import traceback  # half a megabyte that few processes need
        return ''.join(traceback.format_stack(frame)).splitlines()
    except Exception:
        # A process in trouble may be out of descriptors, and cannot import then.
        lines = []
        while frame:
            code = frame.f_code
            lines.append('  File "%s", line %d, in %s' % (code.co_filename, frame.f_lineno, code.co_name))
            frame = frame.f_back
        return lines[::-1]
