# wsgi.input and request bodies.

use WsgiTest;

run_wsgi_tests();

__DATA__

=== TEST 1: read
--- app
def application(environ, start_response):
    f = environ['wsgi.input']
    parts = [f.read(0), f.read(3), f.read(), f.read(), f.read(5)]
    start_response('200 OK', [])
    return [repr(parts).encode()]
--- request eval
"POST /\nabcdefg"
--- response_body: [b'', b'abc', b'defg', b'', b'']



=== TEST 2: readline, readlines, iteration
--- app
def application(environ, start_response):
    f = environ['wsgi.input']
    parts = [f.readline(), f.readline(2), f.readline(), f.readline(0), next(iter(f)), f.readlines(), f.readline()]
    start_response('200 OK', [])
    return [repr(parts).encode()]
--- request eval
"POST /\none\ntwo\nthree\nfour\nfive"
--- response_body: [b'one\n', b'tw', b'o\n', b'', b'three\n', [b'four\n', b'five'], b'']



=== TEST 3: readlines with a hint
--- app
def application(environ, start_response):
    f = environ['wsgi.input']
    parts = [f.readlines(3), f.readlines()]
    start_response('200 OK', [])
    return [repr(parts).encode()]
--- request eval
"POST /\none\ntwo\nthree"
--- response_body: [[b'one\n'], [b'two\n', b'three']]



=== TEST 4: None is no number, and there is no seek
--- invalid: closes wsgi.input
--- app
def application(environ, start_response):
    f = environ['wsgi.input']
    found = []
    for method in f.read, f.readline, f.readlines:
        try:
            method(None)
        except TypeError:
            found.append(method.__name__)
    found += [name for name in ('seek', 'tell', 'fileno') if hasattr(f, name)]
    f.close()
    found.append(f.read().decode())
    start_response('200 OK', [])
    return [' '.join(found).encode()]
--- request eval
"POST /\nabc"
--- response_body: read readline readlines abc



=== TEST 5: no body
--- app
def application(environ, start_response):
    body = environ['wsgi.input'].read()
    start_response('200 OK', [])
    return [repr(body).encode()]
--- request
GET /
--- response_body: b''



=== TEST 6: a body in a temporary file
--- app
import hashlib

def application(environ, start_response):
    body = environ['wsgi.input'].read()
    start_response('200 OK', [])
    return [b'%d %s' % (len(body), hashlib.md5(body).hexdigest().encode())]
--- config
client_body_buffer_size 8k;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- request eval
"POST /\n" . "0123456789abcdef" x 65536
--- response_body eval
use Digest::MD5 'md5_hex';
"1048576 " . md5_hex("0123456789abcdef" x 65536)



=== TEST 7: in small pieces
--- app
import hashlib

def application(environ, start_response):
    digest, size, f = hashlib.md5(), 0, environ['wsgi.input']
    while piece := f.read(1000):
        digest.update(piece)
        size += len(piece)
    start_response('200 OK', [])
    return [b'%d %s' % (size, digest.hexdigest().encode())]
--- config
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- request eval
"POST /\n" . "0123456789abcdef" x 32768
--- response_body eval
use Digest::MD5 'md5_hex';
"524288 " . md5_hex("0123456789abcdef" x 32768)



=== TEST 8: an unread body doesn't hurt the connection
--- app
def application(environ, start_response):
    start_response('200 OK', [('Content-Length', '3')])
    return [b'ok\n']
--- pipelined_requests eval
["POST /\n" . "x" x 20000, "POST /\n" . "x" x 20000, "GET /"]
--- response_body eval
["ok\n", "ok\n", "ok\n"]
--- no_error_log
[error]



=== TEST 9: a large unread body and a large response
--- app
def application(environ, start_response):
    start_response('200 OK', [('Content-Length', str(2 << 20))])
    return [b'x' * (2 << 20)]
--- config
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- request eval
"POST /\n" . "y" x (1 << 20)
--- response_body eval
"x" x (2 << 20)
--- no_error_log
[error]



=== TEST 10: a body over the limit of the location
--- app
@REPLY app@
--- config
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
location /small { client_max_body_size 10; }
--- request eval
["POST /small\n" . "x" x 11, "POST /small\n" . "x" x 10]
--- error_code eval
[413, 200]



=== TEST 11: a chunked body is refused unless allowed
--- app
def application(environ, start_response):
    body = environ['wsgi.input'].read()
    start_response('200 OK', [])
    return [repr((body, environ.get('CONTENT_LENGTH'), environ.get('HTTP_TRANSFER_ENCODING'))).encode()]
--- config
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
location /on { wsgi_chunked_request on; }
--- raw_request eval
"POST /on HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n"
--- response_body: (b'abcdefg', None, 'chunked')



=== TEST 12: a chunked body refused
--- app
@REPLY app@
--- raw_request eval
"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
--- error_code: 411



=== TEST 13: input after the request
--- app
kept = []

def application(environ, start_response):
    start_response('200 OK', [])
    if not kept:
        kept.append(environ['wsgi.input'])
        return [b'kept']
    try:
        kept[0].read()
    except RuntimeError as error:
        return [str(error).encode()]
    return [b'read']
--- pipelined_requests eval
["POST /\nabc", "POST /\nabc"]
--- response_body eval
["kept", "read() called on wsgi.input after request completed"]



=== TEST 14: every method after the request
--- invalid: closes wsgi.input
--- app
kept = []

def application(environ, start_response):
    start_response('200 OK', [])
    if not kept:
        kept.append(environ['wsgi.input'])
        return [b'kept']
    f, found = kept[0], []
    for name in 'read', 'readline', 'readlines', 'close':
        try:
            getattr(f, name)()
        except RuntimeError as error:
            found.append(name + ':' + str(error).partition('()')[2])
    return ['\n'.join(found).encode()]
--- pipelined_requests eval
["POST /\nabc", "POST /\nabc"]
--- response_body eval
["kept", CORE::join "\n", map { "$_: called on wsgi.input after request completed" } qw(read readline readlines close)]



=== TEST 15: arguments
--- invalid: calls the methods of wsgi.input as they must not be called
--- app
def application(environ, start_response):
    f = environ['wsgi.input']
    found = []
    for call in (lambda: f.read(size=1), lambda: f.readline(size=1), lambda: f.readlines(hint=1), lambda: f.read(1, 2),
                 lambda: f.read('1'), lambda: f.readline(1.5), lambda: f.readlines([]), lambda: f.close(1)):
        try:
            found.append(call())
        except TypeError:
            found.append('TypeError')
    assert found == ['TypeError'] * 8, found
    found = [f.readline(-1), f.readlines(0), f.read(-7), f.readline(), f.readlines(), list(f)]
    start_response('200 OK', [])
    return [repr(found).encode()]
--- request eval
"POST /\none\ntwo\nthree"
--- response_body: [b'one\n', [b'two\n', b'three'], b'', b'', [], []]



=== TEST 16: one method goes on where another stopped
--- invalid: closes wsgi.input
--- app
def application(environ, start_response):
    f = environ['wsgi.input']
    parts = [f.read(1), f.readline(), f.readline(2), f.read(3), next(f), f.readlines(1), f.read()]
    start_response('200 OK', [])
    return [repr(parts).encode()]
--- request eval
"POST /\none\ntwo\nthree\nfour\nfive\nsix"
--- response_body: [b'o', b'ne\n', b'tw', b'o\nt', b'hree\n', [b'four\n'], b'five\nsix']



=== TEST 17: lines longer than any buffer, and bytes of every value
--- app
def application(environ, start_response):
    f = environ['wsgi.input']
    first, second, rest = f.readline(), f.readline(200000), f.read()
    start_response('200 OK', [])
    return [b'%d %d %r' % (len(first), len(second), rest == bytes(range(256)))]
--- config
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- request eval
"POST /\n" . "x" x 299999 . "\n" . "y" x 200000 . CORE::join "", map { chr } 0 .. 255
--- response_body: 300000 200000 True



=== TEST 18: the end of the input is not CONTENT_LENGTH's to tell
--- app
def application(environ, start_response):
    body = environ['wsgi.input'].read(10 ** 9)
    start_response('200 OK', [])
    return [repr((body, environ.get('CONTENT_LENGTH'), environ['wsgi.input_terminated'])).encode()]
--- config
wsgi_chunked_request on;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- raw_request eval
"PUT / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n3;x=y\r\nabc\r\n4\r\ndefg\r\n0\r\nTrailer: t\r\n\r\n"
--- response_body: (b'abcdefg', None, True)



=== TEST 19: a length that is no number
--- app
@REPLY app@
--- raw_request eval
["POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: many\r\nConnection: close\r\n\r\nabc"]
--- error_code: 400



=== TEST 20: a negative length
--- app
@REPLY app@
--- raw_request eval
["POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\nConnection: close\r\n\r\nabc"]
--- error_code: 400



=== TEST 21: another transfer encoding
--- app
@REPLY app@
--- config
wsgi_chunked_request on;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- raw_request eval
["POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip, chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\n0\r\n\r\n"]
--- error_code: 501



=== TEST 22: a chunked request to a script that is not there
--- app
@REPLY app@
--- config
wsgi_script_alias / @DIR@/none.wsgi @GROUP@;
--- raw_request eval
["POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\n0\r\n\r\n"]
--- error_code: 404



=== TEST 23: a chunked request to a group that is not there, where chunks are refused
--- mode: daemon
--- app
@REPLY app@
--- config
wsgi_process_group "%{ENV:arg_group}";
wsgi_script_alias / @DIR@/app.wsgi;
location /on { wsgi_chunked_request on; }
--- raw_request eval
["POST /?group=none HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\n0\r\n\r\n"]
--- error_code: 411



=== TEST 24: a chunked request to a group that is not there
--- mode: daemon
--- app
@REPLY app@
--- config
wsgi_process_group "%{ENV:arg_group}";
wsgi_script_alias / @DIR@/app.wsgi;
location /on { wsgi_chunked_request on; }
--- raw_request eval
["POST /on?group=none HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\n0\r\n\r\n"]
--- error_code: 500



=== TEST 25: a chunked body over the limit never reaches the application
--- app
def application(environ, start_response):
    print('called', file=environ['wsgi.errors'])
    start_response('200 OK', [])
    return [b'%d' % len(environ['wsgi.input'].read())]
--- config
wsgi_chunked_request on;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
location / { client_max_body_size 10; }
--- raw_request eval
["POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n6\r\nabcdef\r\n6\r\nghijkl\r\n0\r\n\r\n"]
--- error_code: 413
--- no_error_log
called



=== TEST 26: a body over the limit reaches no application
--- app
def application(environ, start_response):
    print('called', file=environ['wsgi.errors'])
    start_response('200 OK', [])
    return [b'done']
--- config
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
location / { client_max_body_size 10; }
--- request eval
"POST /\n" . "x" x 11
--- error_code: 413
--- no_error_log
called



=== TEST 27: methods that seldom have a body may have one
--- app
def application(environ, start_response):
    body = environ['wsgi.input'].read()
    start_response('200 OK', [])
    return [repr((environ['REQUEST_METHOD'], environ['CONTENT_LENGTH'], body)).encode()]
--- raw_request eval
["GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc"]
--- response_body: ('GET', '3', b'abc')



=== TEST 28: a body of length zero
--- app
def application(environ, start_response):
    f = environ['wsgi.input']
    found = (f.read(), f.readline(), f.readlines(), environ['CONTENT_LENGTH'])
    start_response('200 OK', [])
    return [repr(found).encode()]
--- config
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
location /stream { wsgi_request_buffering off; }
--- request eval
["POST /\n", "POST /stream\n"]
--- more_headers
Content-Length: 0
--- response_body eval
[("(b'', b'', [], '0')") x 2]



=== TEST 29: a body in a file from the start
--- app
import hashlib

def application(environ, start_response):
    body = environ['wsgi.input'].read()
    start_response('200 OK', [])
    return [hashlib.md5(body).hexdigest().encode()]
--- config
client_body_in_file_only clean;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
location /single { client_body_in_single_buffer on; client_body_in_file_only off; }
--- request eval
["POST /\n" . "0123456789abcdef" x 10000, "POST /single\n" . "0123456789abcdef" x 500]
--- response_body eval
use Digest::MD5 'md5_hex';
[md5_hex("0123456789abcdef" x 10000), md5_hex("0123456789abcdef" x 500)]



=== TEST 30: threads of the application read side by side
--- app
import threading

def application(environ, start_response):
    f, parts = environ['wsgi.input'], []

    def work():
        while part := f.read(1000):
            parts.append(part)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    start_response('200 OK', [])
    return [b'%d %r' % (sum(map(len, parts)), set(b''.join(parts)) == set(b'0123456789abcdef'))]
--- config
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- request eval
"POST /\n" . "0123456789abcdef" x 32768
--- response_body: 524288 True



=== TEST 31: iteration after the request, and impossible sizes
--- invalid: calls the methods of wsgi.input as they must not be called
--- app
kept = []

def attempt(function, *arguments):
    try:
        return repr(function(*arguments))
    except Exception as error:
        return '%s: %s' % (type(error).__name__, error)

def application(environ, start_response):
    start_response('200 OK', [])
    if not kept:
        kept.append(environ['wsgi.input'])
        return [attempt(kept[0].read, 2 ** 100).encode(), b' ', attempt(kept[0].read, 1, 2).encode()]
    return [attempt(iter, kept[0]).encode(), b' ', attempt(next, kept[0]).encode()]
--- pipelined_requests eval
["POST /\nabc", "POST /\nabc"]
--- response_body eval
["OverflowError: Python int too large to convert to C ssize_t TypeError: read() takes at most 1 argument (2 given)",
 "RuntimeError: iteration of wsgi.input attempted after request completed RuntimeError: iteration of wsgi.input attempted after request completed"]



=== TEST 32: bodies that wait for their reader, on a connection that was kept
--- app
import time

def application(environ, start_response):
    if environ['REQUEST_METHOD'] == 'POST':
        time.sleep(0.3)
    body = environ['wsgi.input'].read()
    start_response('200 OK', [])
    return [b'%d' % len(body)]
--- config
client_body_buffer_size 4m;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- request eval
["GET /", "POST /\n" . "0123456789abcdef" x 131072, "GET /", "POST /\n" . "0123456789abcdef" x 131072]
--- response_body eval
["0", "2097152", "0", "2097152"]
