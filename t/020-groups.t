# Which process group and which application group (interpreter) a request gets.

use WsgiTest;

run_wsgi_tests();

__DATA__

=== TEST 1: %{RESOURCE} is the default
--- app
@SHOW mod_wsgi.application_group@
--- config
wsgi_script_alias /app @DIR@/app.wsgi @GROUP@;
--- request
GET /app/x
--- response_body eval
"mod_wsgi.application_group='localhost:$ENV{TEST_NGINX_CLIENT_PORT}|/app'\n"



=== TEST 2: %{RESOURCE} of a script in a folder
--- app
@REPLY unused@
--- user_files
>>> scripts/a.wsgi
@SHOW mod_wsgi.application_group@
--- config
wsgi_script_alias /s @DIR@/scripts @GROUP@;
--- request
GET /s/a.wsgi/x
--- response_body eval
"mod_wsgi.application_group='localhost:$ENV{TEST_NGINX_CLIENT_PORT}|/s/a.wsgi'\n"



=== TEST 3: %{GLOBAL}
--- app
@SHOW mod_wsgi.application_group@
--- config
wsgi_application_group "%{GLOBAL}";
wsgi_script_alias /app @DIR@/app.wsgi @GROUP@;
--- request
GET /app
--- response_body
mod_wsgi.application_group=''



=== TEST 4: %{GLOBAL} is the main interpreter, a name is not
--- app
import threading

try:
    import _xxsubinterpreters as interpreters
except ImportError:
    import _interpreters as interpreters

def application(environ, start_response):
    main = interpreters.get_main()
    same = interpreters.get_current() == main
    start_response('200 OK', [])
    return [b'main\n' if same else b'other\n']
--- config
wsgi_script_alias /global @DIR@/app.wsgi @GROUP@ "application-group=%{GLOBAL}";
wsgi_script_alias /named @DIR@/app.wsgi @GROUP@ application-group=named;
--- request eval
["GET /global", "GET /named", "GET /global"]
--- response_body eval
["main\n", "other\n", "main\n"]



=== TEST 5: %{SERVER}
--- app
@SHOW mod_wsgi.application_group@
--- config
wsgi_application_group "%{SERVER}";
wsgi_script_alias /app @DIR@/app.wsgi @GROUP@;
--- more_headers
Host: other.example
--- request
GET /app
--- response_body eval
"mod_wsgi.application_group='localhost:$ENV{TEST_NGINX_CLIENT_PORT}'\n"



=== TEST 6: %{HOST}
--- app
@SHOW mod_wsgi.application_group@
--- config
wsgi_application_group "%{HOST}";
wsgi_script_alias /app @DIR@/app.wsgi @GROUP@;
--- raw_request eval
"GET /app HTTP/1.1\r\nHost: other.example\r\nConnection: close\r\n\r\n"
--- response_body eval
"mod_wsgi.application_group='other.example:$ENV{TEST_NGINX_CLIENT_PORT}'\n"



=== TEST 7: %{ENV:x} takes a wsgi_param
--- app
@SHOW mod_wsgi.application_group@
--- config
wsgi_application_group "%{ENV:APP_GROUP}";
wsgi_param APP_GROUP one;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
location /two { wsgi_param APP_GROUP two; }
--- request eval
["GET /", "GET /two"]
--- response_body eval
["mod_wsgi.application_group='one'\n", "mod_wsgi.application_group='two'\n"]



=== TEST 8: %{ENV:x} that isn't there stays as it is
--- app
@SHOW mod_wsgi.application_group@
--- config
wsgi_application_group "%{ENV:NOT_THERE}";
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- request
GET /
--- response_body
mod_wsgi.application_group='%{ENV:NOT_THERE}'



=== TEST 9: an nginx variable
--- app
@SHOW mod_wsgi.application_group@
--- http_config
map $arg_g $app_group { default none; a one; b "%{GLOBAL}"; }
--- config
wsgi_application_group $app_group;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- request eval
["GET /?g=a", "GET /?g=x"]
--- response_body eval
["mod_wsgi.application_group='one'\n", "mod_wsgi.application_group='none'\n"]



=== TEST 10: application groups have separate modules, and share within one
--- app
import sys, types
holder = sys.modules.setdefault('holder', types.ModuleType('holder'))

def application(environ, start_response):
    holder.count = getattr(holder, 'count', 0) + 1
    start_response('200 OK', [])
    return [b'%d\n' % holder.count]
--- config
wsgi_script_alias /a @DIR@/app.wsgi @GROUP@ application-group=one;
wsgi_script_alias /b @DIR@/app.wsgi @GROUP@ application-group=two;
wsgi_script_alias /c @DIR@/app.wsgi @GROUP@ application-group=one;
--- pipelined_requests eval
["GET /a", "GET /a", "GET /b", "GET /c"]
--- response_body eval
["1\n", "2\n", "1\n", "3\n"]



=== TEST 11: the process group by a variable
--- mode: daemon
--- app
@SHOW mod_wsgi.process_group@
--- http_config
wsgi_daemon_process other threads=1;
--- config
wsgi_process_group $arg_g;
wsgi_script_alias / @DIR@/app.wsgi;
--- request eval
["GET /?g=daemon", "GET /?g=other", "GET /?g="]
--- response_body eval
["mod_wsgi.process_group='daemon'\n", "mod_wsgi.process_group='other'\n",
 "mod_wsgi.process_group=''\n"]



=== TEST 12: a process group that turns out not to exist
--- mode: daemon
--- app
@REPLY app@
--- config
wsgi_process_group $arg_g;
wsgi_script_alias / @DIR@/app.wsgi;
--- request
GET /?g=nowhere
--- error_code: 500
--- error_log
nowhere



=== TEST 13: the process group by %{ENV:x}
--- mode: daemon
--- app
@SHOW mod_wsgi.process_group@
--- config
wsgi_process_group "%{ENV:PROCESS_GROUP}";
wsgi_param PROCESS_GROUP daemon;
wsgi_script_alias / @DIR@/app.wsgi;
--- request
GET /
--- response_body
mod_wsgi.process_group='daemon'



=== TEST 14: the process group is inherited, and replaced by an inner level
--- mode: daemon
--- app
@SHOW mod_wsgi.process_group@
--- http_config
wsgi_daemon_process other threads=1;
wsgi_process_group daemon;
--- config
wsgi_script_alias / @DIR@/app.wsgi;
location /other { wsgi_process_group other; }
location /embedded { wsgi_process_group "%{GLOBAL}"; }
--- request eval
["GET /", "GET /other", "GET /embedded"]
--- response_body eval
["mod_wsgi.process_group='daemon'\n", "mod_wsgi.process_group='other'\n",
 "mod_wsgi.process_group=''\n"]
