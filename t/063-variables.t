# Variables that tell what has become of a request, as a log format has them.

use WsgiTest;

run_wsgi_tests();

__DATA__

=== TEST 1: the names of a request
--- app
@REPLY app@
--- http_config
log_format wsgi '$request_uri|$wsgi_script_name|$wsgi_path_info|$wsgi_process_group|$wsgi_application_group|';
--- config
access_log logs/error.log wsgi;
wsgi_script_alias /app @DIR@/app.wsgi @GROUP@ application-group=mine;
--- request
GET /app/x?y
--- response_body
app
--- error_log eval
qr{^/app/x\?y\|/app\|/x\|(daemon)?\|mine\|$}



=== TEST 2: the group's name
--- app
@REPLY app@
--- mode: daemon
--- http_config
log_format wsgi 'group=$wsgi_process_group.';
--- config
access_log logs/error.log wsgi;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- request
GET /
--- error_log
group=daemon.



=== TEST 3: the process
--- app
import os
def application(environ, start_response):
    start_response('200 OK', [('X-Pid', str(os.getpid()))])
    return [b'app\n']
--- http_config
log_format wsgi '$sent_http_x_pid=$wsgi_pid.';
--- config
access_log logs/error.log wsgi;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- request
GET /
--- error_log eval
qr{^(\d+)=\1\.$}



=== TEST 4: the application's time
--- app
import time
def application(environ, start_response):
    start_response('200 OK', [])
    yield b'first\n'
    time.sleep(0.3)
    yield b'second\n'
--- http_config
log_format wsgi 'queue $wsgi_queue_time application $wsgi_application_time.';
--- config
access_log logs/error.log wsgi;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- request
GET /
--- response_body
first
second
--- error_log eval
qr{^queue \d+\.\d{3} application (0\.[3-9]|[1-9])\d+(\.\d{3})?\.$}



=== TEST 5: nothing where no application is asked
--- app
@REPLY app@
--- http_config
log_format wsgi '[$wsgi_script_name $wsgi_path_info $wsgi_process_group $wsgi_application_group $wsgi_pid $wsgi_queue_time $wsgi_application_time]';
--- config
access_log logs/error.log wsgi;
location / { return 204; }
--- request
GET /
--- error_code: 204
--- error_log
[- - - - - - -]



=== TEST 6: after an error page
--- app
def application(environ, start_response):
    start_response('500 No', [])
    return [b'no\n']
--- http_config
log_format wsgi 'name $wsgi_script_name pid $wsgi_pid time $wsgi_application_time.';
--- config
access_log logs/error.log wsgi;
wsgi_error_override on;
error_page 500 /sorry;
wsgi_script_alias /app @DIR@/app.wsgi @GROUP@;
location = /sorry { return 200 "sorry\n"; }
--- request
GET /app
--- error_code: 500
--- response_body
sorry
--- error_log eval
qr{^name /app pid \d+ time \d+\.\d{3}\.$}



=== TEST 7: a request that waits for a thread
--- app
import time
def application(environ, start_response):
    time.sleep(0.4)
    start_response('200 OK', [])
    return [b'app\n']
--- daemon_options: threads=1
--- http_config
wsgi_embedded_threads 1;
log_format wsgi '$wsgi_path_info queue $wsgi_queue_time.';
--- config
access_log logs/error.log wsgi;
wsgi_script_alias /app @DIR@/app.wsgi @GROUP@;
log_subrequest on;
location /both {
    add_before_body /app/first;
    add_after_body /app/second;
    default_type text/html;
    root @DIR@;
}
--- user_files
>>> both
both
--- request
GET /both
--- response_body
app
both
app
--- error_log eval
qr{^/(first|second) queue 0\.[1-9]}



=== TEST 8: in a response header
--- app
@REPLY app@
--- config
wsgi_script_alias /app @DIR@/app.wsgi @GROUP@;
add_header X-Name $wsgi_script_name;
--- request
GET /app/x
--- response_headers
X-Name: /app
