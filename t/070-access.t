# wsgi_access_script: allow_access(environ, host) before anything else runs.

use WsgiTest;

run_wsgi_tests();

__DATA__

=== TEST 1: what allow_access() returns, for an application
--- app
@REPLY application@
--- user_files
>>> access.py
def allow_access(environ, host):
    answer = {'/yes': True, '/no': False, '/none': None, '/one': 1, '/text': 'yes', '/raise': KeyError}[environ['PATH_INFO']]
    if answer is KeyError:
        raise KeyError('no luck')
    return answer
--- config
wsgi_access_script @DIR@/access.py;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- request eval
["GET /yes", "GET /none", "GET /no", "GET /one", "GET /text", "GET /raise"]
--- error_code eval
[200, 200, 403, 403, 403, 403]



=== TEST 2: scripts that are missing, broken, or have no such function
--- user_files
>>> broken.py
allow_access = (
>>> other.py
x = 1
>>> a.txt
content
--- config
root @DIR@;
location /missing { wsgi_access_script @DIR@/missing.py; alias @DIR@/; }
location /broken { wsgi_access_script @DIR@/broken.py; alias @DIR@/; }
location /other { wsgi_access_script @DIR@/other.py; alias @DIR@/; }
--- request eval
["GET /missing/a.txt", "GET /broken/a.txt", "GET /other/a.txt", "GET /a.txt"]
--- error_code eval
[403, 403, 403, 200]



=== TEST 3: static files, proxies and returns
--- http_config
server {
    listen unix:$TEST_NGINX_HTML_DIR/back.sock;
    location / { root @DIR@; }
}
--- user_files
>>> a.txt
content
>>> access.py
def allow_access(environ, host):
    return environ['QUERY_STRING'] == 'in'
--- config
wsgi_access_script @DIR@/access.py;
location /files/ { alias @DIR@/; }
location /proxy/ { proxy_pass http://unix:@DIR@/back.sock:/; }
--- request eval
["GET /files/a.txt?in", "GET /files/a.txt", "GET /proxy/a.txt?in", "GET /proxy/a.txt"]
--- error_code eval
[200, 403, 200, 403]



=== TEST 4: inherited, replaced, switched off
--- user_files
>>> a.txt
content
>>> no.py
def allow_access(environ, host):
    return False
>>> yes.py
def allow_access(environ, host):
    return True
--- http_config
wsgi_access_script @DIR@/no.py;
--- config
location /inherits { alias @DIR@; }
location /replaces { alias @DIR@; wsgi_access_script @DIR@/yes.py; }
location /off { alias @DIR@; wsgi_access_script off; }
location /methods { alias @DIR@; wsgi_access_script off; limit_except HEAD { wsgi_access_script @DIR@/no.py; } }
--- request eval
["GET /inherits/a.txt", "GET /replaces/a.txt", "GET /off/a.txt", "GET /methods/a.txt", "HEAD /methods/a.txt"]
--- error_code eval
[403, 200, 200, 403, 200]



=== TEST 5: the environ
--- app
@REPLY application@
--- user_files
>>> access.py
def allow_access(environ, host):
    def check(what):
        if not what:
            raise AssertionError
    assert host == environ['REMOTE_ADDR'] == environ['REMOTE_HOST'] == '127.0.0.1', host
    assert environ['REQUEST_METHOD'] == 'POST'
    assert environ['QUERY_STRING'] == 'x=%C3%A9'
    assert environ['SCRIPT_NAME'] == '/app' and environ['PATH_INFO'] == '/info', environ
    assert environ['SCRIPT_FILENAME'].endswith('app.wsgi'), environ
    assert environ['REQUEST_URI'] == '/app/info?x=%C3%A9'
    assert environ['HTTP_X_Y'] == 'caf\xe9'
    assert environ['SERVER_SIGNATURE'] == '' and environ['SERVER_NAME'] == 'localhost'
    assert environ['mod_wsgi.process_group'] == environ['mod_wsgi.application_group'] == ''
    assert isinstance(environ['mod_wsgi.version'], tuple) and isinstance(environ['apache.version'], tuple)
    for key in environ:
        assert not key.startswith(('wsgi.input', 'mod_wsgi.x-')), key
        assert key not in ('HTTP_AUTHORIZATION', 'HTTP_PROXY', 'HTTP_PROXY_AUTHORIZATION', 'PARAM'), key
    print('said by the hook', file=environ['wsgi.errors'])
    print('printed by the hook')
    return True
--- config
wsgi_pass_authorization on;
wsgi_param PARAM value;
wsgi_access_script @DIR@/access.py;
wsgi_script_alias /app @DIR@/app.wsgi @GROUP@;
--- more_headers eval
"Authorization: Basic dTpw\nProxy: x\nProxy-Authorization: x\nX-Y: caf\xe9"
--- request
POST /app/info?x=%C3%A9
body
--- response_body
application
--- error_log eval
[qr/said by the hook.*request: "POST \/app\/info/, qr/printed by the hook.*request: "POST \/app\/info/]



=== TEST 6: application groups
--- user_files
>>> a.txt
content
>>> access.py
def allow_access(environ, host):
    assert 'group=<' + environ['mod_wsgi.application_group'].split(':')[0] + '>' == environ['QUERY_STRING'], environ['mod_wsgi.application_group']
    return True
--- config
location /default { alias @DIR@; wsgi_access_script @DIR@/access.py; }
location /global { alias @DIR@; wsgi_access_script @DIR@/access.py "application-group=%{GLOBAL}"; }
location /own { alias @DIR@; wsgi_access_script @DIR@/access.py application-group=own; }
location /server { alias @DIR@; wsgi_access_script @DIR@/access.py "application-group=%{SERVER}"; }
location /host { alias @DIR@; wsgi_access_script @DIR@/access.py "application-group=%{HOST}"; }
location /variable { alias @DIR@; wsgi_access_script @DIR@/access.py application-group=of-$request_method; }
--- request eval
["GET /default/a.txt?group=<>", "GET /global/a.txt?group=<>", "GET /own/a.txt?group=<own>", "GET /server/a.txt?group=<localhost>",
 "GET /host/a.txt?group=<localhost>", "GET /variable/a.txt?group=<of-GET>"]
--- error_code eval
[(200) x 6]



=== TEST 7: satisfy any: one opinion in favour is enough, none is no opinion
--- user_files
>>> a.txt
content
>>> access.py
def allow_access(environ, host):
    return {'yes': True, 'no': False}.get(environ['QUERY_STRING'])
--- config
satisfy any;
location /denied { alias @DIR@; wsgi_access_script @DIR@/access.py; deny all; }
location /allowed { alias @DIR@; wsgi_access_script @DIR@/access.py; allow all; }
location /alone { alias @DIR@; wsgi_access_script @DIR@/access.py; }
--- request eval
["GET /denied/a.txt?yes", "GET /denied/a.txt?no", "GET /denied/a.txt?none", "GET /allowed/a.txt?no", "GET /alone/a.txt?no", "GET /alone/a.txt?none"]
--- error_code eval
[200, 403, 403, 200, 403, 200]



=== TEST 8: satisfy all: nobody may object, and whom nginx keeps out costs no Python
--- user_files
>>> a.txt
content
>>> access.py
print('asked')
def allow_access(environ, host):
    return {'yes': True, 'no': False}.get(environ['QUERY_STRING'])
--- config
location /denied { alias @DIR@; wsgi_access_script @DIR@/access.py; deny all; }
--- request
GET /denied/a.txt?yes
--- error_code: 403
--- no_error_log
asked



=== TEST 9: error pages, internal redirects and subrequests
--- user_files
>>> index.html
index
>>> denied.html
denied page
>>> part.txt
part
>>> page.shtml
<!--#include virtual="/part.txt" -->
>>> access.py
def allow_access(environ, host):
    print('asked about', environ['SCRIPT_FILENAME'].rsplit('/', 1)[-1] or '/')
    return environ['QUERY_STRING'] != 'no'
--- config
root @DIR@;
wsgi_access_script @DIR@/access.py;
error_page 403 /denied.html;
location / { }
location = /denied.html { wsgi_access_script off; }
location = /page.shtml { ssi on; ssi_types text/plain; default_type text/html; types { } }
location /try { try_files /nothing @named; }
location @named { return 200 "named\n"; }
--- request eval
["GET /part.txt?no", "GET /", "GET /page.shtml", "GET /try"]
--- error_code eval
[403, 200, 200, 200]
--- response_body_like eval
["^denied page\$", "^index\$", "^part\\s*\$", "^named\$"]



=== TEST 10: wsgi_restrict_embedded keeps applications out, hooks run
--- app
@REPLY application@
--- mode: daemon
--- user_files
>>> access.py
def allow_access(environ, host):
    return environ['QUERY_STRING'] == 'in'
--- http_config
wsgi_restrict_embedded on;
--- config
wsgi_access_script @DIR@/access.py;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- request eval
["GET /?in", "GET /"]
--- error_code eval
[200, 403]



=== TEST 11: a wrong option
--- config_error
wsgi_access_script a.py process-group=b;
--- error: "wsgi_access_script" has invalid option "process-group=b"



=== TEST 12: a token that means nothing before there is an application
--- config_error
wsgi_access_script a.py "application-group=%{RESOURCE}";
--- error: "wsgi_access_script" has invalid option "application-group=%{RESOURCE}"



=== TEST 13: an unknown token
--- config_error
wsgi_access_script a.py "application-group=%{NONE}";
--- error: "wsgi_access_script" unknown token "%{NONE}"



=== TEST 14: an empty name
--- config_error
wsgi_access_script a.py application-group=;
--- error: "wsgi_access_script" has invalid option "application-group="



=== TEST 15: twice
--- config_error
wsgi_access_script a.py;
wsgi_access_script b.py;
--- error: "wsgi_access_script" is duplicate



=== TEST 16: no arguments
--- config_error
wsgi_access_script;
--- error: invalid number of arguments in "wsgi_access_script" directive



=== TEST 17: a request body is there after the hook
--- app
def application(environ, start_response):
    body = environ['wsgi.input'].read()
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [body]
--- user_files
>>> access.py
def allow_access(environ, host):
    return True
--- config
wsgi_access_script @DIR@/access.py;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- request eval
"POST /\n" . ("x" x 20000)
--- response_body eval
"x" x 20000


=== TEST 18: a denial is logged
--- user_files
>>> a.txt
content
>>> access.py
def allow_access(environ, host):
    return False
--- config
location / { alias @DIR@/; wsgi_access_script @DIR@/access.py; }
--- request
GET /a.txt
--- error_code: 403
--- error_log eval
qr/Client denied by server configuration: allow_access\(\) of WSGI script ".*access.py" has refused "127.0.0.1"\..*request: "GET \/a.txt /



=== TEST 19: neither True, False nor None
--- user_files
>>> a.txt
content
>>> access.py
def allow_access(environ, host):
    return 1
--- config
location / { alias @DIR@/; wsgi_access_script @DIR@/access.py; }
--- request
GET /a.txt
--- error_code: 403
--- error_log eval
qr/WSGI script '.*access.py': allow_access\(\) has to return True, False or None, not .*int.*request: "GET \/a.txt /



=== TEST 20: an exception
--- user_files
>>> a.txt
content
>>> access.py
def allow_access(environ, host):
    raise KeyError('no luck')
--- config
location / { alias @DIR@/; wsgi_access_script @DIR@/access.py; }
--- request
GET /a.txt
--- error_code: 403
--- error_log eval
[qr/Exception occurred in allow_access\(\) of WSGI script '.*access.py'\./, qr/KeyError: 'no luck'/]



=== TEST 21: SystemExit is an exception as any other
--- user_files
>>> a.txt
content
>>> access.py
def allow_access(environ, host):
    raise SystemExit(0)
--- config
location / { alias @DIR@/; wsgi_access_script @DIR@/access.py; }
--- request
GET /a.txt
--- error_code: 403
--- error_log eval
[qr/Exception occurred in allow_access\(\) of WSGI script '.*access.py'\./, qr/SystemExit: 0/]



=== TEST 22: wrong arguments
--- user_files
>>> a.txt
content
>>> access.py
def allow_access(environ, host):
    pass

def allow_access(environ):
    return True
--- config
location / { alias @DIR@/; wsgi_access_script @DIR@/access.py; }
--- request
GET /a.txt
--- error_code: 403
--- error_log eval
[qr/Exception occurred in allow_access\(\) of WSGI script '.*access.py'\./, qr/TypeError: allow_access\(\) takes 1 positional argument/]



=== TEST 23: no such function
--- user_files
>>> a.txt
content
>>> access.py
def allow_access(environ, host):
    pass

del allow_access
--- config
location / { alias @DIR@/; wsgi_access_script @DIR@/access.py; }
--- request
GET /a.txt
--- error_code: 403
--- error_log eval
qr/WSGI script '.*access.py': The script has no function allow_access\(\)\./



=== TEST 24: a script that cannot be compiled
--- user_files
>>> a.txt
content
>>> access.py
def allow_access(environ, host):
    return (
--- config
location / { alias @DIR@/; wsgi_access_script @DIR@/access.py; }
--- request
GET /a.txt
--- error_code: 403
--- error_log eval
qr/Could not read or compile WSGI script '.*access.py'/



=== TEST 25: a script that fails when it is loaded
--- user_files
>>> a.txt
content
>>> access.py
def allow_access(environ, host):
    pass

1 / 0
--- config
location / { alias @DIR@/; wsgi_access_script @DIR@/access.py; }
--- request
GET /a.txt
--- error_code: 403
--- error_log eval
[qr/Unable to execute Python script file '.*access.py'/, qr/ZeroDivisionError/]



=== TEST 26: a denial that a password may make up for is not logged
--- user_files
>>> a.txt
content
>>> access.py
def allow_access(environ, host):
    return False
def check_password(environ, user, password):
    return True
--- config
satisfy any;
location / {
    alias @DIR@/;
    wsgi_access_script @DIR@/access.py;
    wsgi_auth_user_script @DIR@/access.py;
    wsgi_auth_type basic;
    wsgi_auth_name r;
}
--- request
GET /a.txt
--- error_code: 401
--- no_error_log
Client denied
