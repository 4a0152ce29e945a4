# Scripts that are loaded before any request.

use WsgiTest;

run_wsgi_tests();

__DATA__

=== TEST 1: in configuration order, each once, on Python's main thread, before the first request
--- app
import sys

def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [' '.join(sys.order).encode() + b'\n']
--- user_files
>>> one.py
import sys, threading
on_main = threading.current_thread() is threading.main_thread()
sys.order = getattr(sys, 'order', []) + ['one %s' % on_main]
>>> two.py
import sys, threading
on_main = threading.current_thread() is threading.main_thread()
sys.order = getattr(sys, 'order', []) + ['two %s' % on_main]
--- http_config
wsgi_import_script @DIR@/two.py @GROUP@ application-group=a;
wsgi_import_script @DIR@/one.py @GROUP@ application-group=a;
wsgi_import_script @DIR@/two.py @GROUP@ application-group=a;
--- config
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
wsgi_application_group a;
--- request
GET /
--- response_body
two True one True
--- no_error_log
[error]



=== TEST 2: what goes wrong is logged, and the next one is loaded
--- app
import sys

def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'%d\n' % sys.good]
--- user_files
>>> bad.py
raise ValueError('not today')
>>> leave.py
raise SystemExit
>>> syntax.py
def
>>> good.py
import sys
sys.good = 1
--- config
wsgi_import_script @DIR@/missing.py @GROUP@ application-group=a;
wsgi_import_script @DIR@/bad.py @GROUP@ application-group=a;
wsgi_import_script @DIR@/leave.py @GROUP@ application-group=a;
wsgi_import_script @DIR@/syntax.py @GROUP@ application-group=a;
wsgi_import_script @DIR@/good.py @GROUP@ application-group=a;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
wsgi_application_group a;
--- request
GET /
--- response_body
1
--- error_log
missing.py': No such file or directory
ValueError: not today
SystemExit exception raised when doing exec of Python script file
syntax.py'.



=== TEST 3: the main interpreter, and extensions that ask for its lock
--- app
import sys

def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'%d\n' % sys.called]
--- user_files
>>> callback.py
import ctypes, sys
call = ctypes.PYFUNCTYPE(ctypes.c_int)(lambda: 42)
sys.called = call()
--- config
wsgi_import_script @DIR@/callback.py @GROUP@ "application-group=%{GLOBAL}";
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
wsgi_application_group "%{GLOBAL}";
--- request
GET /
--- response_body
42



=== TEST 4: signal handlers can be registered there when they are not restricted
--- app
import signal, sys

def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'%d\n' % (signal.getsignal(signal.SIGALRM) is sys.handler)]
--- user_files
>>> signals.py
import signal, sys
sys.handler = lambda signum, frame: None
signal.signal(signal.SIGALRM, sys.handler)
--- http_config
wsgi_restrict_signal off;
--- config
wsgi_import_script @DIR@/signals.py @GROUP@ "application-group=%{GLOBAL}";
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
wsgi_application_group "%{GLOBAL}";
--- request
GET /
--- response_body
1



=== TEST 5: and not when they are
--- app
import signal, sys

def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'%d\n' % (signal.getsignal(signal.SIGALRM) is sys.handler)]
--- user_files
>>> signals.py
import signal, sys
sys.handler = lambda signum, frame: None
signal.signal(signal.SIGALRM, sys.handler)
--- config
wsgi_import_script @DIR@/signals.py @GROUP@ "application-group=%{GLOBAL}";
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
wsgi_application_group "%{GLOBAL}";
--- request
GET /
--- response_body
0
--- error_log
Ignoring Python signal handler registration for signal 14.



=== TEST 6: the script of an alias that names both groups
--- app
import sys, threading
sys.loads = getattr(sys, 'loads', []) + [threading.current_thread() is threading.main_thread()]

def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'%r\n' % sys.loads]
--- config
wsgi_script_alias /one @DIR@/app.wsgi @GROUP@ application-group=a;
wsgi_script_alias /two @DIR@/app.wsgi @GROUP@ application-group=a;
wsgi_import_script @DIR@/app.wsgi @GROUP@ application-group=a;
--- request eval
["GET /one", "GET /two"]
--- response_body eval
["[True]\n", "[True]\n"]



=== TEST 7: the script of an alias that does not
--- app
import threading
main = threading.current_thread() is threading.main_thread()

def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'%r\n' % main]
--- user_files
>>> first.py
pass
--- config
wsgi_import_script @DIR@/first.py @GROUP@ application-group=one;
wsgi_import_script @DIR@/first.py @GROUP@ application-group=two;
location /group {
    wsgi_script_alias /group @DIR@/app.wsgi @GROUP@;
    wsgi_application_group one;
}
location /variable {
    set $two two;
    wsgi_script_alias /variable @DIR@/app.wsgi @GROUP@ application-group=$two;
}
--- request eval
["GET /group", "GET /variable"]
--- response_body eval
["False\n", "False\n"]



=== TEST 8: a directory is not loaded
--- app
@REPLY ok@
--- config
wsgi_script_alias / @DIR@ @GROUP@ application-group=a;
--- request
GET /app.wsgi
--- response_body
ok
--- no_error_log
[error]



=== TEST 9: an import that fails is tried again by the first request
--- app
import os, sys
if not hasattr(sys, 'second'):
    sys.second = True
    raise ValueError('too early')

def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'ok\n']
--- config
wsgi_script_alias / @DIR@/app.wsgi @GROUP@ application-group=a;
--- request
GET /
--- response_body
ok
--- error_log
ValueError: too early



=== TEST 10: a group that takes no requests
--- mode: daemon
--- daemon_options: threads=0
--- app
import signal
signal.pause()
--- config
wsgi_script_alias / @DIR@/app.wsgi @GROUP@ "application-group=%{GLOBAL}";
--- request
GET /
--- error_code: 500
--- error_log
The WSGI daemon process called "daemon" takes no requests, it has "threads=0"



=== TEST 11: no application group
--- config_error
wsgi_daemon_process g;
wsgi_import_script /a.py process-group=g;
--- error: "wsgi_import_script" requires "application-group="



=== TEST 12: no process group
--- config_error
wsgi_import_script /a.py application-group=a;
--- error: "wsgi_import_script" requires "process-group="



=== TEST 13: a name that only a request can tell
--- config_error
wsgi_import_script /a.py "process-group=%{GLOBAL}" "application-group=%{RESOURCE}";
--- error: "wsgi_import_script" has invalid value "application-group=%{RESOURCE}": must be a name or "%{GLOBAL}"



=== TEST 14: a variable
--- config_error
wsgi_import_script /a.py process-group=$host application-group=a;
--- error: "wsgi_import_script" has invalid value "process-group=$host": must be a name or "%{GLOBAL}"



=== TEST 15: an empty name
--- config_error
wsgi_import_script /a.py "process-group=%{GLOBAL}" application-group=;
--- error: "wsgi_import_script" has invalid value "application-group=": must be a name or "%{GLOBAL}"



=== TEST 16: an option that does not exist
--- config_error
wsgi_import_script /a.py "process-group=%{GLOBAL}" callable-object=a;
--- error: "wsgi_import_script" has invalid option "callable-object=a"



=== TEST 17: a group that is defined later
--- config_error
wsgi_import_script /a.py process-group=g application-group=a;
wsgi_daemon_process g;
--- error: "wsgi_import_script" names daemon process group "g", which is not defined before



=== TEST 18: an alias whose script is loaded before its group is defined
--- config_error
server {
    wsgi_script_alias / /a.wsgi process-group=g application-group=a;
    wsgi_daemon_process g;
}
--- error: "wsgi_script_alias" names daemon process group "g", which is not defined before



=== TEST 19: a group of another server
--- config_error
server {
    server_name one;
    wsgi_daemon_process g;
}
server {
    wsgi_import_script /a.py process-group=g application-group=a;
    server_name two;
}
--- error: "wsgi_import_script" cannot use daemon process group "g"



=== TEST 20: a group of a server, at the http level
--- config_error
server {
    server_name one;
    wsgi_daemon_process g;
}
wsgi_script_alias / /a.wsgi process-group=g "application-group=%{GLOBAL}";
--- error: "wsgi_script_alias" cannot use daemon process group "g"



=== TEST 21: a group of another server that has no name either
--- config_error
server {
    listen 127.0.0.1:1;
    wsgi_daemon_process g;
}
server {
    listen 127.0.0.1:2;
    wsgi_import_script /a.py process-group=g application-group=a;
}
--- error: "wsgi_import_script" cannot use daemon process group "g"



=== TEST 22: a group of a server with the same name
--- app
@SHOW mod_wsgi.process_group@
--- mode: daemon
--- http_config
server {
    listen 127.0.0.1:1;
    server_name localhost;
    wsgi_daemon_process theirs threads=1;
}
--- config
wsgi_import_script @DIR@/app.wsgi process-group=theirs application-group=a;
wsgi_script_alias / @DIR@/app.wsgi process-group=theirs application-group=a;
--- request
GET /
--- response_body
mod_wsgi.process_group='theirs'



=== TEST 23: no threads and nothing to run
--- config_error
wsgi_daemon_process g threads=0;
--- error: "wsgi_daemon_process" "g" has "threads=0" but no "wsgi_import_script" to run
