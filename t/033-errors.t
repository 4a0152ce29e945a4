# Scripts and applications that fail: the status, what the log says, and that nothing else suffers.

use WsgiTest;

run_wsgi_tests();

__DATA__

=== TEST 1: raises at import
--- app
import no_such_module_at_all
--- request eval
["GET /", "GET /"]
--- error_code eval
[500, 500]
--- error_log
ModuleNotFoundError: No module named 'no_such_module_at_all'
app.wsgi
Traceback
--- no_error_log
[alert]
exited on signal



=== TEST 2: a syntax error
--- app
def application(environ, start_response:
--- request
GET /
--- error_code: 500
--- error_log
SyntaxError
app.wsgi



=== TEST 3: sys.exit at import
--- app
import sys
sys.exit(3)
--- request eval
["GET /", "GET /"]
--- error_code eval
[500, 500]
--- error_log
SystemExit
app.wsgi
--- no_error_log
exited on signal



=== TEST 4: a script that cannot be read
--- app
@REPLY app@
--- init
chmod 0, "$ENV{TEST_NGINX_HTML_DIR}/app.wsgi" or die $!
--- mode: daemon
--- request
GET /
--- error_code: 500
--- error_log
app.wsgi



=== TEST 5: a missing script
--- app
@REPLY unused@
--- config
wsgi_script_alias / @DIR@/missing.wsgi @GROUP@;
--- request
GET /
--- error_code: 404
--- error_log
missing.wsgi



=== TEST 6: a folder instead of a script
--- app
@REPLY unused@
--- user_files
>>> folder/x
--- config
wsgi_script_alias / @DIR@/folder @GROUP@;
--- request
GET /
--- error_code: 403
--- error_log
folder



=== TEST 7: no callable
--- app
app = None
--- request
GET /
--- error_code: 500
--- error_log eval
[qr/application/, qr/app\.wsgi/]



=== TEST 8: a callable that isn't one
--- app
application = 'not callable'
--- request
GET /
--- error_code: 500
--- error_log eval
[qr/TypeError.*not callable/, qr/app\.wsgi/]



=== TEST 9: raises before start_response
--- app
def application(environ, start_response):
    raise ValueError('before')
--- request
GET /
--- error_code: 500
--- error_log
ValueError: before
in application
request: "GET / HTTP/1.1"



=== TEST 10: raises after start_response
--- app
def application(environ, start_response):
    start_response('200 OK', [('X-App', 'yes')])
    raise ValueError('after')
--- request
GET /
--- error_code: 500
--- response_headers
!X-App
--- error_log
ValueError: after



=== TEST 11: raises in the middle of the body
--- app
def application(environ, start_response):
    start_response('200 OK', [])
    def body():
        yield b'some\n'
        raise ValueError('middle')
    return body()
--- config
wsgi_buffering off;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- request
GET /
--- ignore_response
--- error_log
ValueError: middle
request: "GET / HTTP/1.1"



=== TEST 12: the worker and the process go on
--- app
def application(environ, start_response):
    if environ['PATH_INFO'] == '/bad':
        raise ValueError('bad')
    start_response('200 OK', [])
    return [b'good\n']
--- request eval
["GET /", "GET /bad", "GET /", "GET /bad", "GET /"]
--- error_code eval
[200, 500, 200, 500, 200]
--- no_error_log
[alert]
exited on signal



=== TEST 13: SystemExit in the application
--- app
import sys

def application(environ, start_response):
    sys.exit(1)
--- request eval
["GET /", "GET /"]
--- error_code eval
[500, 500]
--- error_log
SystemExit: 1
--- no_error_log
exited



=== TEST 14: start_response never called
--- invalid: does not call start_response
--- app
def application(environ, start_response):
    return [b'body\n']
--- request
GET /
--- error_code: 500
--- error_log
start_response



=== TEST 15: returns what cannot be iterated
--- invalid: returns None
--- app
def application(environ, start_response):
    start_response('200 OK', [])
--- request
GET /
--- error_code: 500
--- error_log
TypeError



=== TEST 16: yields str
--- invalid: yields str
--- app
def application(environ, start_response):
    start_response('200 OK', [])
    return ['text']
--- request
GET /
--- error_code: 500
--- error_log eval
qr/TypeError.*bytes/



=== TEST 17: write takes bytes
--- invalid: writes str
--- app
def application(environ, start_response):
    start_response('200 OK', [])('text')
    return []
--- request
GET /
--- error_code: 500
--- error_log eval
qr/TypeError.*bytes/



=== TEST 18: what start_response refuses
--- invalid: calls start_response as it must not be called
--- app
CASES = [
    ('x', (200, [])), ('x', (b'200 OK', [])), ('x', ('200 OK', {})), ('x', ('200 OK', [['A', 'b']])),
    ('x', ('200 OK', [('A',)])), ('x', ('200 OK', [('A', 1)])), ('x', ('200 OK', [(b'A', 'b')])),
    ('x', ('20 OK', [])), ('x', ('2000', [])), ('x', ('200OK', [])), ('x', ('200 O\nK', [])),
    ('x', ('200 OK', [('', 'b')])), ('x', ('200 OK', [('A B', 'b')])), ('x', ('200 OK', [('A\n', 'b')])),
    ('x', ('200 OK', [('A', 'b\r\nc')])), ('x', ('200 OK', [('A', '\u20ac')])), ('x', ('200 OK', [], 1)),
]

def application(environ, start_response):
    accepted = []
    for _, arguments in CASES:
        try:
            start_response(*arguments)
            accepted.append(arguments)
        except (TypeError, ValueError, RuntimeError):
            pass
    start_response('200 OK', [])
    return [repr(accepted).encode()]
--- request
GET /
--- response_body: []



=== TEST 19: a Content-Length that is none
--- app
def application(environ, start_response):
    start_response('200 OK', [('Content-Length', 'many')])
    return [b'ok']
--- request
GET /
--- error_code: 500
--- error_log
Content-Length



=== TEST 20: start_response again after the headers went out
--- app
def application(environ, start_response):
    write = start_response('200 OK', [('Content-Length', '2')])
    write(b'ok')
    try:
        start_response('500 Late', [])
    except RuntimeError:
        print('refused as it should be', file=environ['wsgi.errors'])
    return []
--- request
GET /
--- response_body: ok
--- error_log
refused as it should be



=== TEST 21: an exception in close
--- app
class Body(list):
    def close(self):
        raise ValueError('in close')

def application(environ, start_response):
    start_response('200 OK', [('Content-Length', '2')])
    return Body([b'ok'])
--- request
GET /
--- response_body: ok
--- error_log
ValueError: in close



=== TEST 22: wsgi.errors, sys.stderr and sys.stdout
--- app
import sys

def application(environ, start_response):
    environ['wsgi.errors'].write('to wsgi.errors\nsecond line\nno newline')
    print('to stderr', file=sys.stderr)
    print('to stdout')
    start_response('200 OK', [])
    return [b'ok']
--- request
GET /
--- response_body: ok
--- error_log eval
[qr/to wsgi\.errors.*request: "GET \/ HTTP\/1\.1"/, qr/second line/, qr/no newline/, qr/to stderr/, qr/to stdout/]



=== TEST 23: wsgi.errors is text
--- invalid: writes bytes to wsgi.errors
--- app
def application(environ, start_response):
    errors = environ['wsgi.errors']
    errors.writelines(['one ', 'line\n'])
    errors.flush()
    errors.write('caf\u00e9 \udc80\n')
    try:
        errors.write(b'bytes')
    except TypeError:
        errors.write('bytes refused\n')
    start_response('200 OK', [])
    return [b'ok']
--- request
GET /
--- response_body: ok
--- error_log
one line
bytes refused



=== TEST 24: an exception with a cause, and one that cannot be printed
--- app
class Odd(Exception):
    def __str__(self):
        raise RuntimeError('no text')

def application(environ, start_response):
    try:
        raise KeyError('the cause')
    except KeyError as error:
        raise Odd() from error
--- request
GET /
--- error_code: 500
--- error_log
KeyError: 'the cause'
Odd



=== TEST 25: error_page of nginx
--- app
def application(environ, start_response):
    raise ValueError('bad')
--- config
wsgi_script_alias /app @DIR@/app.wsgi @GROUP@;
error_page 500 /sorry;
location = /sorry { return 500 "sorry\n"; }
--- request
GET /app
--- error_code: 500
--- response_body
sorry



=== TEST 26: an informational status would leave a body without framing
--- app
def application(environ, start_response):
    start_response('101 Switching Protocols', [])
    return [b'HTTP/1.1 200 OK\r\n\r\n']
--- request
GET /
--- error_code: 500
--- error_log
status code must not be informational



=== TEST 27: a NUL ends a line of wsgi.errors, what is no character becomes a question mark
--- app
def application(environ, start_response):
    environ['wsgi.errors'].write('before\0after\nlone \udc80 surrogate\n')
    start_response('200 OK', [])
    return [b'written']
--- request
GET /
--- response_body chomp
written
--- error_log eval
[qr/\bbefore while/, qr/lone \? surrogate/]



=== TEST 28: flushing and closing wsgi.errors after the request is harmless
--- invalid: closes wsgi.errors
--- app
kept = []

def application(environ, start_response):
    start_response('200 OK', [])
    if kept:
        kept[0].flush()
        kept[0].close()
        return [b'harmless']
    kept.append(environ['wsgi.errors'])
    return [b'kept']
--- pipelined_requests eval
["GET /", "GET /"]
--- response_body eval
["kept", "harmless"]
