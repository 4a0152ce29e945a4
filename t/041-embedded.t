# Python inside nginx's workers.

use WsgiTest;

run_wsgi_tests();

__DATA__

=== TEST 1: in the worker, on a thread of its own
--- mode: embedded
--- app
import os, threading

def application(environ, start_response):
    start_response('200 OK', [])
    return [b'%d %d' % (str(os.getpid()) == environ['mod_wsgi.server_pid'],
                        threading.get_native_id() != os.getpid())]
--- request
GET /
--- response_body: 1 1



=== TEST 2: wsgi_embedded_threads
--- mode: embedded
--- app
import threading, time
running, most, lock = 0, 0, threading.Lock()

def application(environ, start_response):
    global running, most
    with lock:
        running += 1
        most = max(most, running)
    if environ['PATH_INFO'] == '/wait':
        time.sleep(0.3)
    with lock:
        running -= 1
    start_response('200 OK', [])
    return [b'%d' % most]
--- http_config
wsgi_embedded_threads 2;
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
">>> all\n" . join("", map { "<!--# include virtual=\"/wait?$_\" -->" } 1 .. 5) . "\n"
--- pipelined_requests eval
["GET /all", "GET /"]
--- response_body_like eval
["\\d", "^2\$"]



=== TEST 3: wsgi.multithread
--- mode: embedded
--- app
@SHOW wsgi.multithread wsgi.multiprocess@
--- http_config
wsgi_embedded_threads 1;
--- request
GET /
--- response_body_like eval
my $multi = $ENV{WSGI_MASTER} ? 'True' : 'False';
"^wsgi.multithread=False\nwsgi.multiprocess=$multi\n\$"



=== TEST 4: wsgi_python_path comes first, with its .pth files
--- mode: embedded
--- user_files
>>> lib/one.py
>>> lib/more.pth
../more
>>> more/two.py
>>> lib/json/__init__.py
mine = True
--- app
import one, two, json

def application(environ, start_response):
    start_response('200 OK', [])
    return [b'%d' % json.mine]
--- http_config
wsgi_python_path @DIR@/lib;
--- request
GET /
--- response_body: 1



=== TEST 5: subprocesses give their exit code
--- mode: embedded
--- app
import subprocess

def application(environ, start_response):
    code = subprocess.run(['sh', '-c', 'exit 3']).returncode
    start_response('200 OK', [])
    return [b'%d' % code]
--- request
GET /
--- response_body: 3



=== TEST 6: signals stay with nginx
--- mode: embedded
--- app
import signal

def application(environ, start_response):
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    start_response('200 OK', [])
    return [b'%d' % ({signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD, signal.SIGQUIT} <= blocked)]
--- request
GET /
--- response_body: 1



=== TEST 7: files while Python sleeps
--- mode: embedded
--- app
import time

def application(environ, start_response):
    time.sleep(1)
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'slept ']
--- http_config
wsgi_embedded_threads 1;
--- config
wsgi_script_alias /app @DIR@/app.wsgi;
location = /page { root @DIR@; ssi on; ssi_types text/plain; default_type text/plain; }
--- user_files
>>> page
<!--# include virtual="/app" --><!--# include virtual="/app" -->end
--- request
GET /page
--- response_body
slept slept end



=== TEST 8: an application that isn't used costs nothing
--- mode: embedded
--- app
@REPLY app@
--- config
wsgi_script_alias /app @DIR@/app.wsgi;
location / { return 200 "plain\n"; }
--- request
GET /
--- response_body
plain
--- no_error_log
[error]



=== TEST 9: wsgi_restrict_embedded keeps applications out of the workers
--- app
@REPLY never@
--- mode: embedded
--- http_config
wsgi_restrict_embedded on;
--- request
GET /
--- error_code: 500
--- error_log
[error]
Embedded mode of mod_wsgi disabled by runtime configuration
--- no_error_log
Initializing Python runtime



=== TEST 10: wsgi_restrict_embedded leaves daemon process groups alone
--- app
@REPLY daemon@
--- mode: daemon
--- http_config
wsgi_restrict_embedded on;
--- request
GET /
--- response_body
daemon
