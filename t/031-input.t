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
