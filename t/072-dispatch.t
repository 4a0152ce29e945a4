# wsgi_dispatch_script: a script chooses process group, application group and callable.

use WsgiTest;

run_wsgi_tests();

__DATA__

=== TEST 1: all three names
--- app
def reply(start_response, environ, name):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [('%s %r %r %s\n' % (name, environ['mod_wsgi.process_group'], environ['mod_wsgi.application_group'],
        environ['mod_wsgi.callable_object'])).encode()]

def application(environ, start_response):
    return reply(start_response, environ, 'usual')

def other(environ, start_response):
    return reply(start_response, environ, 'other')
--- user_files
>>> dispatch.py
NAMES = {'daemon': 'target', 'embedded': '%{GLOBAL}'}

def process_group(environ):
    return NAMES['@MODE@']

def application_group(environ):
    return b'chosen'

def callable_object(environ):
    return 'other'
--- http_config
wsgi_daemon_process target threads=1;
wsgi_daemon_process elsewhere threads=1;
--- config
wsgi_dispatch_script @DIR@/dispatch.py;
wsgi_script_alias / @DIR@/app.wsgi process-group=elsewhere application-group=x callable-object=y @GROUP@;
--- request
GET /
--- response_body_like eval
qr/^other '(target)?' 'chosen' other$/



=== TEST 2: from one mode to the other
--- app
@SHOW mod_wsgi.process_group@
--- user_files
>>> dispatch.py
def process_group(environ):
    return environ['QUERY_STRING'] or None
--- http_config
wsgi_daemon_process other threads=1;
--- config
wsgi_dispatch_script @DIR@/dispatch.py;
wsgi_script_alias /configured @DIR@/app.wsgi @GROUP@;
wsgi_script_alias /other @DIR@/app.wsgi @GROUP@;
wsgi_script_alias /global @DIR@/app.wsgi @GROUP@;
location /other { set $args other; }
location /global { set $args "%{GLOBAL}"; }
--- request eval
["GET /configured", "GET /other", "GET /global"]
--- response_body_like eval
["^mod_wsgi.process_group='(daemon)?'\n\$", "^mod_wsgi.process_group='other'\n\$", "^mod_wsgi.process_group=''\n\$"]



=== TEST 3: None keeps what is configured, a missing function does as well
--- app
def mine(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [('%s %s\n' % (environ['mod_wsgi.application_group'], environ['mod_wsgi.callable_object'])).encode()]
--- user_files
>>> none.py
def application_group(environ):
    pass

def callable_object(environ):
    return None
>>> empty.py
x = 1
--- config
wsgi_application_group configured;
wsgi_callable_object mine;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
location /none { wsgi_dispatch_script @DIR@/none.py; }
location /empty { wsgi_dispatch_script @DIR@/empty.py; }
--- request eval
["GET /none", "GET /empty"]
--- response_body eval
[("configured mine\n") x 2]
--- no_error_log
[error]



=== TEST 4: tokens are expanded as in the directives
--- app
def by_variable(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [('<%s>%s\n' % (environ['mod_wsgi.application_group'].partition(':')[0], environ['mod_wsgi.callable_object'])).encode()]

application = by_variable
--- user_files
>>> dispatch.py
def application_group(environ):
    return environ['PATH_INFO'][1:]

def callable_object(environ):
    return {'': '%{ENV:CALLABLE}', 'empty': ''}.get(environ['QUERY_STRING'], environ['QUERY_STRING'])
--- config
wsgi_param CALLABLE by_variable;
wsgi_param GROUP "%{GLOBAL}";
wsgi_dispatch_script @DIR@/dispatch.py;
wsgi_script_alias /app @DIR@/app.wsgi @GROUP@;
--- request eval
["GET /app/%25%7BGLOBAL%7D", "GET /app/%25%7BSERVER%7D", "GET /app/%25%7BHOST%7D", "GET /app/%25%7BRESOURCE%7D", "GET /app/%25%7BENV:GROUP%7D",
 "GET /app/%25%7BENV:request_method%7D", "GET /app/%25%7BNONE%7D", "GET /app/50%25", "GET /app/", "GET /app/x?%{ENV:NONE}", "GET /app/x?empty"]
--- more_headers
Host: asked.example
--- response_body_like eval
["^<>by_variable\$", "^<localhost>", "^<asked.example>", "^<localhost>", "^<>", "^<GET>", "^<%\\{NONE\\}>", "^<50%>", "^<>", "^<x>application\$", "^<x>application\$"]



=== TEST 5: a resource of its own
--- app
@SHOW mod_wsgi.application_group@
--- user_files
>>> dispatch.py
def application_group(environ):
    return '%{RESOURCE}'
--- config
wsgi_application_group "%{GLOBAL}";
wsgi_dispatch_script @DIR@/dispatch.py;
wsgi_script_alias /App/ @DIR@/ @GROUP@;
--- request
GET /App/app.wsgi/info
--- response_body_like
^mod_wsgi.application_group='localhost(:\d+)?\|/App/app.wsgi'$



=== TEST 6: the environ
--- app
@REPLY application@
--- user_files
>>> dispatch.py
def callable_object(environ):
    assert environ['seen'] == ['process', 'application']

def application_group(environ):
    environ['seen'].append('application')

def process_group(environ):
    environ['seen'] = ['process']
    assert environ['REQUEST_METHOD'] == 'POST'
    assert environ['QUERY_STRING'] == 'x=%C3%A9'
    assert environ['SCRIPT_NAME'] == environ['mod_wsgi.script_name'] == '/app', environ
    assert environ['PATH_INFO'] == environ['mod_wsgi.path_info'] == '/info', environ
    assert environ['SCRIPT_FILENAME'].endswith('app.wsgi'), environ
    assert environ['REQUEST_URI'] == '/app/info?x=%C3%A9'
    assert environ['HTTP_X_Y'] == 'caf\xe9'
    assert environ['HTTP_AUTHORIZATION'] == 'Basic dTpw'
    assert environ['CONTENT_LENGTH'] == '4'
    assert environ['PARAM'] == 'value'
    assert environ['REMOTE_ADDR'] == '192.0.2.1', environ
    assert environ['mod_wsgi.process_group'] == '' and environ['mod_wsgi.application_group'] == 'own'
    assert environ['mod_wsgi.request_handler'] == 'wsgi-script' and environ['mod_wsgi.handler_script'] == ''
    assert isinstance(environ['mod_wsgi.version'], tuple) and isinstance(environ['apache.version'], tuple)
    for key in environ:
        assert not key.startswith(('wsgi.input', 'mod_wsgi.x-', 'mod_wsgi.callable_object')), key
        assert key not in ('PATH', 'HTTP_PROXY', 'HTTP_PROXY_AUTHORIZATION', 'SERVER_SIGNATURE', 'REMOTE_HOST'), key
    print('said by the script', file=environ['wsgi.errors'])
    print('printed by the script')
--- config
wsgi_pass_authorization on;
wsgi_param PARAM value;
wsgi_param PATH value;
wsgi_trusted_proxy_headers X-Forwarded-For;
wsgi_dispatch_script @DIR@/dispatch.py application-group=own;
wsgi_script_alias /app @DIR@/app.wsgi @GROUP@;
--- more_headers eval
"Authorization: Basic dTpw\nProxy: x\nProxy-Authorization: x\nX-Y: caf\xe9\nX-Forwarded-For: 192.0.2.1"
--- request eval
"POST /app/info?x=%C3%A9\nbody"
--- response_body
application
--- error_log eval
[qr/said by the script.*request: "POST \/app\/info/, qr/printed by the script.*request: "POST \/app\/info/]



=== TEST 7: the script's own application group
--- app
@REPLY application@
--- user_files
>>> dispatch.py
def process_group(environ):
    assert 'group=<' + environ['mod_wsgi.application_group'].split(':')[0] + '>' == environ['QUERY_STRING'], environ['mod_wsgi.application_group']
--- config
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
location /default { wsgi_dispatch_script @DIR@/dispatch.py; }
location /global { wsgi_dispatch_script @DIR@/dispatch.py "application-group=%{GLOBAL}"; }
location /own { wsgi_dispatch_script @DIR@/dispatch.py application-group=own; }
location /server { wsgi_dispatch_script @DIR@/dispatch.py "application-group=%{SERVER}"; }
location /host { wsgi_dispatch_script @DIR@/dispatch.py "application-group=%{HOST}"; }
location /variable { wsgi_dispatch_script @DIR@/dispatch.py application-group=of-$request_method; }
--- request eval
["GET /default?group=<>", "GET /global?group=<>", "GET /own?group=<own>", "GET /server?group=<localhost>",
 "GET /host?group=<localhost>", "GET /variable?group=<of-GET>"]
--- error_code eval
[(200) x 6]



=== TEST 8: inherited, replaced, switched off
--- app
@SHOW mod_wsgi.application_group@
--- user_files
>>> outer.py
def application_group(environ):
    return 'outer'
>>> inner.py
def application_group(environ):
    return 'inner'
--- http_config
wsgi_dispatch_script @DIR@/outer.py;
--- config
wsgi_application_group configured;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
location /replaces { wsgi_dispatch_script @DIR@/inner.py; }
location /off { wsgi_dispatch_script off; }
--- request eval
["GET /inherits", "GET /replaces", "GET /off"]
--- response_body eval
[map { "mod_wsgi.application_group='$_'\n" } qw(outer inner configured)]



=== TEST 9: in a server
--- app
@SHOW mod_wsgi.application_group@
--- user_files
>>> dispatch.py
def application_group(environ):
    return 'chosen'
--- config
wsgi_dispatch_script @DIR@/dispatch.py;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- request
GET /
--- response_body
mod_wsgi.application_group='chosen'



=== TEST 10: a script that cannot be loaded leaves what is configured
--- app
@SHOW mod_wsgi.application_group@
--- user_files
>>> broken.py
def application_group(environ:
>>> raises.py
raise KeyError('no luck')
>>> exits.py
raise SystemExit(1)
--- config
wsgi_application_group configured;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
location /missing { wsgi_dispatch_script @DIR@/missing.py; }
location /broken { wsgi_dispatch_script @DIR@/broken.py; }
location /raises { wsgi_dispatch_script @DIR@/raises.py; }
location /exits { wsgi_dispatch_script @DIR@/exits.py; }
--- request eval
["GET /missing", "GET /broken", "GET /raises", "GET /exits"]
--- response_body eval
[("mod_wsgi.application_group='configured'\n") x 4]
--- error_log eval
qr{Could not read or compile WSGI script '.*missing.py'.*request: "GET /missing|Could not read or compile WSGI script '.*broken.py'.*request: "GET /broken|Unable to execute Python script file '.*raises.py'.*request: "GET /raises|SystemExit exception raised when doing exec of Python script file '.*exits.py'.*request: "GET /exits}



=== TEST 11: what is neither str, bytes nor None
--- app
@REPLY application@
--- user_files
>>> dispatch.py
def process_group(environ):
    return {'/int': 5, '/false': False, '/list': ['x'], '/array': bytearray(b'x')}[environ['PATH_INFO']]
--- config
wsgi_dispatch_script @DIR@/dispatch.py;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- request eval
["GET /int", "GET /false", "GET /list", "GET /array"]
--- error_code eval
[(500) x 4]
--- grep_error_log eval
qr{has to return.*}
--- grep_error_log_out eval
qr{^has to return str, bytes or None, not (int\..*"GET /int|bool\..*"GET /false|list\..*"GET /list|bytearray\..*"GET /array) .*\n$}



=== TEST 12: each of the three is checked, and called by its name
--- app
@REPLY application@
--- user_files
>>> first.py
def process_group(environ):
    raise KeyError('no luck')

def application_group(environ):
    print('called')
>>> second.py
def application_group(environ):
    return 1

def callable_object(environ):
    print('called')
>>> third.py
callable_object = 'application'
--- config
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
location /first { wsgi_dispatch_script @DIR@/first.py; }
location /second { wsgi_dispatch_script @DIR@/second.py; }
location /third { wsgi_dispatch_script @DIR@/third.py; }
--- request eval
["GET /first", "GET /second", "GET /third"]
--- error_code eval
[500, 500, 500]
--- error_log eval
qr{Exception occurred in process_group\(\) of WSGI script '.*first.py'\..*"GET /first|WSGI script '.*second.py': application_group\(\) has to return str, bytes or None, not int\..*"GET /second|Exception occurred in callable_object\(\) of WSGI script '.*third.py'\..*"GET /third}
--- no_error_log
called
[alert]



=== TEST 13: names that are no latin-1, or have control characters
--- app
@SHOW mod_wsgi.application_group@
--- user_files
>>> dispatch.py
def application_group(environ):
    return {'wide': '\u0101\n', 'lone': '\udcff', 'line': 'a\nb', 'nul': b'a\0b'}[environ['QUERY_STRING']]
--- config
wsgi_dispatch_script @DIR@/dispatch.py;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- request eval
["GET /?wide", "GET /?lone", "GET /?line", "GET /?nul"]
--- error_code eval
[(500) x 4]
--- grep_error_log eval
qr/(application_group\(\) |Traceback|UnicodeEncodeError).*/
--- grep_error_log_out eval
qr{^application_group\(\) returned a name (that is not latin-1: '.*\\n'\..*"GET /\?wide|that is not latin-1: '\\udcff'\..*"GET /\?lone|with control characters: 'a\\nb'\..*"GET /\?line|with control characters: b'a\\x00b'\..*"GET /\?nul) .*\n$}



=== TEST 14: a chosen process group has to be allowed
--- app
@REPLY application@
--- http_config
wsgi_daemon_process allowed threads=1;
wsgi_daemon_process forbidden threads=1;
wsgi_daemon_process service threads=0;
wsgi_import_script @DIR@/service.py process-group=service "application-group=%{GLOBAL}";
server {
    server_name other;
    listen unix:$TEST_NGINX_HTML_DIR/other.sock;
    wsgi_daemon_process foreign threads=1;
}
--- user_files
>>> service.py
import time
while True:
    time.sleep(1)
>>> dispatch.py
def process_group(environ):
    return {'none': None, 'empty': ''}.get(environ['QUERY_STRING'], environ['QUERY_STRING'])
--- config
wsgi_dispatch_script @DIR@/dispatch.py;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
location /limited { wsgi_restrict_process allowed unknown foreign service daemon; }
--- request eval
["GET /limited?Allowed", "GET /limited?forbidden", "GET /limited?unknown", "GET /limited?empty", "GET /limited?foreign", "GET /limited?service", "GET /?unknown"]
--- error_code eval
[(500) x 7]
--- error_log eval
qr{No WSGI daemon process called "Allowed" has been configured.*"GET /limited\?Allowed|Daemon process called "forbidden" cannot be accessed by this WSGI application as not a member of allowed groups.*"GET /limited\?forbidden|No WSGI daemon process called "unknown" has been configured.*"GET /limited\?unknown|Embedded mode of mod_wsgi cannot be used by this WSGI application as not a member of allowed groups.*"GET /limited\?empty|The WSGI daemon process called "foreign" cannot be accessed by this server.*"GET /limited\?foreign|The WSGI daemon process called "service" takes no requests.*"GET /limited\?service|No WSGI daemon process called "unknown" has been configured.*"GET /\?unknown}



=== TEST 15: a chosen process group that is allowed
--- app
@SHOW mod_wsgi.process_group@
--- http_config
wsgi_daemon_process allowed threads=1;
wsgi_daemon_process forbidden threads=1;
--- user_files
>>> dispatch.py
def process_group(environ):
    return {'none': None, 'empty': ''}.get(environ['QUERY_STRING'], environ['QUERY_STRING'])
--- config
wsgi_dispatch_script @DIR@/dispatch.py;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
location /limited { wsgi_restrict_process allowed; }
--- request eval
["GET /limited?allowed", "GET /?forbidden", "GET /?empty", "GET /?none"]
--- response_body_like eval
["='allowed'", "='forbidden'", "=''", "='(daemon)?'"]



=== TEST 16: what is configured is not checked when another group is chosen
--- app
@SHOW mod_wsgi.process_group@
--- mode: daemon
--- user_files
>>> dispatch.py
def process_group(environ):
    return 'daemon'
--- http_config
wsgi_restrict_embedded on;
--- config
wsgi_process_group "%{ENV:NONE}";
wsgi_dispatch_script @DIR@/dispatch.py;
wsgi_script_alias / @DIR@/app.wsgi;
--- request
GET /
--- response_body
mod_wsgi.process_group='daemon'



=== TEST 17: wsgi_restrict_embedded keeps applications out, the script runs
--- app
@SHOW mod_wsgi.process_group@
--- mode: daemon
--- user_files
>>> dispatch.py
def process_group(environ):
    return None
--- http_config
wsgi_restrict_embedded on;
--- config
wsgi_dispatch_script @DIR@/dispatch.py;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- request
GET /
--- response_body
mod_wsgi.process_group='daemon'



=== TEST 18: wsgi_restrict_embedded applies to what the script says
--- app
@REPLY application@
--- mode: daemon
--- user_files
>>> dispatch.py
def process_group(environ):
    return '%{GLOBAL}'
--- http_config
wsgi_restrict_embedded on;
--- config
wsgi_dispatch_script @DIR@/dispatch.py;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- request
GET /
--- error_code: 500
--- error_log eval
qr/"wsgi_restrict_embedded" is on, Embedded mode of mod_wsgi disabled by runtime configuration\..*request: "GET \/ /



=== TEST 19: a chosen callable that is not there
--- app
@REPLY application@
--- user_files
>>> dispatch.py
def callable_object(environ):
    return environ['QUERY_STRING']
--- config
wsgi_callable_object other;
wsgi_dispatch_script @DIR@/dispatch.py;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- request
GET /?nothing
--- error_code: 500
--- error_log eval
qr/'nothing'.*request: "GET \/\?nothing/



=== TEST 20: request bodies arrive whole
--- app
def application(environ, start_response):
    body = environ['wsgi.input'].read()
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'%d %d' % (len(body), body.count(b'x'))]
--- user_files
>>> dispatch.py
def application_group(environ):
    return ''
--- config
wsgi_dispatch_script @DIR@/dispatch.py;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
client_body_buffer_size 1k;
location /streamed { wsgi_request_buffering off; }
--- request eval
["POST /\n" . "x" x 20000, "POST /streamed\n" . "x" x 20000, "POST /\nx"]
--- response_body eval
["20000 20000", "20000 20000", "1 1"]



=== TEST 21: HEAD
--- app
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain'), ('X-Group', environ['mod_wsgi.application_group'])])
    return [b'body']
--- user_files
>>> dispatch.py
def application_group(environ):
    return environ['REQUEST_METHOD']
--- config
wsgi_map_head_to_get off;
wsgi_dispatch_script @DIR@/dispatch.py;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- request
HEAD /
--- response_headers
X-Group: HEAD
--- response_body:



=== TEST 22: what is refused before anybody is asked
--- app
@REPLY application@
--- user_files
>>> dispatch.py
print('asked')
>>> directory/a.txt
--- config
wsgi_dispatch_script @DIR@/dispatch.py;
wsgi_script_alias /missing @DIR@/missing.wsgi @GROUP@;
wsgi_script_alias /directory @DIR@/directory @GROUP@;
wsgi_script_alias /denied @DIR@/app.wsgi @GROUP@;
wsgi_script_alias /large @DIR@/app.wsgi @GROUP@;
location /denied { deny all; }
location /large { client_max_body_size 1; }
location /files { root @DIR@; }
--- request eval
["GET /missing", "GET /directory", "GET /denied", "POST /large\nxx", "GET /files/none"]
--- error_code eval
[404, 403, 403, 413, 404]
--- no_error_log
asked



=== TEST 23: wsgi_set_handler
--- app
@SHOW mod_wsgi.application_group mod_wsgi.handler_script SCRIPT_NAME@
--- user_files
>>> dispatch.py
def application_group(environ):
    return environ['mod_wsgi.request_handler']
--- config
wsgi_process_group @MODE@;
wsgi_dispatch_script @DIR@/dispatch.py;
location / { root @DIR@; wsgi_set_handler wsgi-script; }
--- http_config
wsgi_daemon_process embedded threads=1;
--- request
GET /app.wsgi/info
--- response_body
mod_wsgi.application_group='wsgi-script'
mod_wsgi.handler_script=''
SCRIPT_NAME='/app.wsgi'



=== TEST 24: handler scripts: their groups, and even their callable
--- user_files
>>> handler.py
def reply(start_response, environ, name):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [('%s %s %s\n' % (name, environ['mod_wsgi.application_group'], environ['mod_wsgi.callable_object'])).encode()]

def handle_request(environ, start_response):
    return reply(start_response, environ, 'usual')

def other(environ, start_response):
    return reply(start_response, environ, 'other')
>>> dispatch.py
def application_group(environ):
    assert environ['mod_wsgi.handler_script'].endswith('handler.py')
    assert environ['SCRIPT_FILENAME'].endswith('/page.tmpl')
    return environ['mod_wsgi.request_handler']

def callable_object(environ):
    return environ['QUERY_STRING'] or None
>>> page.tmpl
--- config
wsgi_handler_script template @DIR@/handler.py @GROUP@;
wsgi_dispatch_script @DIR@/dispatch.py;
location / { root @DIR@; wsgi_set_handler template; }
--- request eval
["GET /page.tmpl", "GET /page.tmpl?other"]
--- response_body eval
["usual template handle_request\n", "other template other\n"]



=== TEST 25: internal redirects ask again, with the other URL's script
--- app
def application(environ, start_response):
    path = environ['SCRIPT_NAME'] + environ['PATH_INFO']
    headers = [('Content-Type', 'text/plain')]
    if path == '/moved':
        headers.append(('Location', '/target'))
    elif path == '/accelerated':
        headers.append(('X-Accel-Redirect', '/target'))
    start_response('200 OK', headers)
    return [('%s in %s\n' % (path, environ['mod_wsgi.application_group'])).encode()]
--- user_files
>>> dispatch.py
def application_group(environ):
    print('asked about', environ['SCRIPT_NAME'] + environ['PATH_INFO'])
    return 'first'
>>> target.py
def application_group(environ):
    print('asked about', environ['SCRIPT_NAME'] + environ['PATH_INFO'])
    return 'second'
--- config
wsgi_dispatch_script @DIR@/dispatch.py;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
location /target { wsgi_dispatch_script @DIR@/target.py; }
location /page { error_page 404 = /target; return 404; }
location /try { try_files /none /target; }
--- request eval
["GET /moved", "GET /accelerated", "GET /try", "GET /page"]
--- response_body eval
[("/target in second\n") x 4]
--- grep_error_log eval
qr/asked about [^\s,]+/
--- grep_error_log_out eval
qr{^(asked about /(moved|accelerated)\n)?asked about /target\n$}



=== TEST 26: the error page of a refused request is an application with the same script
--- app
@SHOW mod_wsgi.application_group REDIRECT_STATUS@
--- user_files
>>> dispatch.py
def application_group(environ):
    return 5 if environ['PATH_INFO'] == '/refused' else 'page'
--- config
error_page 500 /page;
wsgi_dispatch_script @DIR@/dispatch.py;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- request
GET /refused
--- error_code: 500
--- response_body
mod_wsgi.application_group='page'
REDIRECT_STATUS='500'



=== TEST 27: subrequests side by side
--- app
@SHOW mod_wsgi.application_group PATH_INFO@
--- user_files
>>> page.shtml
<!--#include virtual="/app/1" --><!--#include virtual="/app/2" --><!--#include virtual="/bad" --><!--#include virtual="/app/3" -->
>>> dispatch.py
def application_group(environ):
    return environ['PATH_INFO'][1:] if environ['SCRIPT_NAME'] == '/app' else 5
--- config
root @DIR@;
wsgi_dispatch_script @DIR@/dispatch.py;
wsgi_script_alias /app @DIR@/app.wsgi @GROUP@;
wsgi_script_alias /bad @DIR@/app.wsgi @GROUP@;
location = /page.shtml { ssi on; ssi_types text/plain; default_type text/html; types { } }
--- request
GET /page.shtml
--- response_body_like eval
qr{\Amod_wsgi.application_group='1'\nPATH_INFO='/1'\nmod_wsgi.application_group='2'\nPATH_INFO='/2'\n.*mod_wsgi.application_group='3'\nPATH_INFO='/3'\n}s



=== TEST 28: auth_request and mirror
--- app
def application(environ, start_response):
    name = environ['mod_wsgi.application_group']
    print('asked in', name, file=environ['wsgi.errors'])
    if name == 'guard' and environ['REQUEST_URI'].endswith('?no'):
        start_response('403 Forbidden', [('Content-Type', 'text/plain')])
    else:
        start_response('200 OK', [('Content-Type', 'text/plain')])
    return [name.encode()]
--- user_files
>>> dispatch.py
def application_group(environ):
    return environ['SCRIPT_NAME'][1:]
--- config
wsgi_dispatch_script @DIR@/dispatch.py;
wsgi_script_alias /guard @DIR@/app.wsgi @GROUP@;
wsgi_script_alias /copy @DIR@/app.wsgi @GROUP@;
wsgi_script_alias /app @DIR@/app.wsgi @GROUP@;
location /app { auth_request /guard; mirror /copy; }
--- request eval
["POST /app?yes\nbody", "POST /app?no\nbody"]
--- error_code eval
[200, 403]
--- response_body_like eval
["^app\$", "403 Forbidden"]
--- error_log
asked in guard



=== TEST 29: variables and access log tell where it has run
--- app
@REPLY application@
--- http_config
log_format names 'names <$wsgi_process_group> <$wsgi_application_group> $status';
--- user_files
>>> dispatch.py
def process_group(environ):
    return {'embedded': '%{GLOBAL}', 'daemon': 'daemon'}['@MODE@']

def application_group(environ):
    return 'chosen'
--- config
access_log logs/error.log names;
add_header X-Names "<$wsgi_process_group> <$wsgi_application_group>";
wsgi_process_group nobody-$arg_x;
wsgi_dispatch_script @DIR@/dispatch.py;
wsgi_script_alias / @DIR@/app.wsgi;
location / { }
--- request
GET /
--- response_headers_like
X-Names: <(daemon)?> <chosen>
--- error_log eval
qr/names <(daemon)?> <chosen> 200/



=== TEST 30: after access hooks, which do not know of it
--- app
@SHOW mod_wsgi.application_group REMOTE_USER@
--- user_files
>>> hooks.py
def check_password(environ, user, password):
    assert environ['mod_wsgi.application_group'] == ''
    return password == 'secret'

def application_group(environ):
    return 'of ' + environ['REMOTE_USER']
--- config
wsgi_auth_type basic;
wsgi_auth_name area;
wsgi_auth_user_script @DIR@/hooks.py;
wsgi_dispatch_script @DIR@/hooks.py;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- more_headers
Authorization: Basic Ym9iOnNlY3JldA==
--- request
GET /
--- response_body
mod_wsgi.application_group='of bob'
REMOTE_USER='bob'



=== TEST 31: reload_required() is asked of the application alone
--- app
@REPLY application@
--- user_files
>>> dispatch.py
def reload_required(resource):
    raise AssertionError

def process_group(environ):
    pass
--- config
wsgi_dispatch_script @DIR@/dispatch.py;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- request eval
["GET /", "GET /"]
--- response_body eval
[("application\n") x 2]
--- no_error_log
reload_required



=== TEST 32: an answer that is too late
--- app
@REPLY application@
--- user_files
>>> dispatch.py
import time

def process_group(environ):
    time.sleep(1)
--- config
wsgi_read_timeout 100ms;
wsgi_dispatch_script @DIR@/dispatch.py;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- request
GET /
--- error_code: 504
--- error_log eval
qr/no answer of a hook within 100 ms \(wsgi_read_timeout\).*request: "GET \/ /



=== TEST 33: a wrong option
--- config_error
wsgi_dispatch_script a.py process-group=b;
--- error: "wsgi_dispatch_script" has invalid option "process-group=b"



=== TEST 34: a token that means nothing before there is an application
--- config_error
wsgi_dispatch_script a.py "application-group=%{RESOURCE}";
--- error: "wsgi_dispatch_script" has invalid option "application-group=%{RESOURCE}"



=== TEST 35: a token that comes from the environ
--- config_error
wsgi_dispatch_script a.py "application-group=%{ENV:x}";
--- error: "wsgi_dispatch_script" has invalid option "application-group=%{ENV:x}"



=== TEST 36: an unknown token
--- config_error
wsgi_dispatch_script a.py "application-group=%{NONE}";
--- error: "wsgi_dispatch_script" unknown token "%{NONE}"



=== TEST 37: an empty name
--- config_error
wsgi_dispatch_script a.py application-group=;
--- error: "wsgi_dispatch_script" has invalid option "application-group="



=== TEST 38: off with an option
--- config_error
wsgi_dispatch_script off application-group=b;
--- error: "wsgi_dispatch_script" has invalid option "application-group=b"



=== TEST 39: twice
--- config_error
wsgi_dispatch_script a.py;
wsgi_dispatch_script b.py;
--- error: "wsgi_dispatch_script" is duplicate



=== TEST 40: no arguments
--- config_error
wsgi_dispatch_script;
--- error: invalid number of arguments in "wsgi_dispatch_script" directive



=== TEST 41: not in if
--- config_error
server { location / { if ($arg_x) { wsgi_dispatch_script a.py; } } }
--- error: "wsgi_dispatch_script" directive is not allowed here
