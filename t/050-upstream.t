# What the module has from nginx's upstream code: timeouts, buffering, limits, headers.

use WsgiTest;

run_wsgi_tests();

__DATA__

=== TEST 1: wsgi_read_timeout
--- app
import time

def application(environ, start_response):
    time.sleep(3)
    start_response('200 OK', [])
    return [b'late\n']
--- config
wsgi_read_timeout 300ms;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- request
GET /
--- error_code: 504
--- error_log
timed out



=== TEST 2: the thread is free again after a timeout
--- app
import time

def application(environ, start_response):
    if environ['PATH_INFO'] == '/slow':
        time.sleep(1)
    start_response('200 OK', [])
    return [b'ok\n']
--- daemon_options: threads=1
--- http_config
wsgi_embedded_threads 1;
--- config
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
location /slow { wsgi_read_timeout 200ms; }
--- request eval
["GET /slow", "GET /"]
--- error_code eval
[504, 200]



=== TEST 3: wsgi_hide_header and wsgi_pass_header
--- app
def application(environ, start_response):
    start_response('200 OK', [('X-Secret', 'a'), ('X-Open', 'b')])
    return [b'ok\n']
--- config
wsgi_hide_header X-Secret;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- request
GET /
--- response_headers
!X-Secret
X-Open: b



=== TEST 4: wsgi_ignore_headers
--- app
def application(environ, start_response):
    start_response('200 OK', [('X-Accel-Redirect', '/elsewhere')])
    return [b'here\n']
--- config
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
location /ignore { wsgi_ignore_headers X-Accel-Redirect; }
location = /elsewhere { internal; return 200 "elsewhere\n"; }
--- request eval
["GET /ignore", "GET /"]
--- response_body eval
["here\n", "elsewhere\n"]



=== TEST 5: wsgi_intercept_errors
--- app
def application(environ, start_response):
    start_response('404 Not Found', [])
    return [b'of the application\n']
--- config
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
location /on { wsgi_intercept_errors on; }
error_page 404 /page;
location = /page { return 404 "of nginx\n"; }
--- request eval
["GET /on", "GET /"]
--- error_code eval
[404, 404]
--- response_body eval
["of nginx\n", "of the application\n"]



=== TEST 6: a response that goes through a temporary file
--- app
def application(environ, start_response):
    start_response('200 OK', [])
    return [b'%07d\n' % n * 64 for n in range(1000)]
--- config
wsgi_buffer_size 4k;
wsgi_buffers 2 4k;
wsgi_busy_buffers_size 4k;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
location /no-file { wsgi_max_temp_file_size 0; }
--- request eval
["GET /", "GET /no-file"]
--- response_body_filters
md5_hex
--- response_body eval
use Digest::MD5 'md5_hex';
my $sum = md5_hex(join "", map { sprintf("%07d\n", $_) x 64 } 0 .. 999);
[$sum, $sum]
--- no_error_log
[error]



=== TEST 7: response headers over wsgi_buffer_size
--- app
def application(environ, start_response):
    start_response('200 OK', [('X-Long', 'v' * 6000)])
    return [b'ok\n']
--- config
wsgi_buffer_size 4k;
wsgi_buffers 4 4k;
wsgi_busy_buffers_size 4k;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- request
GET /
--- error_code: 502
--- error_log
too big header



=== TEST 8: upstream variables
--- app
@REPLY app@
--- config
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
add_header X-Status $upstream_status;
add_header X-Time $upstream_header_time;
--- request
GET /
--- response_headers_like
X-Status: 200
X-Time: \d+\.\d+



=== TEST 9: wsgi_request_buffering off
--- app
import hashlib

def application(environ, start_response):
    body = environ['wsgi.input'].read()
    start_response('200 OK', [])
    return [b'%d %s' % (len(body), hashlib.md5(body).hexdigest().encode())]
--- config
wsgi_request_buffering off;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- request eval
"POST /\n" . "0123456789abcdef" x 65536
--- response_body eval
use Digest::MD5 'md5_hex';
"1048576 " . md5_hex("0123456789abcdef" x 65536)



=== TEST 10: subrequests
--- app
@SHOW PATH_INFO@
--- config
wsgi_script_alias /app @DIR@/app.wsgi @GROUP@;
location = /page { root @DIR@; ssi on; ssi_types text/plain; default_type text/plain; }
--- user_files
>>> page
<!--# include virtual="/app/one" --><!--# include virtual="/app/two" -->end
--- request
GET /page
--- response_body
PATH_INFO='/one'
PATH_INFO='/two'
end



=== TEST 11: auth_request
--- app
def application(environ, start_response):
    good = environ.get('HTTP_X_KEY') == 'good'
    start_response('204 No Content' if good else '401 No', [])
    return []
--- config
wsgi_script_alias /auth @DIR@/app.wsgi @GROUP@;
location /secret { auth_request /auth; alias @DIR@/secret; default_type text/plain; }
--- user_files
>>> secret
the secret
--- more_headers eval
["X-Key: good", "X-Key: bad"]
--- request eval
["GET /secret", "GET /secret"]
--- error_code eval
[200, 401]



=== TEST 12: queue-timeout
--- mode: daemon
--- daemon_options: threads=1 queue-timeout=1
--- app
import time

def application(environ, start_response):
    time.sleep(2.5)
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'slept ']
--- config
wsgi_script_alias /app @DIR@/app.wsgi @GROUP@;
location = /page { root @DIR@; ssi on; ssi_types text/plain; default_type text/plain; }
--- user_files
>>> page
<!--# include virtual="/app?1" --><!--# include virtual="/app?2" -->end
--- request
GET /page
--- response_body_like: slept.*504.*end|504.*slept.*end



=== TEST 13: wsgi_temp_path
--- app
def application(environ, start_response):
    start_response('200 OK', [])
    return [b'%07d\n' % n * 64 for n in range(1000)]
--- config
wsgi_buffers 2 4k;
wsgi_busy_buffers_size 4k;
wsgi_temp_path @DIR@/held 1 2;
wsgi_temp_file_write_size 8k;
limit_rate 300k;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- request
GET /
--- response_body_filters
md5_hex
--- response_body eval
use Digest::MD5 'md5_hex';
md5_hex(join "", map { sprintf("%07d\n", $_) x 64 } 0 .. 999)
--- error_log eval
qr{buffered to a temporary file \S+/held/\d/\d\d/\d{10} }



=== TEST 14: wsgi_limit_rate
--- app
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'x' * 30000]
--- http_config
log_format took 'took $upstream_response_time';
--- config
wsgi_buffer_size 4k;
wsgi_buffers 2 4k;
wsgi_busy_buffers_size 4k;
wsgi_limit_rate 15k;
access_log logs/access.log took;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- request
GET /
--- response_body eval: "x" x 30000
--- access_log eval: qr/took [1-9]/



=== TEST 15: wsgi_ignore_client_abort
--- app
import time

def application(environ, start_response):
    time.sleep(1)
    print('not disturbed')
    start_response('200 OK', [])
    return [b'ok\n']
--- config
wsgi_ignore_client_abort on;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- request
GET /
--- timeout: 300ms
--- abort
--- wait: 1.5
--- ignore_response
--- error_log
not disturbed
--- no_error_log
so upstream connection is closed too



=== TEST 16: wsgi_send_timeout
--- app
import time

def application(environ, start_response):
    time.sleep(2)
    start_response('200 OK', [])
    return [b'late\n']
--- config
wsgi_send_timeout 300ms;
# A body in a file would not have to be sent.
client_body_buffer_size 8m;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- request eval
"POST /\n" . "x" x (4 << 20)
--- error_code: 504
--- error_log
upstream timed out



=== TEST 17: a wsgi_temp_file_write_size that holds no buffer
--- config_error
wsgi_temp_file_write_size 1k;
server { }
--- error: "wsgi_temp_file_write_size" must be equal to or greater than the maximum of the value of "wsgi_buffer_size" and one of the "wsgi_buffers"



=== TEST 18: a wsgi_connect_timeout that is no time
--- config_error
wsgi_connect_timeout soon;
--- error: "wsgi_connect_timeout" directive invalid value



=== TEST 19: wsgi_script_reloading is a flag
--- config_error
wsgi_script_reloading maybe;
--- error: invalid value "maybe" in "wsgi_script_reloading" directive, it must be "on" or "off"



=== TEST 20: wsgi_ignore_activity is a flag
--- config_error
wsgi_ignore_activity maybe;
--- error: invalid value "maybe" in "wsgi_ignore_activity" directive, it must be "on" or "off"
