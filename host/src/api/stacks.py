# What threads are at, for the log.
import sys
import threading
import traceback


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
        lines += ''.join(traceback.format_stack(frame)).splitlines()
    return '\n'.join(lines)
