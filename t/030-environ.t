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
join "", map { "X-Many-$_: " . "v" x 1000 . "\n" } 1 .. 20
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
