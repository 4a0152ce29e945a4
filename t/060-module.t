# The modules mod_wsgi and apache, as an application sees them.

use WsgiTest;

run_wsgi_tests();

__DATA__

=== TEST 1: facts about the process and the interpreter
--- daemon_options: threads=3 processes=2
--- http_config
wsgi_embedded_threads 3;
--- app
import mod_wsgi

def application(environ, start_response):
    start_response('200 OK', [])
    facts = (mod_wsgi.version, mod_wsgi.process_group, mod_wsgi.application_group, mod_wsgi.threads_per_process)
    return [repr(facts).encode(), b' %d' % mod_wsgi.maximum_processes]
--- config
wsgi_script_alias /named @DIR@/app.wsgi @GROUP@ application-group=name;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@ "application-group=%{GLOBAL}";
--- request eval
["GET /named", "GET /"]
--- response_body eval
my ($group, $processes) = '@MODE@' eq 'daemon' ? ('daemon', 2) : ('', $ENV{WSGI_MASTER} ? 2 : 1);
["((6, 0, 5), '$group', 'name', 3) $processes", "((6, 0, 5), '$group', '', 3) $processes"]



=== TEST 2: the module apache
--- app
import apache, mod_wsgi

def application(environ, start_response):
    start_response('200 OK', [])
    facts = (apache.version == environ['apache.version'], apache.description, apache.mpm_name,
             apache.maximum_processes == mod_wsgi.maximum_processes,
             apache.threads_per_process == mod_wsgi.threads_per_process, apache.build_date)
    return [repr(facts).encode()]
--- request
GET /
--- response_body_like: ^\(True, 'nginx/\d+\.\d+\.\d+', 'nginx', True, True, ''\)$



=== TEST 3: one module an interpreter
--- app
import apache, mod_wsgi, sys

def application(environ, start_response):
    before = getattr(mod_wsgi, 'mark', None), getattr(apache, 'mark', None)
    mod_wsgi.mark = apache.mark = environ['PATH_INFO']
    start_response('200 OK', [])
    return [repr(before + (sys.modules['mod_wsgi'] is mod_wsgi,)).encode()]
--- config
wsgi_script_alias /one @DIR@/app.wsgi @GROUP@ application-group=one;
wsgi_script_alias /two @DIR@/app.wsgi @GROUP@ application-group=two;
--- pipelined_requests eval
["GET /one/a", "GET /two/b", "GET /one/c"]
--- response_body eval
["(None, None, True)", "(None, None, True)", "('/a', '/a', True)"]



=== TEST 4: request_data belongs to the request
--- app
import mod_wsgi, threading

try:
    mod_wsgi.request_data()
    at_import = 'a request loads this'
except RuntimeError as error:
    at_import = str(error)

def elsewhere(result):
    try:
        result.append(mod_wsgi.request_data())
    except RuntimeError as error:
        result.append(str(error))

def application(environ, start_response):
    data = mod_wsgi.request_data()
    left = dict(data)
    data['left'] = 'something'
    result = []
    thread = threading.Thread(target=elsewhere, args=(result,))
    thread.start()
    thread.join()
    start_response('200 OK', [])
    yield repr((at_import, left, type(data) is dict, mod_wsgi.request_data() is data, result)).encode()
--- pipelined_requests eval
["GET /", "GET /"]
--- response_body eval
["('a request loads this', {}, True, True, ['no active request for thread'])",
 "('a request loads this', {}, True, True, ['no active request for thread'])"]



=== TEST 5: active_requests
--- app
import mod_wsgi

def application(environ, start_response):
    name = environ['mod_wsgi.request_id']
    mine = mod_wsgi.active_requests[name] is mod_wsgi.request_data()
    start_response('200 OK', [])
    return [repr((mine, list(mod_wsgi.active_requests) == [name])).encode()]
--- pipelined_requests eval
["GET /", "GET /"]
--- response_body eval
["(True, True)", "(True, True)"]



=== TEST 6: the file wrapper can be derived from
--- app
import io, mod_wsgi

class Wrapper(mod_wsgi.FileWrapper):
    pass

def application(environ, start_response):
    wrapper = Wrapper(filelike=io.BytesIO(b'abc'), blksize=2)
    start_response('200 OK', [])
    return [repr((environ['wsgi.file_wrapper'] is mod_wsgi.FileWrapper, wrapper.blksize, list(wrapper))).encode()]
--- request
GET /
--- response_body: (True, 2, [b'ab', b'c'])



=== TEST 7: subscribing gives the callback back
--- app
import mod_wsgi

def callback(name, **payload):
    pass

subscribed = [subscribe(callback) is callback for subscribe in
              (mod_wsgi.subscribe_events, mod_wsgi.subscribe_shutdown, mod_wsgi.subscribe_signals)]

def application(environ, start_response):
    start_response('200 OK', [])
    lists = mod_wsgi.event_callbacks, mod_wsgi.shutdown_callbacks, mod_wsgi.signal_callbacks
    return [repr((subscribed, [len(callbacks) for callbacks in lists])).encode()]
--- request
GET /
--- response_body eval
'([True, True, True], [1, 1, ' . ('@MODE@' eq 'daemon' ? 1 : 0) . '])'



=== TEST 8: signals are for daemon processes
--- mode: embedded
--- app
import mod_wsgi

def subscribe_here():
    mod_wsgi.subscribe_signals(print)

def application(environ, start_response):
    subscribe_here()
    start_response('200 OK', [])
    return [b'ok']
--- request
GET /
--- response_body: ok
--- error_log eval
[qr/\[info\].*subscribe_signals\(\) is for daemon processes/, qr/\[info\].* in subscribe_here/]



=== TEST 9: signal handlers are left alone, and the log says who tried
--- app
import signal

def try_it():
    return signal.signal(signal.SIGUSR2, print)

def application(environ, start_response):
    start_response('200 OK', [])
    return [repr(try_it() is print).encode()]
--- request
GET /
--- response_body: True
--- error_log eval
[qr/\[info\].*Ignoring Python signal handler registration for signal 12/, qr/\[info\].* in try_it/]



=== TEST 10: LogHandler maps levels
--- app
import logging, mod_wsgi

logger = logging.getLogger('test')
logger.setLevel(1)
logger.propagate = False
logger.addHandler(mod_wsgi.LogHandler())

def application(environ, start_response):
    for level in (100, 50, 45, 40, 35, 30, 20):
        logger.log(level, 'at level %d', level)
    assert isinstance(mod_wsgi.LogHandler(), logging.Handler)
    assert mod_wsgi.LogHandler is type(logger.handlers[0])
    start_response('200 OK', [])
    return [b'ok']
--- request
GET /
--- response_body: ok
--- error_log eval
[map { my ($name, $level) = @$_; qr/\[$name\].*at level $level.*request: "GET \/ HTTP\/1\.1"/ }
 ['crit', 100], ['crit', 50], ['error', 45], ['error', 40], ['warn', 35], ['warn', 30], ['info', 20]]



=== TEST 11: LogHandler writes one record a line, and formats
--- app
import logging, mod_wsgi

handler = mod_wsgi.LogHandler()
handler.setFormatter(logging.Formatter('<%(name)s> %(message)s'))
logging.getLogger('test').addHandler(handler)

def application(environ, start_response):
    try:
        1 / 0
    except ZeroDivisionError:
        logging.getLogger('test').exception('first\nsecond')
    start_response('200 OK', [])
    return [b'ok']
--- request
GET /
--- response_body: ok
--- error_log eval
[qr/\[error\].*\*\d+ <test> first while/, qr/\[error\].*\*\d+ second while.*request:/, qr/\[error\].* ZeroDivisionError: division by zero while.*request:/]



=== TEST 12: a thread of the application logs to the server's log
--- app
import logging, mod_wsgi, threading

def work():
    mod_wsgi.LogHandler().handle(logging.makeLogRecord({'levelno': 30, 'msg': 'from a thread'}))

def application(environ, start_response):
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    start_response('200 OK', [])
    return [b'ok']
--- wait: 0.1
--- request
GET /
--- response_body: ok
--- grep_error_log eval
qr/\[warn\].*from a thread.*/
--- grep_error_log_out eval
qr/from a thread$/



=== TEST 13: nothing else is in the module
--- app
import mod_wsgi

def application(environ, start_response):
    start_response('200 OK', [])
    return [' '.join(name for name in dir(mod_wsgi) if not name.startswith('__')).encode()]
--- request
GET /
--- response_body: FileWrapper LogHandler RequestTimeout active_requests application_group event_callbacks maximum_processes process_group process_metrics request_data request_metrics server_metrics shutdown_callbacks signal_callbacks start_recording_metrics subscribe_events subscribe_shutdown subscribe_signals threads_per_process version



=== TEST 14: what the file wrapper and request_data refuse
--- app
import io, mod_wsgi

class Text:
    def read(self, size):
        return 'text'

class Lazy(mod_wsgi.FileWrapper):
    def __init__(self, name):
        self.name = name

def closed():
    wrapper = mod_wsgi.FileWrapper(io.BytesIO(b'abc'))
    wrapper.close()
    wrapper.close()
    return wrapper

CASES = [
    lambda: mod_wsgi.FileWrapper(),
    lambda: mod_wsgi.FileWrapper(1, 2, 3),
    lambda: mod_wsgi.FileWrapper(io.BytesIO(), 'x'),
    lambda: mod_wsgi.FileWrapper(io.BytesIO(), size=1),
    lambda: mod_wsgi.FileWrapper(io.BytesIO(), -1),
    lambda: setattr(mod_wsgi.FileWrapper(io.BytesIO()), 'filelike', 1),
    lambda: next(mod_wsgi.FileWrapper(Text())),
    lambda: next(closed()),
    lambda: closed().filelike,
    lambda: next(Lazy('name')),
    lambda: mod_wsgi.request_data(1),
]

def application(environ, start_response):
    start_response('200 OK', [])
    for case in CASES:
        try:
            yield ('%s\n' % case()).encode()
        except Exception as error:
            # In the words of Python before 3.13.
            text = str(error).replace("FileWrapper() got an unexpected keyword argument 'size'",
                                      "'size' is an invalid keyword argument for FileWrapper()")
            yield ('%s: %s\n' % (type(error).__name__, text)).encode()
--- request
GET /
--- response_body
TypeError: FileWrapper() missing required argument 'filelike' (pos 1)
TypeError: FileWrapper() takes at most 2 arguments (3 given)
TypeError: 'str' object cannot be interpreted as an integer
TypeError: 'size' is an invalid keyword argument for FileWrapper()
ValueError: blksize must not be negative
AttributeError: attribute 'filelike' of 'mod_wsgi.FileWrapper' objects is not writable
TypeError: file wrapper read() must return bytes, not str
ValueError: I/O operation on closed file
ValueError: I/O operation on closed file
ValueError: I/O operation on closed file
TypeError: request_data() takes no arguments (1 given)
