# wsgi_embedded_threads 0: applications run on the event loop's own thread.

use WsgiTest;

add_block_preprocessor(sub {
    my $block = shift;
    return if defined $block->config_error;
    $block->set_value(http_config => "wsgi_embedded_threads 0;\n" . ($block->http_config // ''));
});

run_wsgi_tests();

__DATA__

=== TEST 1: on the event loop's own thread, in the worker
--- mode: embedded
--- app
import os, threading

def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'%d %d' % (str(os.getpid()) == environ['mod_wsgi.server_pid'],
                        threading.get_native_id() == os.getpid())]
--- request eval
["GET /", "GET /"]
--- response_body eval
["1 1", "1 1"]
--- no_error_log
[error]
[alert]



=== TEST 2: what the application is told about threads
--- mode: embedded
--- app
import mod_wsgi

def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [repr((environ['wsgi.multithread'], environ['mod_wsgi.thread_id'], mod_wsgi.threads_per_process,
                  mod_wsgi.process_group, environ['mod_wsgi.queue_start'], environ['wsgi.run_once'])).encode()]
--- request
GET /
--- response_body: (False, 1, 1, '', 0.0, False)



=== TEST 3: one request at a time, however many wait
--- mode: embedded
--- app
running, most = 0, 0

def application(environ, start_response):
    global running, most
    running += 1
    most = max(most, running)
    start_response('200 OK', [('Content-Type', 'text/plain')])
    body = b'%d' % most
    running -= 1
    return [body]
--- config
wsgi_script_alias / @DIR@/app.wsgi application-group=a;
location /all {
    wsgi_script_alias off;
    ssi on;
    ssi_types text/plain;
    default_type text/plain;
    root @DIR@;
}
--- user_files eval
">>> all\n" . join(q(), map { "<!--# include virtual=\"/wait?$_\" -->" } 1 .. 5) . "\n"
--- request
GET /all
--- response_body
11111



=== TEST 4: status, headers and repeated headers
--- mode: embedded
--- app
def application(environ, start_response):
    start_response('418 I am a teapot', [('X-One', '1'), ('Set-Cookie', 'a=1'), ('Set-Cookie', 'b=2'),
                                         ('Content-Type', 'text/x-tea'), ('Content-Length', '4'), ('Server', 'mine')])
    return [b'tea\n']
--- request
GET /
--- error_code: 418
--- raw_response_headers_like: (?s)^HTTP/1\.1 418 I am a teapot\r\n(?=.*Set-Cookie: a=1\r\nSet-Cookie: b=2\r\n)(?=.*Server: nginx)
--- response_headers
X-One: 1
Content-Type: text/x-tea
Content-Length: 4
! Transfer-Encoding
--- response_body
tea



=== TEST 5: HEAD, 204 and 304
--- mode: embedded
--- app
def application(environ, start_response):
    status = environ['QUERY_STRING'].replace('+', ' ')
    start_response(status, [('X-Method', environ['REQUEST_METHOD'])] + (status[:3] == '200') * [('Content-Length', '5')])
    return [b'hello'] if status[:3] == '200' else []
--- request eval
["HEAD /?200+OK", "GET /?204+No+Content", "GET /?304+Not+Modified", "GET /?200+OK"]
--- error_code eval
[200, 204, 304, 200]
--- response_headers eval
["Content-Length: 5\nX-Method: HEAD", "! Content-Length", "! Content-Length", "Content-Length: 5\nX-Method: GET"]
--- response_body eval
["", "", "", "hello"]



=== TEST 6: HEAD becomes GET where a filter changes content
--- mode: embedded
--- app
@SHOW REQUEST_METHOD@
--- config
gzip on;
wsgi_script_alias / @DIR@/app.wsgi "process-group=%{GLOBAL}";
location /plain { gzip off; }
--- request eval
["HEAD /", "GET /", "GET /plain"]
--- response_body eval
["", "REQUEST_METHOD='GET'\n", "REQUEST_METHOD='GET'\n"]



=== TEST 7: a body in memory, and one in a file
--- mode: embedded
--- app
import hashlib

def application(environ, start_response):
    read = environ['wsgi.input']
    first = read.read(3)
    rest = hashlib.md5(first)
    for line in iter(lambda: read.read(70000), b''):
        rest.update(line)
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'%s %s %s' % (environ['CONTENT_LENGTH'].encode(), first, rest.hexdigest().encode())]
--- config
client_body_buffer_size 16k;
wsgi_script_alias / @DIR@/app.wsgi "process-group=%{GLOBAL}";
--- request eval
["POST /\nabcdef", "POST /\n" . "abc" x 100000, "POST /\nabcdef"]
--- response_body eval
use Digest::MD5 'md5_hex';
my $small = "6 abc " . md5_hex("abcdef");
[$small, "300000 abc " . md5_hex("abc" x 100000), $small]
--- no_error_log
[error]



=== TEST 8: chunked content, of which a part is read
--- mode: embedded
--- app
def application(environ, start_response):
    data = environ['wsgi.input'].readline()
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [data]
--- config
wsgi_chunked_request on;
wsgi_script_alias / @DIR@/app.wsgi "process-group=%{GLOBAL}";
--- raw_request eval
"POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
. "4\r\none\n\r\n4\r\ntwo\n\r\n0\r\n\r\n"
--- response_body
one



=== TEST 9: no body is passed on
--- mode: embedded
--- app
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [repr(environ['wsgi.input'].read()).encode()]
--- config
wsgi_pass_request_body off;
wsgi_script_alias / @DIR@/app.wsgi "process-group=%{GLOBAL}";
--- request
POST /
ignored
--- response_body: b''



=== TEST 10: an exception before start_response, and one before the first block
--- mode: embedded
--- app
def application(environ, start_response):
    if environ['PATH_INFO'] == '/before':
        raise ValueError('at the wrong time')
    start_response('200 OK', [('X-Lost', '1')])
    def body():
        raise ValueError('at the wrong time')
        yield b''
    return body()
--- request eval
["GET /before", "GET /after"]
--- error_code eval
[500, 500]
--- response_headers eval
["! X-Lost", "! X-Lost"]
--- error_log eval
[qr/exception raised processing WSGI script '\S+app\.wsgi'/,
 qr/ValueError: at the wrong time while running the application, client: \S+, server: localhost, request: "GET/]



=== TEST 11: an exception behind the first block breaks the response off
--- mode: embedded
--- app
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    yield b'begun\n'
    raise ValueError('too late')
--- raw_request eval
"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
--- ignore_response
--- raw_response_headers_like: 200 OK
--- error_log
ValueError: too late while running the application



=== TEST 12: a response that is shorter than announced is broken off
--- mode: embedded
--- invalid: the length is wrong
--- app
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain'), ('Content-Length', '10')])
    return [b'short']
--- ignore_response
--- request
GET /
--- error_code: 500



=== TEST 13: no response at all
--- mode: embedded
--- invalid: start_response is not called
--- app
def application(environ, start_response):
    return []
--- request
GET /
--- error_code: 500
--- error_log
start_response() must be called before response content is produced



=== TEST 14: generators, write() and close()
--- mode: embedded
--- app
class Body:
    def __init__(self):
        self.left = [b'', b'two ', b'', b'three']

    def __iter__(self):
        return self

    def __next__(self):
        if not self.left:
            raise StopIteration
        return self.left.pop(0)

    def close(self):
        print('closed it')

def application(environ, start_response):
    write = start_response('200 OK', [('Content-Type', 'text/plain')])
    write(b'one ')
    return Body()
--- request
GET /
--- response_body: one two three
--- error_log
closed it while running the application



=== TEST 15: HTTP/1.0
--- mode: embedded
--- app
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    yield b'one '
    yield b'two'
--- raw_request eval
"GET / HTTP/1.0\r\n\r\n"
--- response_headers
! Transfer-Encoding
! Content-Length
--- response_body: one two



=== TEST 16: pipelined requests
--- mode: embedded
--- app
@SHOW QUERY_STRING@
--- pipelined_requests eval
["GET /?1", "GET /?2", "GET /?3"]
--- response_body eval
["QUERY_STRING='1'\n", "QUERY_STRING='2'\n", "QUERY_STRING='3'\n"]



=== TEST 17: a file is nginx's to send, with ranges and conditions
--- mode: embedded
--- invalid: wsgiref.validate hides the file
--- app
import os

def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain'), ('ETag', '"tag"')])
    return environ['wsgi.file_wrapper'](open(os.path.join(os.path.dirname(__file__), 'text'), 'rb'))
--- user_files eval
">>> text\n" . "0123456789" x 5000
--- more_headers eval
["", "Range: bytes=3-6", "If-None-Match: \"tag\"", ""]
--- request eval
["GET /", "GET /", "GET /", "HEAD /"]
--- error_code eval
[200, 206, 304, 200]
--- response_headers eval
["Content-Length: 50000\nAccept-Ranges: bytes", "Content-Range: bytes 3-6/50000", "! Content-Length", "Content-Length: 50000"]
--- response_body eval
["0123456789" x 5000, "3456", "", ""]



=== TEST 18: wsgi_error_override, wsgi_intercept_errors and error_page
--- mode: embedded
--- app
def application(environ, start_response):
    start_response('404 Not Found', [('Content-Type', 'text/plain')])
    return [b'of the application\n']
--- config
error_page 404 /404.txt;
location = /404.txt { return 200 "of nginx\n"; }
wsgi_script_alias /override @DIR@/app.wsgi;
wsgi_script_alias /intercept @DIR@/app.wsgi;
wsgi_script_alias /plain @DIR@/app.wsgi;
location /override { wsgi_error_override on; }
location /intercept { wsgi_intercept_errors on; }
location /plain { }
--- request eval
["GET /override", "GET /intercept", "GET /plain"]
--- error_code eval
[404, 404, 404]
--- response_body eval
["of nginx\n", "of nginx\n", "of the application\n"]



=== TEST 19: an error page that is an application
--- mode: embedded
--- app
def application(environ, start_response):
    if 'REDIRECT_STATUS' not in environ:
        raise ValueError('gives way')
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [('%(REDIRECT_STATUS)s %(REDIRECT_URL)s' % environ).encode()]
--- config
error_page 500 /page;
wsgi_script_alias / @DIR@/app.wsgi;
--- request
GET /broken
--- error_code: 500
--- response_body: 500 /broken
--- error_log
gives way



=== TEST 20: a Location with 200, and X-Accel-Redirect
--- mode: embedded
--- app
def application(environ, start_response):
    name = 'Location' if environ['PATH_INFO'] == '/location' else 'X-Accel-Redirect'
    start_response('200 OK', [('Content-Type', 'text/plain'), (name, environ['QUERY_STRING']), ('Set-Cookie', 'a=1')])
    return [b'never']
--- config
wsgi_script_alias / @DIR@/app.wsgi;
location /inner { internal; return 200 "inner $args"; }
location @named { return 200 "named"; }
location = /none { wsgi_ignore_headers X-Accel-Redirect; }
--- request eval
["GET /location?/inner?a=b", "GET /accel?/inner?c=d", "POST /accel?\@named\nabc", "GET /none?/inner"]
--- response_headers eval
["Set-Cookie: a=1", "Set-Cookie: a=1", "Set-Cookie: a=1", "! X-Accel-Redirect"]
--- response_body eval
["inner a=b", "inner c=d", "named", "never"]



=== TEST 21: headers that stay inside or are passed on
--- mode: embedded
--- app
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain'), ('X-Hidden', '1'), ('Server', 'mine')])
    return [b'ok']
--- config
wsgi_hide_header X-Hidden;
wsgi_pass_header Server;
wsgi_script_alias / @DIR@/app.wsgi;
--- request
GET /
--- response_headers
! X-Hidden
Server: mine



=== TEST 22: subrequests
--- mode: embedded
--- app
def application(environ, start_response):
    def body():
        yield b'<%s' % environ['QUERY_STRING'].encode()
        yield b'>'
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return body()
--- config
wsgi_script_alias /app @DIR@/app.wsgi;
location = /page { root @DIR@; ssi on; ssi_types text/plain; default_type text/plain; }
--- user_files
>>> page
<!--# include virtual="/app?1" -->-<!--# include virtual="/app?2" --><!--# set var="x" value="y" --><!--# include virtual="/app?3" set="three" --><!--# echo var="three" encoding="none" -->
--- request
GET /page
--- response_body
<1>-<2><3>



=== TEST 23: auth_request
--- mode: embedded
--- app
def application(environ, start_response):
    allowed = environ['HTTP_X_KEY'] == 'good'
    start_response('200 OK' if allowed else '403 Forbidden', [('Content-Type', 'text/plain'), ('X-User', 'somebody')])
    return [b'never seen']
--- config
wsgi_script_alias /check @DIR@/app.wsgi;
location = /page { auth_request /check; auth_request_set $who $upstream_http_x_user; return 200 "page"; }
location = /file { auth_request /check; root @DIR@; }
--- user_files
>>> file
content
--- more_headers eval
["X-Key: good", "X-Key: bad"]
--- request eval
["GET /file", "GET /file"]
--- error_code eval
[200, 403]
--- response_body_like eval
["content", "403 Forbidden"]



=== TEST 24: hooks are answered on a thread of their own
--- mode: embedded
--- app
import os, threading

def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'%s %d' % (environ.get('REMOTE_USER', '-').encode(), threading.get_native_id() == os.getpid())]
--- user_files
>>> access.py
import os, threading

def check_password(environ, user, password):
    assert threading.get_native_id() != os.getpid()
    return user == 'me' and password == 'secret'

def allow_access(environ, host):
    print('asked for', environ['PATH_INFO'], file=environ['wsgi.errors'])
    return None
--- config
wsgi_auth_type Basic;
wsgi_auth_name "here";
wsgi_auth_user_script @DIR@/access.py;
wsgi_script_alias / @DIR@/app.wsgi;
--- more_headers eval
use MIME::Base64;
["Authorization: Basic " . encode_base64('me:secret', ''), "Authorization: Basic " . encode_base64('me:wrong', '')]
--- request eval
["GET /", "GET /"]
--- error_code eval
[200, 401]
--- response_body_like eval
["^me 1\$", "401"]



=== TEST 25: application groups
--- mode: embedded
--- app
import mod_wsgi
count = 0

def application(environ, start_response):
    global count
    count += 1
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'%s %d' % (mod_wsgi.application_group.encode(), count)]
--- config
wsgi_script_alias /one @DIR@/app.wsgi application-group=one;
wsgi_script_alias /two @DIR@/app.wsgi application-group=two;
wsgi_script_alias /main @DIR@/app.wsgi "application-group=%{GLOBAL}";
--- http_config
wsgi_lazy_initialization off;
--- pipelined_requests eval
["GET /one", "GET /two", "GET /main", "GET /one", "GET /main"]
--- response_body eval
["one 1", "two 1", " 1", "one 2", " 2"]



=== TEST 26: a script that has changed is loaded again
--- mode: embedded
--- invalid: the application rewrites its file
--- app
import os
VALUE = 'first'

def application(environ, start_response):
    if environ['PATH_INFO'] == '/change':
        text = open(__file__).read().replace("VALUE = 'first'", "VALUE = 'second'")
        with open(__file__ + '.new', 'w') as new:
            new.write(text)
        os.utime(__file__ + '.new', (1, 1))
        os.replace(__file__ + '.new', __file__)
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [VALUE.encode()]
--- init
use Test::Nginx::Util;
chmod 0777, "$Test::Nginx::Util::HtmlDir";
--- pipelined_requests eval
["GET /", "GET /change", "GET /"]
--- response_body eval
["first", "first", "second"]



=== TEST 27: a script with an error
--- mode: embedded
--- invalid: it is no script
--- app
def application(:
--- request
GET /
--- error_code: 500
--- error_log
SyntaxError: invalid syntax



=== TEST 28: what is logged, by the event loop's thread and by others
--- mode: embedded
--- app
import sys, threading

def application(environ, start_response):
    def other():
        environ['wsgi.errors'].write('by another thread\n')
        for number in range(3000):
            print('line', number)
    print('by print')
    environ['wsgi.errors'].write('begun\n')
    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'ok']
--- request
GET /
--- response_body: ok
--- wait: 0.5
--- error_log eval
my $context = 'while running the application, client: \S+, server: localhost, request: "GET / HTTP';
[qr/\*\d+ by print $context/, qr/\*\d+ begun $context/, qr/\*\d+ by another thread $context/, qr/ line 2999$/m]



=== TEST 29: a child process that fills standard error does not stop nginx
--- mode: embedded
--- app
import subprocess, sys

def application(environ, start_response):
    write = "import sys; [sys.stderr.write('x' * 63 + chr(10)) for _ in range(40000)]"
    code = subprocess.run(['@BIN@/python3', '-c', write]).returncode
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'%d' % code]
--- timeout: 30
--- request
GET /
--- response_body: 0



=== TEST 30: other threads read, write and start the response
--- mode: embedded
--- app
import threading

def application(environ, start_response):
    def other():
        data = environ['wsgi.input'].read()
        write = start_response('200 OK', [('Content-Type', 'text/plain')])
        write(b'from a thread: ')
        write(data * 20000)
    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    return [b' end']
--- request
POST /
content
--- response_body eval
"from a thread: " . "content" x 20000 . " end"



=== TEST 31: what is kept of a request is dead
--- mode: embedded
--- invalid: wsgiref.validate stands between
--- app
kept = None

def attempt(call, *arguments):
    try:
        return call(*arguments)
    except (OSError, RuntimeError) as error:
        return type(error).__name__

def application(environ, start_response):
    global kept
    if kept:
        answer = [attempt(kept[0].read), attempt(kept[1].write, 'x\n'), attempt(kept[2], b'x')]
    else:
        answer = 'kept'
    write = start_response('200 OK', [('Content-Type', 'text/plain')])
    kept = environ['wsgi.input'], environ['wsgi.errors'], write
    return [str(answer).encode()]
--- config
wsgi_script_alias / @DIR@/app.wsgi "application-group=%{GLOBAL}";
--- pipelined_requests eval
["GET /", "GET /"]
--- response_body eval
["kept", "['RuntimeError', 'RuntimeError', 'RuntimeError']"]



=== TEST 32: nginx's clock goes on
--- mode: embedded
--- app
import time

def application(environ, start_response):
    time.sleep(0.3)
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'slept']
--- http_config
log_format times "took $request_time, $wsgi_application_time of them, $wsgi_queue_time in the queue, $wsgi_pid";
wsgi_slow_requests 100ms;
--- config
access_log logs/error.log times;
wsgi_script_alias / @DIR@/app.wsgi;
--- request
GET /
--- response_body: slept
--- wait: 0.2
--- error_log eval
[qr/took 0\.[3-9]\d\d, 0\.[3-9]\d\d of them, 0\.000 in the queue, \d+/, qr/slow request: .* in embedded mode took 0\.[3-9]/]



=== TEST 33: wsgi_status
--- mode: embedded
--- app
import urllib.request

def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'ok']
--- config
wsgi_script_alias / @DIR@/app.wsgi;
location = /status { wsgi_script_alias off; wsgi_status json; }
--- pipelined_requests eval
["GET /", "GET /status"]
--- response_body_like eval
["ok", '"embedded":.*"requests": ?1\b']



=== TEST 34: what has no effect on such a script is said once
--- mode: embedded
--- app
@REPLY ok@
--- http_config
wsgi_daemon_process other threads=1;
--- config
wsgi_store on;
wsgi_next_upstream http_500;
wsgi_script_alias / @DIR@/app.wsgi "process-group=%{GLOBAL}";
wsgi_script_alias /daemon @DIR@/app.wsgi process-group=other;
location /one { wsgi_request_buffering off; }
location /two { }
--- request
GET /
--- response_body
ok
--- grep_error_log eval
qr/\[warn\].*?"[^"]+" has no effect on embedded applications with "wsgi_embedded_threads 0", as the one in \S+nginx.conf:\d+/
--- grep_error_log_out eval
qr/\A(?=.*"wsgi_store")(?=.*"wsgi_next_upstream")(?=.*"wsgi_request_buffering off")(.*\n){3}\z/s
--- error_log
[warn]



=== TEST 35: a number that is none
--- config_error
wsgi_embedded_threads -1;
--- error: has invalid value "-1": must be a number from 0 to 1024



=== TEST 36: twice
--- config_error
wsgi_embedded_threads 0;
wsgi_embedded_threads 1;
--- error: "wsgi_embedded_threads" is duplicate
