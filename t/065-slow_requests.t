# The log line of requests that take long.

use WsgiTest;

run_wsgi_tests();

__DATA__

=== TEST 1: a slow request
--- app
import time
def application(environ, start_response):
    time.sleep(0.3)
    start_response('200 OK', [])
    return [b'slow\n']
--- http_config
wsgi_slow_requests 0.2;
--- request
GET /x?y
--- response_body
slow
--- error_log eval
qr{\[warn\].* slow request: script "\S+/app\.wsgi" in (embedded mode|daemon process group "daemon") took (0\.[3-9]|[1-9])\S* s: 0\.\d{3} s in the queue, (0\.[3-9]|[1-9])\S* s in the application in process \d+( while [a-z ]+)?, client: .*"GET /x\?y HTTP/1\.1"}
--- grep_error_log: slow request
--- grep_error_log_out
slow request



=== TEST 2: others are not logged
--- app
@REPLY fast@
--- http_config
wsgi_slow_requests 10;
--- request
GET /
--- response_body
fast
--- no_error_log
slow request



=== TEST 3: 0 is off
--- app
import time
def application(environ, start_response):
    time.sleep(0.05)
    start_response('200 OK', [])
    return [b'slow\n']
--- http_config
wsgi_slow_requests 0;
--- request
GET /
--- response_body
slow
--- no_error_log
slow request



=== TEST 4: a time as nginx writes it
--- app
import time
def application(environ, start_response):
    time.sleep(0.05)
    start_response('200 OK', [])
    return [b'slow\n']
--- http_config
wsgi_slow_requests 10ms;
--- request
GET /
--- response_body
slow
--- error_log
slow request



=== TEST 5: a failed request is logged as well
--- app
import time
def application(environ, start_response):
    time.sleep(0.05)
    raise ValueError('slow')
--- http_config
wsgi_slow_requests 0.02;
--- request
GET /
--- error_code: 500
--- error_log
slow request



=== TEST 6: a request that nobody had a thread for
--- mode: daemon
--- daemon_options: threads=1 queue-timeout=1 startup-timeout=0
--- app
import time
def application(environ, start_response):
    time.sleep(2.5)
    start_response('200 OK', [])
    return [b'slow\n']
--- http_config
wsgi_slow_requests 500ms;
--- config
wsgi_script_alias /app @DIR@/app.wsgi @GROUP@;
location = /mirrored {
    mirror /app/first;
    mirror /app/second;
    empty_gif;
}
--- request
GET /mirrored
--- response_body_like: GIF
--- wait: 3
--- error_log eval
[qr/took [12]\.\d{3} s: [12]\.\d{3} s in the queue, it was sent to no process/, qr/took [23]\.\d{3} s: 0\.\d{3} s in the queue, [23]\.\d{3} s in the application/]



=== TEST 7: an invalid time
--- config_error
wsgi_slow_requests long;
--- error
"wsgi_slow_requests" has invalid value "long": must be a number of seconds, or a time as nginx writes it



=== TEST 8: a negative one
--- config_error
wsgi_slow_requests -1;
--- error
"wsgi_slow_requests" has invalid value "-1": must be a number of seconds, or a time as nginx writes it



=== TEST 9: infinitely long
--- config_error
wsgi_slow_requests inf;
--- error
"wsgi_slow_requests" has invalid value "inf"



=== TEST 10: twice
--- config_error
wsgi_slow_requests 1;
wsgi_slow_requests 2;
--- error
"wsgi_slow_requests" is duplicate



=== TEST 11: in a server
--- config_error
server { wsgi_slow_requests 1; }
--- error
"wsgi_slow_requests" directive is not allowed here
