# The environ of a request.

use WsgiTest;

run_wsgi_tests();

__DATA__

=== TEST 1: CGI keys
--- app
@SHOW REQUEST_METHOD SCRIPT_NAME PATH_INFO QUERY_STRING SERVER_NAME SERVER_PROTOCOL REMOTE_ADDR SERVER_ADDR@
--- config
wsgi_script_alias /app @DIR@/app.wsgi @GROUP@;
--- request
GET /app/x?a=b
--- response_body
REQUEST_METHOD='GET'
SCRIPT_NAME='/app'
PATH_INFO='/x'
QUERY_STRING='a=b'
SERVER_NAME='localhost'
SERVER_PROTOCOL='HTTP/1.1'
REMOTE_ADDR='127.0.0.1'
SERVER_ADDR='127.0.0.1'



=== TEST 2: ports and the server's name and version
--- app
@SHOW SERVER_PORT REMOTE_PORT SERVER_SOFTWARE REQUEST_SCHEME@
--- request
GET /
--- response_body_like eval
"^SERVER_PORT='$ENV{TEST_NGINX_CLIENT_PORT}'\nREMOTE_PORT='\\d+'\nSERVER_SOFTWARE='nginx/\\S+'\nREQUEST_SCHEME='http'\n\$"



=== TEST 3: the document root
--- app
@SHOW DOCUMENT_ROOT SCRIPT_FILENAME@
--- config
root @DIR@/docs;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- request
GET /
--- response_body
DOCUMENT_ROOT='@DIR@/docs'
SCRIPT_FILENAME='@DIR@/app.wsgi'



=== TEST 4: keys that must not be there
--- app
@SHOW HTTPS PATH_TRANSLATED GATEWAY_INTERFACE SERVER_SIGNATURE REMOTE_HOST REMOTE_IDENT PATH CONTENT_TYPE CONTENT_LENGTH REMOTE_USER AUTH_TYPE@
--- request
GET /
--- response_body
HTTPS absent
PATH_TRANSLATED absent
GATEWAY_INTERFACE absent
SERVER_SIGNATURE absent
REMOTE_HOST absent
REMOTE_IDENT absent
PATH absent
CONTENT_TYPE absent
CONTENT_LENGTH absent
REMOTE_USER absent
AUTH_TYPE absent



=== TEST 5: REQUEST_URI is as it came
--- app
@SHOW REQUEST_URI SCRIPT_NAME PATH_INFO QUERY_STRING@
--- config
wsgi_script_alias /app @DIR@/app.wsgi @GROUP@;
--- raw_request eval
"GET //app//x%2Fy/./z%20?a=%20&b=+ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
--- response_body
REQUEST_URI='//app//x%2Fy/./z%20?a=%20&b=+'
SCRIPT_NAME='/app'
PATH_INFO='/x/y/z '
QUERY_STRING='a=%20&b=+'



=== TEST 6: bytes above 127 are latin-1
--- app
@SHOW PATH_INFO QUERY_STRING HTTP_X_BYTES@
--- raw_request eval
"GET /%c3%a9?\xc3\xa9 HTTP/1.1\r\nHost: localhost\r\nX-Bytes: \xe9\r\nConnection: close\r\n\r\n"
--- response_body eval
"PATH_INFO='/\xc3\x83\xc2\xa9'\nQUERY_STRING='\xc3\x83\xc2\xa9'\nHTTP_X_BYTES='\xc3\xa9'\n"



=== TEST 7: request headers
--- app
@SHOW HTTP_HOST HTTP_X_SOME_HEADER HTTP_CONTENT_TYPE HTTP_CONTENT_LENGTH CONTENT_TYPE CONTENT_LENGTH@
--- raw_request eval
"POST / HTTP/1.1\r\nHost: some.example:81\r\nX-Some-Header: a b\r\nContent-Type: text/x-test\r\nContent-Length: 2\r\nConnection: close\r\n\r\nab"
--- response_body
HTTP_HOST='some.example:81'
HTTP_X_SOME_HEADER='a b'
HTTP_CONTENT_TYPE absent
HTTP_CONTENT_LENGTH absent
CONTENT_TYPE='text/x-test'
CONTENT_LENGTH='2'



=== TEST 8: repeated request headers are joined
--- app
@SHOW HTTP_X_MORE HTTP_COOKIE@
--- raw_request eval
"GET / HTTP/1.1\r\nHost: localhost\r\nX-More: a\r\nX-More: b\r\nCookie: a=1\r\nCookie: b=2\r\nConnection: close\r\n\r\n"
--- response_body
HTTP_X_MORE='a, b'
HTTP_COOKIE='a=1; b=2'



=== TEST 9: a header cannot pass for another, nor for a proxy
--- app
@SHOW HTTP_X_USER HTTP_PROXY HTTP_FOO_BAR@
--- config
underscores_in_headers on;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- raw_request eval
"GET / HTTP/1.1\r\nHost: localhost\r\nX_User: evil\r\nProxy: http://evil/\r\nFoo-Bar: good\r\nFoo_Bar: evil\r\nConnection: close\r\n\r\n"
--- response_body
HTTP_X_USER absent
HTTP_PROXY absent
HTTP_FOO_BAR='good'



=== TEST 10: authorization is not passed unless asked for
--- app
@SHOW HTTP_AUTHORIZATION HTTP_PROXY_AUTHORIZATION@
--- config
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
location /on { wsgi_pass_authorization on; }
--- more_headers
Authorization: Basic dTpw
Proxy-Authorization: Basic dTpw
--- request eval
["GET /", "GET /on"]
--- response_body eval
["HTTP_AUTHORIZATION absent\nHTTP_PROXY_AUTHORIZATION absent\n",
 "HTTP_AUTHORIZATION='Basic dTpw'\nHTTP_PROXY_AUTHORIZATION absent\n"]



=== TEST 11: the user that nginx authenticated
--- app
@SHOW REMOTE_USER AUTH_TYPE HTTP_AUTHORIZATION@
--- user_files
>>> passwords
u:{PLAIN}p
--- config
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
auth_basic realm;
auth_basic_user_file @DIR@/passwords;
--- more_headers
Authorization: Basic dTpw
--- request
GET /
--- response_body
REMOTE_USER='u'
AUTH_TYPE='Basic'
HTTP_AUTHORIZATION absent



=== TEST 12: wsgi.* keys
--- app
@SHOW wsgi.version wsgi.url_scheme wsgi.multithread wsgi.run_once wsgi.input_terminated@
--- request
GET /
--- response_body
wsgi.version=(1, 1)
wsgi.url_scheme='http'
wsgi.multithread=True
wsgi.run_once=False
wsgi.input_terminated=True



=== TEST 13: wsgi.multiprocess and multithread follow the group's options
--- mode: daemon
--- daemon_options: threads=1
--- app
@SHOW wsgi.multiprocess wsgi.multithread@
--- http_config
wsgi_daemon_process one processes=1 threads=2;
--- config
wsgi_script_alias /one @DIR@/app.wsgi process-group=one;
wsgi_script_alias / @DIR@/app.wsgi process-group=daemon;
--- request eval
["GET /", "GET /one"]
--- response_body eval
["wsgi.multiprocess=False\nwsgi.multithread=False\n",
 "wsgi.multiprocess=True\nwsgi.multithread=True\n"]



=== TEST 14: mod_wsgi.* keys
--- app
@SHOW mod_wsgi.process_group mod_wsgi.application_group mod_wsgi.callable_object mod_wsgi.script_name mod_wsgi.path_info mod_wsgi.handler_script mod_wsgi.request_handler mod_wsgi.listener_port@
--- config
wsgi_script_alias /app @DIR@/app.wsgi @GROUP@ application-group=a;
--- request
GET /app/x
--- response_body_like eval
my $group = '@MODE@' eq 'daemon' ? 'daemon' : '';
"^mod_wsgi.process_group='$group'
mod_wsgi.application_group='a'
mod_wsgi.callable_object='application'
mod_wsgi.script_name='/app'
mod_wsgi.path_info='/x'
mod_wsgi.handler_script=''
mod_wsgi.request_handler='wsgi-script'
mod_wsgi.listener_port='$ENV{TEST_NGINX_CLIENT_PORT}'
\$"



=== TEST 15: types
--- app
import mod_wsgi

def application(environ, start_response):
    odd = [k for k in environ if not k.startswith(('wsgi.', 'mod_wsgi.', 'apache.', 'nginx.'))
           and type(environ[k]) is not str]
    assert type(environ) is dict, type(environ)
    assert callable(environ['wsgi.file_wrapper'])
    assert not odd, odd
    assert isinstance(environ['mod_wsgi.version'], tuple)
    assert isinstance(environ['mod_wsgi.request_start'], float)
    assert isinstance(environ['mod_wsgi.thread_id'], int)
    assert not [k for k in environ if k.startswith('mod_wsgi.x-')]
    start_response('200 OK', [])
    return [b'good\n']
--- request
GET /
--- response_body
good



=== TEST 16: each request has an environ of its own
--- app
def application(environ, start_response):
    seen = environ.get('seen', 'nothing')
    environ['seen'] = 'something'
    environ['wsgi.version'] = None
    start_response('200 OK', [])
    return [seen.encode()]
--- pipelined_requests eval
["GET /", "GET /"]
--- response_body eval
["nothing", "nothing"]



=== TEST 17: wsgi_param
--- app
@SHOW ONE TWO EMPTY SKIPPED REQUEST_METHOD QUERY_STRING@
--- config
wsgi_param ONE 1;
wsgi_param TWO "$arg_a and $request_method";
wsgi_param EMPTY $arg_none;
wsgi_param SKIPPED $arg_none if_not_empty;
wsgi_param REQUEST_METHOD FAKE;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- request
GET /?a=b
--- response_body
ONE='1'
TWO='b and GET'
EMPTY=''
SKIPPED absent
REQUEST_METHOD='GET'
QUERY_STRING='a=b'



=== TEST 18: wsgi_param of an inner level replaces the outer ones
--- app
@SHOW OUTER INNER@
--- config
wsgi_param OUTER 1;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
location /inner { wsgi_param INNER 2; }
location /plain { client_max_body_size 1k; }
--- request eval
["GET /inner", "GET /plain"]
--- response_body eval
["OUTER absent\nINNER='2'\n", "OUTER='1'\nINNER absent\n"]



=== TEST 19: parameters don't become the process's environment
--- app
import os
def application(environ, start_response):
    start_response('200 OK', [])
    return [os.environ.get('ONLY_HERE', 'absent').encode()]
--- config
wsgi_param ONLY_HERE 1;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- request
GET /
--- response_body: absent



=== TEST 20: HTTPS as a parameter decides the scheme
--- app
@SHOW wsgi.url_scheme HTTPS@
--- config
wsgi_param HTTPS on;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- request
GET /
--- response_body
wsgi.url_scheme='https'
HTTPS absent



=== TEST 21: HTTP/1.0 without a Host header
--- app
@SHOW SERVER_PROTOCOL SERVER_NAME HTTP_HOST@
--- raw_request eval
"GET / HTTP/1.0\r\n\r\n"
--- response_body
SERVER_PROTOCOL='HTTP/1.0'
SERVER_NAME='localhost'
HTTP_HOST absent



=== TEST 22: many and long headers
--- app
def application(environ, start_response):
    headers = [v for k, v in environ.items() if k.startswith('HTTP_X_MANY_')]
    start_response('200 OK', [])
    return [b'%d %d\n' % (len(headers), sum(map(len, headers)))]
--- more_headers eval
CORE::join "", map { "X-Many-$_: " . "v" x 1000 . "\n" } 1 .. 20
--- request
GET /
--- response_body
20 20000



=== TEST 23: any method
--- app
@SHOW REQUEST_METHOD@
--- raw_request eval
"PURGE / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
--- response_body
REQUEST_METHOD='PURGE'



=== TEST 24: the script's own view
--- app
import hashlib, sys

def application(environ, start_response):
    path = environ['SCRIPT_FILENAME']
    assert __file__ == path, __file__
    assert __name__ == '_mod_wsgi_' + hashlib.md5(path.encode()).hexdigest(), __name__
    assert sys.modules[__name__].application is application
    assert not [p for p in sys.path if path.startswith(p + '/')], sys.path
    assert sys.argv == ['mod_wsgi'], sys.argv
    start_response('200 OK', [])
    return [b'good\n']
--- request
GET /
--- response_body
good



=== TEST 25: names are case-insensitive, and what the module computes counts
--- app
def application(environ, start_response):
    start_response('200 OK', [])
    wanted = 'request_method', 'path_info', 'http_x_one', 'mine', 'remote_addr', 'wsgi.url_scheme', 'mod_wsgi.process_group'
    found = ['%s=%s' % item for item in sorted(environ.items()) if item[0].lower() in wanted]
    return ['\n'.join(found).encode()]
--- config
wsgi_param Request_Method FAKE;
wsgi_param path_info fake;
wsgi_param http_x_one fake;
wsgi_param MINE 1;
wsgi_param Mine 2;
wsgi_param REMOTE_ADDR 10.9.8.7;
wsgi_param wsgi.url_scheme fake;
wsgi_param mod_wsgi.process_group fake;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- more_headers
X-One: one
--- request
GET /x
--- response_body eval
my $group = '@MODE@' eq 'daemon' ? 'daemon' : '';
"HTTP_X_ONE=one\nMine=2\nPATH_INFO=/x\nREMOTE_ADDR=127.0.0.1\nREQUEST_METHOD=GET\nmod_wsgi.process_group=$group\nwsgi.url_scheme=http"



=== TEST 26: parameters that no application sees
--- app
def application(environ, start_response):
    start_response('200 OK', [])
    found = [name for name in environ if name.lower() in ('path', 'https') or name.startswith('mod_wsgi.x-')]
    return [repr((found, environ['wsgi.url_scheme'], environ['VISIBLE'])).encode()]
--- config
wsgi_param PATH /bin;
wsgi_param Path /bin;
wsgi_param mod_wsgi.x-magic 1;
wsgi_param https On;
wsgi_param VISIBLE yes;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- request
GET /
--- response_body: ([], 'https', 'yes')



=== TEST 27: only On and 1 mean https
--- app
@SHOW wsgi.url_scheme HTTPS@
--- config
wsgi_param HTTPS $arg_https if_not_empty;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- request eval
["GET /?https=on", "GET /?https=1", "GET /?https=ON", "GET /?https=yes", "GET /?https=off", "GET /?https=true"]
--- response_body eval
[(map { "wsgi.url_scheme='https'\nHTTPS absent\n" } 1 .. 3), (map { "wsgi.url_scheme='http'\nHTTPS absent\n" } 1 .. 3)]



=== TEST 28: a user name that nothing has checked is no user
--- app
@SHOW REMOTE_USER AUTH_TYPE@
--- user_files
>>> passwords
u:{PLAIN}p
--- config
set $claimed $remote_user;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
location /protected/ { auth_basic realm; auth_basic_user_file @DIR@/passwords; }
location /protected/open/ { auth_basic off; auth_basic_user_file @DIR@/passwords; }
location /any/ { satisfy any; allow all; auth_basic realm; auth_basic_user_file @DIR@/passwords; }
location /without-file/ { auth_basic realm; }
location /variable/ { auth_basic $arg_realm; auth_basic_user_file @DIR@/passwords; }
--- more_headers
Authorization: Basic dTpw
--- request eval
["GET /", "GET /protected/", "GET /protected/open/", "GET /any/", "GET /without-file/", "GET /variable/?realm=off", "GET /variable/?realm=r"]
--- response_body eval
my ($none, $user) = ("REMOTE_USER absent\nAUTH_TYPE absent\n", "REMOTE_USER='u'\nAUTH_TYPE='Basic'\n");
[$none, $user, $none, $none, $none, $none, $user]



=== TEST 29: a wrong password does not reach the application
--- app
@SHOW REMOTE_USER@
--- user_files
>>> passwords
u:{PLAIN}p
--- config
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
auth_basic realm;
auth_basic_user_file @DIR@/passwords;
--- more_headers
Authorization: Basic dTpx
--- request
GET /
--- error_code: 401



=== TEST 30: REMOTE_USER from another check, as a parameter; auth_basic's own counts more
--- app
@SHOW REMOTE_USER AUTH_TYPE@
--- user_files
>>> passwords
u:{PLAIN}p
--- config
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
wsgi_param REMOTE_USER $user if_not_empty;
wsgi_param AUTH_TYPE Token;
location = /user { add_header X-User checked; return 204; }
location = /check { internal; proxy_pass http://127.0.0.1:$TEST_NGINX_CLIENT_PORT/user; }
location /request/ { auth_request /check; auth_request_set $user $sent_http_x_user; }
location /basic/ {
    auth_basic realm;
    auth_basic_user_file @DIR@/passwords;
    auth_request /check;
    auth_request_set $user $sent_http_x_user;
}
--- more_headers
Authorization: Basic dTpw
--- request eval
["GET /request/", "GET /basic/", "GET /"]
--- response_body eval
["REMOTE_USER='checked'\nAUTH_TYPE='Token'\n", "REMOTE_USER='u'\nAUTH_TYPE='Basic'\n", "REMOTE_USER absent\nAUTH_TYPE='Token'\n"]



=== TEST 31: HEAD stays HEAD where no filter changes the content
--- app
@SHOW REQUEST_METHOD@
def application(environ, start_response, show=application):
    answer = show(environ, lambda *args: None)
    start_response('200 OK', [('Content-Type', 'text/plain'), ('X-Method', environ['REQUEST_METHOD'])])
    return answer
--- config
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
gzip off;
location /on { wsgi_map_head_to_get on; }
location /off { wsgi_map_head_to_get off; gzip on; }
location /auto { wsgi_map_head_to_get auto; gzip on; }
location /gzip { gzip on; }
location /ssi { ssi on; }
location /sub { sub_filter a b; }
location /addition { add_after_body /x; }
location /gunzip { gunzip on; }
--- request eval
[map { "HEAD $_" } qw(/ /on /off /auto /gzip /ssi /sub /addition /gunzip)]
--- response_headers eval
[map { "X-Method: $_" } qw(HEAD GET HEAD GET GET GET GET GET GET)]
--- response_body eval
["", "", "", "", "", "", "", "", ""]



=== TEST 32: wsgi_map_head_to_get touches no other method
--- app
@SHOW REQUEST_METHOD@
--- config
wsgi_map_head_to_get on;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- request eval
["POST /\na=b", "OPTIONS /", "DELETE /"]
--- response_body eval
["REQUEST_METHOD='POST'\n", "REQUEST_METHOD='OPTIONS'\n", "REQUEST_METHOD='DELETE'\n"]



=== TEST 33: wsgi_map_head_to_get refuses other values
--- config_error
wsgi_map_head_to_get maybe;
--- error: "wsgi_map_head_to_get" has invalid value "maybe": must be "off", "on" or "auto"



=== TEST 34: headers whose names nginx would not let pass
--- app
def application(environ, start_response):
    start_response('200 OK', [])
    found = sorted((name, value) for name, value in environ.items() if 'X_A' in name)
    return [repr(found).encode()]
--- config
ignore_invalid_headers off;
underscores_in_headers on;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- raw_request eval
"GET / HTTP/1.1\r\nHost: localhost\r\nX-A: 1\r\nX_A: 2\r\nX.A: 3\r\nX-A!: 4\r\nX-A-9: 5\r\nx-a: 6\r\nConnection: close\r\n\r\n"
--- response_body: [('HTTP_X_A', '1, 6'), ('HTTP_X_A_9', '5')]



=== TEST 35: empty headers, and what surrounds values
--- app
@SHOW HTTP_X_EMPTY HTTP_X_PADDED HTTP_X_TWO@
--- raw_request eval
"GET / HTTP/1.1\r\nHost: localhost\r\nX-Empty:\r\nX-Padded: \t a  b \r\nX-Two:\r\nX-Two: b\r\nConnection: close\r\n\r\n"
--- response_body eval
"HTTP_X_EMPTY=''\nHTTP_X_PADDED='a  b'\nHTTP_X_TWO=', b'\n"



=== TEST 36: credentials are withheld in any spelling, and proxies are not named
--- app
def application(environ, start_response):
    start_response('200 OK', [])
    found = [name for name in environ if 'AUTH' in name or 'PROXY' in name]
    return [repr(sorted(found)).encode()]
--- config
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
location /on { wsgi_pass_authorization on; }
--- more_headers
aUTHORIZATION: Basic dTpw
PROXY-authorization: Basic dTpw
pROXY: http://evil/
Proxy-Connection: keep-alive
--- request eval
["GET /", "GET /on"]
--- response_body eval
["['HTTP_PROXY_CONNECTION']", "['HTTP_AUTHORIZATION', 'HTTP_PROXY_CONNECTION']"]



=== TEST 37: duplicate slashes where nginx keeps them
--- app
@SHOW SCRIPT_NAME PATH_INFO REQUEST_URI@
--- config
merge_slashes off;
wsgi_script_alias /app @DIR@/app.wsgi @GROUP@;
--- request
GET //app///x//y/
--- response_body
SCRIPT_NAME='/app'
PATH_INFO='/x/y/'
REQUEST_URI='//app///x//y/'



=== TEST 38: every mod_wsgi.* and wsgi.* key, and its type
--- app
import io, os, time

def application(environ, start_response):
    daemon = environ['QUERY_STRING'] == 'daemon'
    now = time.time()
    expected = {
        'wsgi.version': tuple, 'wsgi.url_scheme': str, 'wsgi.input': object, 'wsgi.errors': object,
        'wsgi.input_terminated': bool, 'wsgi.file_wrapper': type, 'wsgi.multithread': bool,
        'wsgi.multiprocess': bool, 'wsgi.run_once': bool, 'apache.version': tuple,
        'mod_wsgi.version': tuple, 'mod_wsgi.process_group': str, 'mod_wsgi.application_group': str,
        'mod_wsgi.callable_object': str, 'mod_wsgi.request_handler': str, 'mod_wsgi.handler_script': str,
        'mod_wsgi.script_name': str, 'mod_wsgi.path_info': str, 'mod_wsgi.listener_host': str,
        'mod_wsgi.listener_port': str, 'mod_wsgi.server_pid': str, 'mod_wsgi.request_id': str,
        'mod_wsgi.connection_id': str, 'mod_wsgi.thread_id': int, 'mod_wsgi.request_start': float,
        'mod_wsgi.queue_start': float, 'mod_wsgi.daemon_start': float, 'mod_wsgi.application_start': float,
    }
    found = {key for key in environ if key.startswith(('wsgi.', 'apache.', 'mod_wsgi.'))}
    assert found == set(expected), found ^ set(expected)
    for key, kind in expected.items():
        assert isinstance(environ[key], kind), (key, environ[key])
    assert environ['mod_wsgi.listener_host'] == '127.0.0.1'
    assert environ['mod_wsgi.listener_port'] == environ['SERVER_PORT']
    assert (int(environ['mod_wsgi.server_pid']) == os.getpid()) is not daemon
    assert len(environ['mod_wsgi.request_id']) == 32 and environ['mod_wsgi.request_id'] == environ['ID']
    assert environ['mod_wsgi.connection_id'] == environ['CONNECTION']
    assert environ['mod_wsgi.thread_id'] >= 1
    start, queue, taken, run = (environ['mod_wsgi.%s_start' % name] for name in ('request', 'queue', 'daemon', 'application'))
    assert now - 60 < start <= run + 0.01 and run <= now, (start, run, now)
    if daemon:
        assert start <= queue + 0.01 and queue <= taken <= run, (queue, taken, run)
    else:
        assert queue == taken == 0.0, (queue, taken)
    start_response('200 OK', [])
    return [b'good\n']
--- config
wsgi_param ID $request_id;
wsgi_param CONNECTION $connection;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- request
GET /?@MODE@
--- response_body
good



=== TEST 39: the request's id where nothing refers to $request_id
--- app
import re

seen = set()

def application(environ, start_response):
    name = environ['mod_wsgi.request_id']
    good = re.fullmatch('[0-9a-f]{32}', name) and name not in seen and name == environ['FIRST']
    seen.add(name)
    start_response('200 OK', [])
    return [b'good' if good else repr((name, environ['FIRST'])).encode()]
--- config
location / { set $first $wsgi_request_id; error_page 418 = /app; return 418; }
location /app { wsgi_param FIRST $first; wsgi_script_alias / @DIR@/app.wsgi @GROUP@; }
--- request eval
["GET /", "GET /", "GET /"]
--- response_body eval
["good", "good", "good"]



=== TEST 40: one embedded thread
--- mode: embedded
--- http_config
wsgi_embedded_threads 1;
--- app
@SHOW wsgi.multithread wsgi.multiprocess wsgi.run_once@
--- request
GET /
--- response_body eval
"wsgi.multithread=False\nwsgi.multiprocess=" . ($ENV{WSGI_MASTER} ? "True" : "False") . "\nwsgi.run_once=False\n"



=== TEST 41: what the client asked for, after an internal redirect
--- app
@SHOW PATH_INFO QUERY_STRING REQUEST_METHOD REQUEST_URI REDIRECT_URL REDIRECT_QUERY_STRING REDIRECT_STATUS@
--- config
wsgi_script_alias /app @DIR@/app.wsgi @GROUP@;
error_page 403 /app/403?x=y;
location /closed { deny all; }
location /tried { try_files /none /app/found?; }
--- request eval
["POST //closed/a%20b?c=%20\nbody", "GET /tried", "GET /app/direct?c=d"]
--- error_code eval
[403, 200, 200]
--- response_body eval
["PATH_INFO='/403'\nQUERY_STRING='x=y'\nREQUEST_METHOD='GET'\nREQUEST_URI='//closed/a%20b?c=%20'\nREDIRECT_URL='/closed/a b'\nREDIRECT_QUERY_STRING='c=%20'\nREDIRECT_STATUS='403'\n",
 "PATH_INFO='/found'\nQUERY_STRING=''\nREQUEST_METHOD='GET'\nREQUEST_URI='/tried'\nREDIRECT_URL='/tried'\nREDIRECT_QUERY_STRING absent\nREDIRECT_STATUS='200'\n",
 "PATH_INFO='/direct'\nQUERY_STRING='c=d'\nREQUEST_METHOD='GET'\nREQUEST_URI='/app/direct?c=d'\nREDIRECT_URL absent\nREDIRECT_QUERY_STRING absent\nREDIRECT_STATUS absent\n"]



=== TEST 42: SERVER_NAME from the client's Host is fit for a page
--- app
@SHOW SERVER_NAME@
--- http_config
server {
    listen 127.0.0.1:$TEST_NGINX_RAND_PORT_1;
    server_name "";
    location / { wsgi_script_alias / @DIR@/app.wsgi @GROUP@; }
}
--- config
location / { proxy_pass http://127.0.0.1:$TEST_NGINX_RAND_PORT_1; proxy_set_header Host $arg_host; }
--- request eval
["GET /?host=plain.example", "GET /?host=a<b>&x", "GET /?host=a\"b"]
--- response_body eval
["SERVER_NAME='plain.example'\n", "SERVER_NAME='a&lt;b&gt;'\n", "SERVER_NAME='a&quot;b'\n"]



=== TEST 43: the address that realip found, and the connection's port
--- app
@SHOW REMOTE_ADDR REMOTE_PORT SAME@
--- config
set_real_ip_from 127.0.0.1;
wsgi_param SAME $realip_remote_port;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- more_headers
X-Real-IP: 10.1.2.3
--- request
GET /
--- response_body_like: ^REMOTE_ADDR='10\.1\.2\.3'\nREMOTE_PORT='(\d\d+)'\nSAME='\1'\n$



=== TEST 44: a unix socket has no port of its own
--- app
@SHOW SERVER_PORT REMOTE_ADDR mod_wsgi.application_group@
--- http_config
server {
    listen unix:$TEST_NGINX_SERVER_ROOT/web.sock;
    server_name unix.example;
    location / { wsgi_script_alias / @DIR@/app.wsgi @GROUP@; }
}
--- config
location / { proxy_pass http://unix:$TEST_NGINX_SERVER_ROOT/web.sock; }
--- request
GET /
--- response_body
SERVER_PORT='80'
REMOTE_ADDR='unix:'
mod_wsgi.application_group='unix.example|'



=== TEST 45: a subrequest before the body is read has no body, whatever the client's headers say
--- app
def application(environ, start_response):
    wrong = [key for key in ('CONTENT_LENGTH', 'CONTENT_TYPE', 'HTTP_TRANSFER_ENCODING') if key in environ]
    wrong += [environ['wsgi.input'].read().decode()]
    start_response('204 No Content', [('X-Seen', repr((wrong, environ['REQUEST_METHOD'], environ['HTTP_X_ONE'])))])
    return []
--- config
location = /check { internal; wsgi_script_alias / @DIR@/app.wsgi @GROUP@; }
location / {
    auth_request /check;
    auth_request_set $seen $sent_http_x_seen;
    proxy_pass http://127.0.0.1:$TEST_NGINX_CLIENT_PORT/seen/;
    proxy_set_header X-Seen $seen;
}
location /seen/ { return 200 "$http_x_seen $content_length\n"; }
--- raw_request eval
["POST / HTTP/1.1\r\nHost: localhost\r\nX-One: 1\r\nContent-Type: text/x-test\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbody"]
--- response_body
([''], 'GET', '1') 4



=== TEST 46: a chunked request's subrequest is not refused for the chunks
--- app
@REPLY checked@
--- config
location = /check { internal; wsgi_script_alias / @DIR@/app.wsgi @GROUP@; }
location / { auth_request /check; proxy_pass http://127.0.0.1:$TEST_NGINX_CLIENT_PORT/seen/; }
location /seen/ { return 200 "seen\n"; }
--- raw_request eval
"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
--- response_body
seen



=== TEST 47: tokens find parameters in any spelling
--- app
@SHOW mod_wsgi.application_group@
--- config
wsgi_param Group_Name mine;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@ "application-group=%{ENV:GROUP_NAME}";
--- request
GET /
--- response_body
mod_wsgi.application_group='mine'



=== TEST 48: the document root is that of the location where the request has come to
--- app
@SHOW DOCUMENT_ROOT@
--- config
root @DIR@/docs;
wsgi_script_alias /app @DIR@/app.wsgi @GROUP@;
location /other { root @DIR@/other; set $seen $document_root; error_page 403 =200 /app; deny all; }
--- request
GET /other
--- response_body
DOCUMENT_ROOT='@DIR@/docs'



=== TEST 48: a parameter does not take the place of what the host sets, however many requests there were
--- app
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    names = 'wsgi.url_scheme', 'mod_wsgi.path_info', 'mod_wsgi.callable_object', 'wsgi.own'
    return [' '.join(environ[name] for name in names).encode()]
--- config
wsgi_param wsgi.url_scheme $arg_a;
wsgi_param mod_wsgi.path_info $arg_a;
wsgi_param mod_wsgi.callable_object $arg_a;
wsgi_param wsgi.own $arg_a;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- pipelined_requests eval
[map { "GET /x?a=$_" } 1 .. 5]
--- response_body eval
[map { "http /x application $_" } 1 .. 5]
