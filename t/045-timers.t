# What wsgi_daemon_process options replace or end a process, seen in the log and in the response.

use WsgiTest;

run_wsgi_tests();

__DATA__

=== TEST 1: maximum-requests
--- mode: daemon
--- daemon_options: threads=2 maximum-requests=1
--- app
@REPLY app@
--- request
GET /
--- response_body
app
--- wait: 1
--- error_log
Maximum requests reached for daemon process 'daemon'
(maximum_requests)



=== TEST 2: fewer than maximum-requests
--- mode: daemon
--- daemon_options: threads=2 maximum-requests=3
--- app
@REPLY app@
--- pipelined_requests eval
["GET /", "GET /"]
--- response_body eval
["app\n", "app\n"]
--- wait: 1
--- no_error_log
Maximum requests
takes over



=== TEST 3: a process for one request
--- mode: daemon
--- daemon_options: threads=1 maximum-requests=1
--- app
served = 0

def application(environ, start_response):
    global served
    served += 1
    start_response('200 OK', [('Content-Length', '6')])
    return [b'%d %s' % (served, str(environ['wsgi.run_once']).encode())]
--- pipelined_requests eval
["GET /", "GET /", "GET /"]
--- response_body eval
["1 True", "1 True", "1 True"]



=== TEST 4: restart-interval
--- mode: daemon
--- daemon_options: threads=2 restart-interval=1
--- app
@REPLY app@
--- request
GET /
--- response_body
app
--- wait: 2
--- error_log
Daemon process restart timer expired in process 'daemon'
(restart_interval)



=== TEST 5: inactivity-timeout
--- mode: daemon
--- daemon_options: threads=2 inactivity-timeout=1
--- app
@REPLY app@
--- request
GET /
--- response_body
app
--- wait: 2
--- error_log
Daemon process idle inactivity timer expired in process 'daemon'
(inactivity_timeout)



=== TEST 6: wsgi_ignore_activity
--- mode: daemon
--- daemon_options: threads=2 inactivity-timeout=1
--- http_config
wsgi_ignore_activity on;
--- app
@REPLY app@
--- request
GET /
--- response_body
app
--- wait: 2
--- no_error_log
idle inactivity timer



=== TEST 7: interrupt-timeout
--- mode: daemon
--- daemon_options: threads=1 request-timeout=1 interrupt-timeout=30
--- app
def application(environ, start_response):
    while True:
        pass
--- request
GET /
--- error_code: 504
--- error_log
request time limit exceeded in process 'daemon': request thread 1, running "GET /"
RequestTimeout exception raised processing WSGI script
Injected RequestTimeout into request thread 1



=== TEST 8: request-timeout without interrupt-timeout
--- mode: daemon
--- daemon_options: threads=1 request-timeout=1
--- app
import time

def application(environ, start_response):
    time.sleep(2)
    start_response('200 OK', [])
    return [b'done']
--- request
GET /
--- response_body: done
--- error_log
Daemon process request time limit exceeded in process 'daemon'
(request_timeout)
Stack of request thread 1, running "GET /"
--- no_error_log
Injected



=== TEST 9: graceful-timeout
--- mode: daemon
--- daemon_options: threads=2 graceful-timeout=1 shutdown-timeout=1
--- app
import os, signal, time

def application(environ, start_response):
    os.kill(os.getpid(), signal.SIGUSR1)
    time.sleep(60)
--- request
GET /
--- error_code: 502
--- error_log
Process graceful restart requested for process 'daemon'
Requests did not complete; forcing shutdown of process 'daemon'
Shutdown timeout expired; aborting daemon process 'daemon'



=== TEST 10: eviction-timeout
--- mode: daemon
--- daemon_options: threads=2 graceful-timeout=60 eviction-timeout=1 shutdown-timeout=1
--- app
import os, signal, time

def application(environ, start_response):
    os.kill(os.getpid(), signal.SIGUSR1)
    time.sleep(60)
--- request
GET /
--- error_code: 502
--- error_log
Process eviction requested for process 'daemon'
Requests did not complete; forcing shutdown of process 'daemon'



=== TEST 11: what is running may finish
--- mode: daemon
--- daemon_options: threads=2
--- app
import os, signal, time

def application(environ, start_response):
    os.kill(os.getpid(), signal.SIGUSR1)
    time.sleep(1)
    start_response('200 OK', [])
    return [b'done']
--- request
GET /
--- response_body: done
--- wait: 1
--- error_log
Requests have completed; stopping process 'daemon'
--- no_error_log
forcing



=== TEST 12: startup-timeout
--- mode: daemon
--- daemon_options: threads=2 startup-timeout=1 shutdown-timeout=1
--- app
import time
time.sleep(60)
--- request
GET /
--- error_code: 502
--- error_log
Application startup timer expired in daemon process 'daemon'



=== TEST 13: deadlock-timeout
--- mode: daemon
--- daemon_options: threads=2 deadlock-timeout=1
--- app
import ctypes

def application(environ, start_response):
    ctypes.PyDLL(None).sleep(60)
--- request
GET /
--- error_code: 502
--- error_log
Daemon process deadlock timer expired, stopping process 'daemon': no thread could take the GIL for 1 s



=== TEST 14: without deadlock-timeout
--- mode: daemon
--- daemon_options: threads=2 deadlock-timeout=0
--- app
import ctypes

def application(environ, start_response):
    ctypes.PyDLL(None).sleep(2)
    start_response('200 OK', [])
    return [b'done']
--- request
GET /
--- response_body: done
--- no_error_log
deadlock timer



=== TEST 15: cpu-time-limit
--- mode: daemon
--- daemon_options: threads=2 cpu-time-limit=1
--- app
import time

def application(environ, start_response):
    while time.process_time() < 1.5:
        pass
    start_response('200 OK', [])
    return [b'done']
--- request
GET /
--- response_body: done
--- wait: 1
--- error_log
Exceeded CPU time limit in process 'daemon'
(cpu_time_limit)



=== TEST 16: reload-wait
--- mode: daemon
--- daemon_options: threads=2 reload-wait=30
--- app
served = 0

def reload_required(resource):
    return True

def application(environ, start_response):
    global served
    served += 1
    start_response('200 OK', [('Content-Length', '1')])
    return [b'%d' % served]
--- pipelined_requests eval
["GET /", "GET /"]
--- response_body eval
["1", "1"]



=== TEST 17: without reload-wait
--- mode: daemon
--- daemon_options: threads=2
--- app
served = 0

def reload_required(resource):
    return True

def application(environ, start_response):
    global served
    served += 1
    start_response('200 OK', [('Content-Length', '1')])
    return [b'%d' % served]
--- pipelined_requests eval
["GET /", "GET /"]
--- response_body eval
["1", "2"]
