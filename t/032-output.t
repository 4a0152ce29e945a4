# start_response, iterables, write() and what becomes of them.

use WsgiTest;

run_wsgi_tests();

__DATA__

=== TEST 1: status and headers
--- app
def application(environ, start_response):
    start_response('418 I am a teapot', [('X-One', '1'), ('x-two', '2'), ('Content-Type', 'text/x-tea')])
    return [b'tea\n']
--- request
GET /
--- error_code: 418
--- raw_response_headers_like: ^HTTP/1\.1 418 I am a teapot\r\n
--- response_headers
X-One: 1
X-Two: 2
Content-Type: text/x-tea
--- response_body
tea



=== TEST 2: a status without a reason gets the one that nginx knows
--- invalid: no space and reason after the status code
--- app
def application(environ, start_response):
    start_response('204', [])
    return []
--- request
GET /
--- error_code: 204
--- raw_response_headers_like: ^HTTP/1\.1 204 No Content\r\n
--- response_body:



=== TEST 3: repeated headers
--- app
def application(environ, start_response):
    start_response('200 OK', [('Set-Cookie', 'a=1'), ('Set-Cookie', 'b=2'), ('X-Rep', '1'), ('X-Rep', '2')])
    return [b'ok\n']
--- request
GET /
--- raw_response_headers_like: (?s)(?=.*Set-Cookie: a=1\r\nSet-Cookie: b=2\r\n)(?=.*X-Rep: 1\r\nX-Rep: 2\r\n)



=== TEST 4: no Content-Length is invented
--- app
def application(environ, start_response):
    start_response('200 OK', [])
    return [b'one\n']
--- request
GET /
--- response_headers
Transfer-Encoding: chunked
!Content-Length
--- response_body
one



=== TEST 5: Content-Length of the application
--- app
def application(environ, start_response):
    start_response('200 OK', [('Content-Length', '4')])
    return [b'on', b'e\n']
--- request
GET /
--- response_headers
Content-Length: 4
!Transfer-Encoding
--- response_body
one



=== TEST 6: more than Content-Length says
--- app
def application(environ, start_response):
    start_response('200 OK', [('Content-Length', '4')])
    return [b'on', b'e\nand more', b'and more']
--- pipelined_requests eval
["GET /", "GET /"]
--- response_body eval
["one\n", "one\n"]



=== TEST 7: HEAD
--- app
def application(environ, start_response):
    start_response('200 OK', [('Content-Length', '4'), ('X-Method', environ['REQUEST_METHOD'])])
    return [b'one\n']
--- request
HEAD /
--- response_headers
Content-Length: 4
X-Method: HEAD
--- response_body:



=== TEST 8: write
--- app
def application(environ, start_response):
    write = start_response('200 OK', [])
    write(b'one\n')
    write(b'')
    write(b'two\n')
    return [b'three\n']
--- request
GET /
--- response_body
one
two
three



=== TEST 9: generators, and empty items
--- invalid: yields, if only an empty item, before it calls start_response
--- app
def application(environ, start_response):
    def body():
        yield b''
        start_response('200 OK', [('X-Late', 'yes')])
        yield b'one\n'
        yield b''
        yield b'two\n'
    return body()
--- request
GET /
--- response_headers
X-Late: yes
--- response_body
one
two



=== TEST 10: a second start_response before anything was sent
--- app
def application(environ, start_response):
    start_response('200 OK', [('X-First', 'yes')])
    try:
        raise ValueError('changed my mind')
    except ValueError:
        import sys
        start_response('503 Changed', [('X-Second', 'yes')], sys.exc_info())
    return [b'second\n']
--- request
GET /
--- error_code: 503
--- response_headers
!X-First
X-Second: yes
--- response_body
second



=== TEST 11: close is called, once, at the end
--- app
closed = []

class Body:
    def __init__(self, name):
        self.name, self.items = name, iter([b'a', b'b'])
    def __iter__(self):
        return self
    def __next__(self):
        return next(self.items)
    def close(self):
        closed.append(self.name)

def application(environ, start_response):
    start_response('200 OK', [])
    if environ['PATH_INFO'] == '/closed':
        return [' '.join(closed).encode()]
    return Body(environ['PATH_INFO'])
--- pipelined_requests eval
["GET /one", "GET /two", "GET /closed"]
--- response_body eval
["ab", "ab", "/one /two"]



=== TEST 12: file_wrapper
--- app
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    f = open(environ['SCRIPT_FILENAME'].replace('app.wsgi', 'file.txt'), 'rb')
    f.seek(int(environ['QUERY_STRING'] or 0))
    return environ['wsgi.file_wrapper'](f, 4)
--- user_files
>>> file.txt
the content of a file
--- request eval
["GET /", "GET /?4"]
--- response_body eval
["the content of a file\n", "content of a file\n"]



=== TEST 13: file_wrapper around what is no file
--- app
import io

def application(environ, start_response):
    start_response('200 OK', [])
    return environ['wsgi.file_wrapper'](io.BytesIO(b'not on any disk\n'))
--- request
GET /
--- response_body
not on any disk



=== TEST 14: file_wrapper with a Content-Length sends that much
--- app
def application(environ, start_response):
    start_response('206 Partial Content', [('Content-Length', '7')])
    f = open(environ['SCRIPT_FILENAME'].replace('app.wsgi', 'file.txt'), 'rb')
    f.seek(4)
    return environ['wsgi.file_wrapper'](f)
--- user_files
>>> file.txt
the content of a file
--- request
GET /
--- error_code: 206
--- response_headers
Content-Length: 7
--- response_body: content



=== TEST 15: file_wrapper closes the file
--- app
class File:
    closed = 0
    def read(self, size):
        return b''
    def close(self):
        File.closed += 1

def application(environ, start_response):
    start_response('200 OK', [])
    if environ['PATH_INFO'] == '/closed':
        return [b'%d' % File.closed]
    return environ['wsgi.file_wrapper'](File())
--- pipelined_requests eval
["GET /", "GET /closed"]
--- response_body eval
["", "1"]



=== TEST 16: a large response, buffered and not
--- app
def application(environ, start_response):
    start_response('200 OK', [])
    return (b'%07d\n' % n * 64 for n in range(1000))
--- config
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
location /unbuffered { wsgi_buffering off; }
--- request eval
["GET /", "GET /unbuffered"]
--- response_body_filters
md5_hex
--- response_body eval
use Digest::MD5 'md5_hex';
my $sum = md5_hex(join "", map { sprintf("%07d\n", $_) x 64 } 0 .. 999);
[$sum, $sum]



=== TEST 17: large headers
--- app
def application(environ, start_response):
    start_response('200 OK', [('X-Long', 'v' * 3000)])
    return [b'ok\n']
--- request
GET /
--- response_headers eval
"X-Long: " . "v" x 3000
--- response_body
ok



=== TEST 18: redirects
--- app
def application(environ, start_response):
    start_response('302 Found', [('Location', 'http://elsewhere.example/')])
    return []
--- request
GET /
--- error_code: 302
--- response_headers
Location: http://elsewhere.example/



=== TEST 19: not modified
--- app
def application(environ, start_response):
    start_response('304 Not Modified', [('ETag', '"x"')])
    return []
--- request
GET /
--- error_code: 304
--- response_headers
ETag: "x"
--- response_body:



=== TEST 20: Transfer-Encoding and Status of the application harm nothing
--- invalid: a header named Status
--- app
def application(environ, start_response):
    start_response('200 OK', [('Transfer-Encoding', 'chunked'), ('Status', '404 Not Found')])
    return [b'body\n']
--- pipelined_requests eval
["GET /", "GET /"]
--- error_code eval
[200, 200]
--- response_body eval
["body\n", "body\n"]



=== TEST 21: X-Accel-Redirect
--- app
def application(environ, start_response):
    start_response('200 OK', [('X-Accel-Redirect', '/private/file.txt')])
    return [b'not this\n']
--- user_files
>>> private/file.txt
a private file
--- config
wsgi_script_alias /app @DIR@/app.wsgi @GROUP@;
location /private/ { internal; root @DIR@; }
--- request eval
["GET /app", "GET /private/file.txt"]
--- error_code eval
[200, 404]
--- response_body_like eval
["^a private file", "404"]



=== TEST 22: the application's own error page stays
--- app
def application(environ, start_response):
    start_response('404 Not Found', [])
    return [b'my own page\n']
--- request
GET /
--- error_code: 404
--- response_body
my own page



=== TEST 23: gzip of nginx
--- app
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'x' * 10000]
--- config
gzip on;
gzip_types text/plain;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- more_headers
Accept-Encoding: gzip
--- request
GET /
--- response_headers
Content-Encoding: gzip
--- response_body_filters eval
sub { require IO::Uncompress::Gunzip; my $out; IO::Uncompress::Gunzip::gunzip(\$_[0], \$out); $out }
--- response_body eval
"x" x 10000



=== TEST 24: what start_response refuses, and how
--- invalid: calls start_response as it must not be called
--- app
def attempt(function, *arguments, **named):
    try:
        function(*arguments, **named)
        return 'accepted'
    except Exception as error:
        return '%s: %s' % (type(error).__name__, error)

def application(environ, start_response):
    calls = [
        ('200 OK', None), (b'200 OK', []), ('OK', []), ('20 OK', []), ('200OK', []), ('200 O\nK', []), ('103 Hints', []),
        ('200 OK', [('', 'b')]), ('200 OK', [('A b', 'c')]), ('200 OK', [('A\n', 'b')]), ('200 OK', [('A', 'b\r\nc')]),
        ('200 OK', [('A', 1)]), ('200 OK', [('A:', 'b')]), ('200 OK', [], 'x'), ('200 OK', [], (1, 2)),
    ]
    lines = [attempt(start_response, *call) for call in calls]
    write = start_response('200 OK', [('Content-Length', 'x')])
    lines.append(attempt(write, b'x'))
    write = start_response('200 OK', [('Content-Type', 'text/plain')])
    lines += [attempt(write), attempt(write, data=b''), attempt(write, 'x')]
    write(b'')
    lines += [attempt(start_response, '200 OK', []), attempt(start_response, '200 OK', [], (None, None, None))]
    return ['\n'.join(lines).encode() + b'\n']
--- request
GET /
--- response_body
TypeError: start_response() argument 2 must be list, not None
TypeError: must be str, not bytes
ValueError: status code must be a 3 digit integer: b'OK'
ValueError: status code must be a 3 digit integer: b'20 OK'
ValueError: no space following status code: b'200OK'
ValueError: control character in status reason phrase: b'200 O\nK'
ValueError: status code must not be informational: b'103 Hints'
ValueError: header name is empty
ValueError: space character in header name: b'A b'
ValueError: control character in header name: b'A\n'
ValueError: carriage return/line feed character in header value: b'b\r\nc'
TypeError: must be str, not int
accepted
RuntimeError: start_response() argument 'exc_info' must be a 3-tuple or None
accepted
ValueError: invalid Content-Length header value: 'x'
TypeError: write() takes exactly 1 argument (0 given)
TypeError: write() takes no keyword arguments
TypeError: write() argument must be bytes, not str
RuntimeError: start_response() called more than once without exc_info
RuntimeError: start_response() argument 'exc_info' must be a 3-tuple or None



=== TEST 25: an empty Content-Length is none at all
--- app
def application(environ, start_response):
    start_response('200 OK', [('Content-Length', '')])
    return [b'dropped']
--- request
GET /
--- response_headers
Content-Length: 0
--- response_body:



=== TEST 26: an exception is logged before close() has its say
--- invalid: the validator has a close() of its own
--- app
class Body:
    def __iter__(self):
        raise ValueError('of the body')
    def close(self):
        raise KeyError('of close')

def application(environ, start_response):
    start_response('200 OK', [])
    return Body()
--- request
GET /
--- error_code: 500
--- grep_error_log eval
qr/(ValueError|KeyError): '?of \w+( \w+)?/
--- grep_error_log_out
ValueError: of the body
KeyError: 'of close
