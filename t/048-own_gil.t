# wsgi_per_interpreter_gil and wsgi_free_threading. What threads do at the same time is in
# tests/test_own_gil.py.

use WsgiTest;

run_wsgi_tests();

__DATA__

=== TEST 1: an interpreter with a GIL of its own takes no extension module that is not made for it
--- skip_eval: 8:'@VERSION@' =~ /^3\.(9|10|11)$/ && 'GILs of interpreters need Python 3.12'
--- app
def application(environ, start_response):
    start_response('200 OK', [])
    try:
        import readline
        return [b'loaded']
    except ImportError as error:
        return [b'refused' if 'does not support loading in subinterpreters' in str(error) else repr(error).encode()]
--- http_config
wsgi_per_interpreter_gil on;
wsgi_interpreter_options application-group=off { wsgi_per_interpreter_gil off; }
--- config
wsgi_script_alias /on @DIR@/app.wsgi @GROUP@ application-group=on;
wsgi_script_alias /off @DIR@/app.wsgi @GROUP@ application-group=off;
wsgi_script_alias /main @DIR@/app.wsgi @GROUP@ "application-group=%{GLOBAL}";
--- request eval
["GET /on", "GET /off", "GET /main", "GET /on"]
--- response_body eval
["refused", "loaded", "loaded", "refused"]



=== TEST 2: in a block
--- skip_eval: 6:'@VERSION@' =~ /^3\.(9|10|11)$/ && 'GILs of interpreters need Python 3.12'
--- app
def application(environ, start_response):
    start_response('200 OK', [])
    try:
        import readline
        return [b'loaded']
    except ImportError as error:
        return [b'refused']
--- http_config
wsgi_interpreter_options @GROUP@ application-group=on { wsgi_per_interpreter_gil on; }
wsgi_interpreter_options process-group=other { wsgi_per_interpreter_gil on; }
wsgi_daemon_process other;
--- config
wsgi_script_alias /on @DIR@/app.wsgi @GROUP@ application-group=on;
wsgi_script_alias /off @DIR@/app.wsgi @GROUP@ application-group=off;
wsgi_script_alias /main @DIR@/app.wsgi @GROUP@ "application-group=%{GLOBAL}";
--- request eval
["GET /on", "GET /off", "GET /main"]
--- response_body eval
["refused", "loaded", "loaded"]



=== TEST 3: each GIL has a switch interval
--- skip_eval: 7:'@VERSION@' =~ /^3\.(9|10|11)$/ && 'GILs of interpreters need Python 3.12'
--- app
import sys

def application(environ, start_response):
    start_response('200 OK', [])
    return [b'%.3f' % sys.getswitchinterval()]
--- http_config
wsgi_interpreter_options @GROUP@ { wsgi_switch_interval 0.5; }
wsgi_interpreter_options application-group=one { wsgi_switch_interval 0.25; wsgi_per_interpreter_gil on; }
wsgi_interpreter_options application-group=two { wsgi_per_interpreter_gil on; }
--- config
wsgi_script_alias /one @DIR@/app.wsgi @GROUP@ application-group=one;
wsgi_script_alias /two @DIR@/app.wsgi @GROUP@ application-group=two;
wsgi_script_alias /main @DIR@/app.wsgi @GROUP@ "application-group=%{GLOBAL}";
--- request eval
["GET /one", "GET /two", "GET /main"]
--- response_body eval
["0.250", "0.500", "0.500"]
--- no_error_log
[warn]



=== TEST 4: a Python that is too old
--- skip_eval: 3:'@VERSION@' !~ /^3\.(9|10|11)$/ && 'only before Python 3.12'
--- app
def application(environ, start_response):
    start_response('200 OK', [])
    return [b'served']
--- http_config
wsgi_per_interpreter_gil on;
--- request
GET /
--- response_body: served
--- error_log eval
qr/\[warn\].*"wsgi_per_interpreter_gil" has no effect in \S+nginx.conf:\d+: it needs Python 3.12, this is 3\.\d+/



=== TEST 5: the same in a block
--- skip_eval: 4:'@VERSION@' !~ /^3\.(9|10|11)$/ && 'only before Python 3.12'
--- app
def application(environ, start_response):
    start_response('200 OK', [])
    return [b'served']
--- http_config
wsgi_interpreter_options application-group=a { wsgi_per_interpreter_gil on; wsgi_switch_interval 0.1; }
--- request
GET /
--- response_body: served
--- error_log
"wsgi_per_interpreter_gil" has no effect in
it shares the GIL of its process



=== TEST 6: free threading with a Python that has a GIL
--- skip_eval: 4:$WsgiTest::free_threaded && 'only with a Python that is no free-threaded build'
--- app
def application(environ, start_response):
    start_response('200 OK', [])
    return [b'served']
--- http_config
wsgi_free_threading on;
wsgi_interpreter_options application-group=a { wsgi_free_threading on; }
--- request
GET /
--- response_body: served
--- error_log eval
[qr/\[warn\].*"wsgi_free_threading" has no effect in \S+nginx.conf:\d+: this Python, 3\.\d+, is not a free-threaded build/,
 qr/\[warn\].*"wsgi_free_threading" has no effect for application group "a" in \S+nginx.conf:\d+: it is for whole processes/]



=== TEST 7: free threading
--- skip_eval: 4:!$WsgiTest::free_threaded && 'a free-threaded build of Python 3.13 or later is missing'
--- app
import sys

def application(environ, start_response):
    start_response('200 OK', [])
    return [b'%d' % sys._is_gil_enabled()]
--- http_config
wsgi_interpreter_options @GROUP@ { wsgi_free_threading on; }
--- request
GET /
--- response_body: 0



=== TEST 8: not unless it is asked for
--- skip_eval: 4:!$WsgiTest::free_threaded && 'a free-threaded build of Python 3.13 or later is missing'
--- app
import sys

def application(environ, start_response):
    start_response('200 OK', [])
    return [b'%d' % sys._is_gil_enabled()]
--- request
GET /
--- response_body: 1



=== TEST 9: on or off
--- config_error
wsgi_per_interpreter_gil yes;
--- error: "wsgi_per_interpreter_gil" has invalid value "yes": must be "on" or "off"



=== TEST 10: on or off
--- config_error
wsgi_free_threading yes;
--- error: "wsgi_free_threading" has invalid value "yes": must be "on" or "off"



=== TEST 11: twice
--- config_error
wsgi_per_interpreter_gil on;
wsgi_per_interpreter_gil on;
--- error: "wsgi_per_interpreter_gil" is duplicate



=== TEST 12: for all of the server
--- config_error
server { wsgi_free_threading on; }
--- error: "wsgi_free_threading" directive is not allowed here
