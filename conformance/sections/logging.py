"""d.10: what reaches the error log, from where, at which level, in how many lines."""

from case import get, of

case = of("logging")
ANSWER = "start_response('200 OK', [('Content-Length', '2')]); return [b'ok']"


def logs(name, code, pattern=(), *requests, **options):
    """What some code in an application puts into the log."""
    lines = "\n".join("        " + line for line in code.strip("\n").split("\n"))
    case(name, f"""
        import logging, os, sys, warnings
        errors = environ['wsgi.errors']
{lines}
        {ANSWER}
    """, *requests, log=pattern, **options)


logs("errors-line", "errors.write(f'{NAME} line\\n')", " line$", quick=True)
logs("errors-partial", "errors.write(f'{NAME} partial')", " partial$")
logs("errors-pieces", "for piece in (NAME, ' one', ' two', '\\n', NAME, ' three\\n'): errors.write(piece)", "one.*|three.*")
logs("errors-flush", "errors.write(f'{NAME} half'); errors.flush(); errors.write(f'{NAME} other\\n')", "half.*|other.*")
logs("errors-lines", "errors.write(f'{NAME} a\\n{NAME} b\\n\\n{NAME} c\\n')", " [abc]$")
logs("errors-writelines", "errors.writelines([f'{NAME} a\\n', f'{NAME} b\\n', NAME + ' c'])", " [abc]$")
logs("errors-empty", "errors.write(''); errors.write(NAME + ' x\\n')", " x$")
logs("errors-blank-lines", "errors.write('\\n\\n\\n' + NAME + ' x\\n')", "^$|x$")
logs("errors-unicode", "errors.write(NAME + ' text caf\\xe9 \\u20ac\\n')", " text .*")
logs("errors-surrogate", "errors.write(NAME + ' text \\udc80 end\\n')", " text .*")
logs("errors-nul", "errors.write(NAME + ' before\\0after\\n')", "before.*")
logs("errors-control", "errors.write(NAME + ' before\\x01\\x1b[31mafter\\n')", "before.*")
logs("errors-tab", "errors.write(NAME + ' before\\tafter\\n')", "before.*")
logs("errors-carriage-return", "errors.write(NAME + ' before\\rafter\\r\\n')", "before.*")
logs("errors-percent", "errors.write(NAME + ' 100%s %n %d\\n')", "100.*")
logs("errors-quote", "errors.write(NAME + ' \"a\" \\\\ b\\n')", "\"a.*")
logs("errors-long", "errors.write(NAME + ' ' + 'x' * 1500 + ' end\\n')", "x+ end")
logs("errors-very-long", "errors.write(NAME + ' start ' + 'x' * 20000 + ' end\\n')", "start x{100}")
logs("errors-print", "print(NAME, 'printed', file=errors)", "printed.*")
logs("errors-print-end", "print(NAME, 'printed', end='', file=errors)", "printed.*")
logs("print", "print(NAME, 'printed')", "printed.*", quick=True)
logs("print-partial", "print(NAME, 'printed', end='')", "printed.*")
logs("print-flush", "print(NAME, 'printed', end='', flush=True); print(NAME, 'more')", "printed.*|more.*")
logs("stderr", "sys.stderr.write(NAME + ' stderr\\n')", " stderr$")
logs("stderr-print", "print(NAME, 'one\\n' + NAME, 'two', file=sys.stderr)", "one.*|two.*")
logs("warnings", "warnings.warn(NAME + ' warned', UserWarning)", ".*warned")
logs("warnings-deprecation", "warnings.warn(NAME + ' deprecated', DeprecationWarning); print(NAME, 'done')", ".*Warning.*deprecated|done")
logs("logging-default", "logging.getLogger(NAME).warning(NAME + ' %s', 'logged'); logging.getLogger(NAME).info(NAME + ' info')", "logged|info")
logs("logging-exception", """
try:
    1 / 0
except ZeroDivisionError:
    logging.getLogger(NAME).exception(NAME + ' caught')
""", "caught|^Traceback.*|^ZeroDivisionError.*")
logs("logging-stream-handler", """
logger = logging.getLogger(NAME)
logger.addHandler(logging.StreamHandler())
logger.propagate = False
logger.error(NAME + ' handled')
""", "handled")
logs("logging-levels", """
import mod_wsgi
logger = logging.getLogger(NAME)
logger.setLevel(1)
logger.propagate = False
handler = mod_wsgi.LogHandler()
logger.addHandler(handler)
for level in (5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 60):
    logger.log(level, '%s level %d', NAME, level)
logger.removeHandler(handler)
""", r"level \d+")
logs("logging-handler-format", """
import mod_wsgi
logger = logging.getLogger(NAME)
handler = mod_wsgi.LogHandler()
handler.setFormatter(logging.Formatter('made %(levelname)s %(message)s'))
logger.propagate = False
logger.addHandler(handler)
logger.warning(NAME)
logger.removeHandler(handler)
""", "made.*")
logs("logging-handler-traceback", """
import mod_wsgi
logger = logging.getLogger(NAME)
handler = mod_wsgi.LogHandler()
logger.propagate = False
logger.addHandler(handler)
try:
    1 / 0
except ZeroDivisionError:
    logger.exception(NAME + ' caught')
logger.removeHandler(handler)
""", "caught|^Traceback.*|^ZeroDivisionError.*")
logs("faulthandler-like", "os.write(2, (NAME + ' raw\\n').encode())", "raw.*")
logs("other-thread", """
import threading
thread = threading.Thread(target=lambda: errors.write(NAME + ' from a thread\\n'))
thread.start()
thread.join()
""", "from a.*")
logs("other-thread-print", """
import threading
thread = threading.Thread(target=lambda: print(NAME, 'from a thread'))
thread.start()
thread.join()
""", "from a.*")
logs("other-thread-exception", """
import threading
def fail():
    raise ValueError(NAME + ' in a thread')
thread = threading.Thread(target=fail)
thread.start()
thread.join()
""")
logs("unraisable", """
class Odd:
    def __del__(self):
        raise ValueError(NAME + ' in del')
odd = Odd()
del odd
""")
case("at-import", f"""
    import sys
    print(NAME, 'imported')
    print(NAME, 'to stderr', file=sys.stderr)
    def application(environ, start_response):
        {ANSWER}
""", log=["imported.*", "to stderr.*"])
case("while-iterating", """
    def respond():
        print(NAME, 'iterating', file=environ['wsgi.errors'])
        yield b'x'
        print(NAME, 'after yield')
    start_response('200 OK', [])
    return respond()
""", log=[" iterating$", " after yield$"])
case("streams", """
    import sys
    facts = {}
    for name, stream in (('errors', environ['wsgi.errors']), ('stdout', sys.stdout), ('stderr', sys.stderr)):
        for call in ("stream.name", "stream.encoding", "stream.errors", "stream.line_buffering", "stream.isatty()", "stream.fileno()",
                     "stream.readable()", "stream.writable()", "stream.seekable()", "stream.closed", "stream.mode",
                     "stream.write(b'x')", "stream.write(None)", "stream.write()", "stream.writelines(1)", "stream.write('')",
                     "stream.flush()", "stream.read()", "stream.seek(0)"):
            facts[name + ' ' + call] = attempt(eval, call, {'stream': stream})
    facts['stdin'] = describe(sys.stdin)
    facts['stdin.read()'] = attempt(lambda: sys.stdin.read())
    facts['sys.__stderr__'] = describe(sys.__stderr__)
    return report(start_response, facts)
""")
case("streams-close", """
    facts = {'close': attempt(environ['wsgi.errors'].close), 'write': attempt(environ['wsgi.errors'].write, NAME + ' after close\\n')}
    return report(start_response, facts)
""", log=["after close"])
case("errors-after-request", """
    def application(environ, start_response):
        if environ['QUERY_STRING']:
            kept = application.kept
            calls = dict(write=lambda: kept.write('x'), newline=lambda: kept.write('x\\n'), flush=lambda: kept.flush(),
                         writelines=lambda: kept.writelines(['x\\n']), close=lambda: kept.close(), empty=lambda: kept.write(''))
            return report(start_response, {name: attempt(call) for name, call in calls.items()})
        application.kept = environ['wsgi.errors']
        start_response('200 OK', [])
        return [b'kept']
""", get(label="first"), get("?later", label="second"))
case("same-stream", """
    import sys
    return report(start_response, {'errors is stderr': environ['wsgi.errors'] is sys.stderr, 'kept': sys.stdout is application.__dict__.setdefault('o', sys.stdout)})
""", get(), get())
case("redirected", """
    import contextlib, io
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        print(NAME, 'caught')
    print(NAME, 'not caught')
    return report(start_response, {'text': text.getvalue()})
""", log=["caught"])
