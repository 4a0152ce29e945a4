# wsgi_interpreter_options: settings of some interpreters.

use WsgiTest;

run_wsgi_tests();

__DATA__

=== TEST 1: selected by the process group
--- app
import sys

def application(environ, start_response):
    start_response('200 OK', [])
    return [b'%.2f' % sys.getswitchinterval()]
--- http_config
wsgi_interpreter_options @GROUP@ {
    wsgi_switch_interval 0.25;
}
wsgi_interpreter_options process-group=other {
    wsgi_switch_interval 0.75;
}
wsgi_daemon_process other;
--- request
GET /
--- response_body: 0.25



=== TEST 2: selected by the application group
--- app
import signal, sys

def application(environ, start_response):
    start_response('200 OK', [])
    done = signal.signal(signal.SIGUSR2, print) is print
    return [b'%s %s %d' % (type(sys.stdin).__name__.encode(), type(sys.stdout).__name__.encode(), done)]
--- http_config
wsgi_interpreter_options application-group=one {
    wsgi_restrict_stdin on;
    wsgi_restrict_stdout on;
}
wsgi_interpreter_options "application-group=%{GLOBAL}" {
    wsgi_restrict_stdout on;
}
--- config
wsgi_script_alias /one @DIR@/app.wsgi @GROUP@ application-group=one;
wsgi_script_alias /two @DIR@/app.wsgi @GROUP@ application-group=two;
wsgi_script_alias /main @DIR@/app.wsgi @GROUP@ "application-group=%{GLOBAL}";
--- request eval
["GET /one", "GET /two", "GET /main"]
--- response_body eval
["_Restricted _Restricted 1", "TextIOWrapper _StdoutStream 1", "TextIOWrapper _Restricted 1"]



=== TEST 3: the more specific block counts, and among equals the last; both selectors have to fit
--- app
import sys

def application(environ, start_response):
    start_response('200 OK', [])
    return [type(sys.stdout).__name__.encode()]
--- http_config
wsgi_restrict_stdout on;
wsgi_interpreter_options @GROUP@ APPLICATION-GROUP=one { wsgi_restrict_stdout off; }
wsgi_interpreter_options application-group=one { wsgi_restrict_stdout on; }
wsgi_interpreter_options application-group=two { wsgi_restrict_stdout on; }
wsgi_interpreter_options @GROUP@ { wsgi_restrict_stdout off; }
wsgi_interpreter_options { wsgi_restrict_stdout on; }
wsgi_interpreter_options process-group=other application-group=three { wsgi_restrict_stdout on; }
wsgi_interpreter_options application-group=four { wsgi_restrict_stdout on; }
wsgi_daemon_process other;
--- config
wsgi_script_alias /one @DIR@/app.wsgi @GROUP@ application-group=one;
wsgi_script_alias /two @DIR@/app.wsgi @GROUP@ application-group=two;
wsgi_script_alias /three @DIR@/app.wsgi @GROUP@ application-group=three;
wsgi_script_alias /four @DIR@/app.wsgi @GROUP@ application-group=four;
--- request eval
["GET /one", "GET /two", "GET /three", "GET /four"]
--- response_body eval
["_StdoutStream", "_StdoutStream", "_StdoutStream", "_Restricted"]



=== TEST 4: paths come together, the most specific first, in front of the process's own
--- daemon_options: python-path=@DIR@/own
--- user_files
>>> own/x.py
>>> all/x.py
>>> app/x.py
>>> never/x.py
--- app
import os, sys

def application(environ, start_response):
    start_response('200 OK', [])
    mine = os.path.dirname(__file__)
    return [' '.join(os.path.basename(p) for p in sys.path if os.path.dirname(p) == mine).encode()]
--- http_config
wsgi_python_path @DIR@/own;
wsgi_interpreter_options application-group=one { wsgi_python_path @DIR@/app; }
wsgi_interpreter_options { wsgi_python_path @DIR@/all:@DIR@/missing:@DIR@/never; }
--- config
wsgi_script_alias /one @DIR@/app.wsgi @GROUP@ application-group=one;
wsgi_script_alias /two @DIR@/app.wsgi @GROUP@ application-group=two;
--- request eval
["GET /one", "GET /two"]
--- response_body eval
["app all own", "all own"]



=== TEST 5: signal handlers of one application
--- daemon_options: threads=1
--- user_files
>>> load.py
import signal
registered = signal.signal(signal.SIGUSR2, lambda *_: None) == signal.SIG_DFL
--- app
import load

def application(environ, start_response):
    start_response('200 OK', [])
    return [b'%d' % load.registered]
--- http_config
wsgi_interpreter_options @GROUP@ "application-group=%{GLOBAL}" {
    wsgi_restrict_signal off;
    wsgi_python_path @DIR@;
}
wsgi_import_script @DIR@/app.wsgi @GROUP@ "application-group=%{GLOBAL}";
--- config
wsgi_script_alias / @DIR@/app.wsgi @GROUP@ "application-group=%{GLOBAL}";
--- request
GET /
--- response_body: 0



=== TEST 6: files can be included
--- user_files
>>> options.conf
wsgi_switch_interval 0.5;
--- app
import sys

def application(environ, start_response):
    start_response('200 OK', [])
    return [b'%.2f' % sys.getswitchinterval()]
--- http_config
wsgi_interpreter_options { include @DIR@/options.conf; }
--- request
GET /
--- response_body: 0.50



=== TEST 7: a switch interval of an interpreter that shares the GIL
--- app
import sys

def application(environ, start_response):
    start_response('200 OK', [])
    return [b'%.2f' % sys.getswitchinterval()]
--- http_config
wsgi_switch_interval 0.5;
wsgi_interpreter_options application-group=one { wsgi_switch_interval 0.25; }
wsgi_interpreter_options "application-group=%{GLOBAL}" { wsgi_switch_interval 0.75; }
--- config
wsgi_script_alias / @DIR@/app.wsgi @GROUP@ application-group=one;
--- request
GET /
--- response_body: 0.75
--- error_log eval
qr/\[warn\].*"wsgi_switch_interval" has no effect for application group "one" in \S+nginx.conf:\d+: it shares the GIL/



=== TEST 8: an unknown process group
--- config_error
wsgi_interpreter_options process-group=nobody { }
--- error: "wsgi_interpreter_options" names unknown daemon process group "nobody"



=== TEST 9: a group that depends on the request
--- config_error
wsgi_interpreter_options "application-group=%{RESOURCE}" { }
--- error: "wsgi_interpreter_options" has invalid value "application-group=%{RESOURCE}": must be a name or "%{GLOBAL}"



=== TEST 10: an unknown option
--- config_error
wsgi_interpreter_options server=x { }
--- error: "wsgi_interpreter_options" has invalid option "server=x"



=== TEST 11: an option twice
--- config_error
wsgi_interpreter_options application-group=a application-group=b { }
--- error: "wsgi_interpreter_options" has duplicate option "application-group=b"



=== TEST 12: directives that are not of interpreters
--- config_error
wsgi_interpreter_options { wsgi_python_optimize 1; }
--- error: "wsgi_python_optimize" directive is not allowed in "wsgi_interpreter_options"



=== TEST 13: a directive twice
--- config_error
wsgi_interpreter_options { wsgi_restrict_stdin on; wsgi_restrict_stdin on; }
--- error: "wsgi_restrict_stdin" is duplicate



=== TEST 14: a bad value
--- config_error
wsgi_interpreter_options { wsgi_restrict_stdin maybe; }
--- error: "wsgi_restrict_stdin" has invalid value "maybe": must be "on" or "off"



=== TEST 15: a bad interval
--- config_error
wsgi_interpreter_options { wsgi_switch_interval 0; }
--- error: "wsgi_switch_interval" has invalid value "0": must be a number of seconds greater than 0



=== TEST 16: too many arguments
--- config_error
wsgi_interpreter_options { wsgi_restrict_stdin on off; }
--- error: "wsgi_restrict_stdin" directive has an invalid number of arguments



=== TEST 17: a block in the block
--- config_error
wsgi_interpreter_options { wsgi_interpreter_options { } }
--- error: unexpected "{"



=== TEST 18: for all of the server
--- config_error
server { wsgi_interpreter_options { } }
--- error: "wsgi_interpreter_options" directive is not allowed here
