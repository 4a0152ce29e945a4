# wsgi_script_alias: what it matches, what it maps to, and where it stands among locations.

use WsgiTest;

run_wsgi_tests();

__DATA__

=== TEST 1: at the root
--- app
@SHOW SCRIPT_NAME PATH_INFO SCRIPT_FILENAME@
--- config
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- request
GET /a/b?c=d
--- response_body
SCRIPT_NAME=''
PATH_INFO='/a/b'
SCRIPT_FILENAME='@DIR@/app.wsgi'



=== TEST 2: at a path
--- app
@SHOW SCRIPT_NAME PATH_INFO QUERY_STRING@
--- config
wsgi_script_alias /app @DIR@/app.wsgi @GROUP@;
--- request eval
["GET /app/x?y=z", "GET /app", "GET /app/"]
--- response_body eval
["SCRIPT_NAME='/app'\nPATH_INFO='/x'\nQUERY_STRING='y=z'\n",
 "SCRIPT_NAME='/app'\nPATH_INFO=''\nQUERY_STRING=''\n",
 "SCRIPT_NAME='/app'\nPATH_INFO='/'\nQUERY_STRING=''\n"]



=== TEST 3: only at the end of a path segment
--- app
@REPLY app@
--- config
wsgi_script_alias /app @DIR@/app.wsgi @GROUP@;
location / { return 200 "location\n"; }
--- request eval
["GET /apple", "GET /ap", "GET /APP", "GET /x/app"]
--- response_body eval
["location\n", "location\n", "location\n", "location\n"]



=== TEST 4: a settings-only location under the alias still goes to it
--- app
@REPLY app@
--- config
wsgi_script_alias /app @DIR@/app.wsgi @GROUP@;
location /app/admin { client_max_body_size 1k; add_header X-Location admin; }
--- request
GET /app/admin/x
--- response_body
app
--- response_headers
X-Location: admin



=== TEST 5: the path is matched decoded
--- app
@SHOW SCRIPT_NAME PATH_INFO@
--- config
wsgi_script_alias /app @DIR@/app.wsgi @GROUP@;
--- request
GET /%61pp/%20x
--- response_body
SCRIPT_NAME='/app'
PATH_INFO='/ x'



=== TEST 6: a folder of scripts
--- app
@REPLY unused@
--- user_files
>>> scripts/one.wsgi
@REPLY one@
>>> scripts/deep/two.wsgi
@SHOW SCRIPT_NAME PATH_INFO@
--- config
wsgi_script_alias /scripts @DIR@/scripts @GROUP@;
--- request eval
["GET /scripts/one.wsgi", "GET /scripts/one.wsgi/more", "GET /scripts/deep/two.wsgi/x/y"]
--- response_body eval
["one\n", "one\n", "SCRIPT_NAME='/scripts/deep/two.wsgi'\nPATH_INFO='/x/y'\n"]



=== TEST 7: a folder of scripts, with slashes at the ends
--- app
@REPLY unused@
--- user_files
>>> scripts/one.wsgi
@SHOW SCRIPT_NAME PATH_INFO@
--- config
wsgi_script_alias /scripts/ @DIR@/scripts/ @GROUP@;
--- request
GET /scripts/one.wsgi/x
--- response_body
SCRIPT_NAME='/scripts/one.wsgi'
PATH_INFO='/x'



=== TEST 8: what isn't there, and a folder itself
--- app
@REPLY unused@
--- user_files
>>> scripts/one.wsgi
@REPLY one@
--- config
wsgi_script_alias /scripts @DIR@/scripts @GROUP@;
wsgi_script_alias /missing @DIR@/missing.wsgi @GROUP@;
--- request eval
["GET /scripts/two.wsgi", "GET /scripts", "GET /missing", "GET /missing/x"]
--- error_code eval
[404, 403, 404, 404]



=== TEST 9: a script may appear later
--- app
import os, shutil
def application(environ, start_response):
    here = os.path.dirname(__file__)
    if environ['PATH_INFO'] == '/make':
        with open(here + '/new/late.wsgi', 'w') as late:
            late.write("def application(e, s):\n    s('200 OK', [])\n    return [b'late\\n']\n")
    start_response('200 OK', [])
    return [b'made\n']
--- user_files
>>> new/.keep
--- init
chmod 0777, "$ENV{TEST_NGINX_HTML_DIR}/new" or die $!
--- config
wsgi_script_alias /late @DIR@/new/late.wsgi @GROUP@;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- request eval
["GET /late", "GET /make", "GET /late"]
--- error_code eval
[404, 200, 200]
--- response_body_like eval
["404", "^made", "^late"]



=== TEST 10: the first that matches wins, not the longest
--- app
@REPLY first@
--- user_files
>>> second.wsgi
@REPLY second@
--- config
wsgi_script_alias /a/b @DIR@/second.wsgi @GROUP@;
wsgi_script_alias /a @DIR@/app.wsgi @GROUP@;
wsgi_script_alias /a/c @DIR@/second.wsgi @GROUP@;
--- request eval
["GET /a/b", "GET /a/c", "GET /a"]
--- response_body eval
["second\n", "first\n", "first\n"]



=== TEST 11: the server's come before those of http
--- app
@REPLY server@
--- user_files
>>> http.wsgi
@REPLY http@
--- http_config
wsgi_script_alias / @DIR@/http.wsgi @GROUP@;
--- config
wsgi_script_alias /app @DIR@/app.wsgi @GROUP@;
--- request eval
["GET /app", "GET /other"]
--- response_body eval
["server\n", "http\n"]



=== TEST 12: a location with content of its own keeps its requests
--- app
@REPLY app@
--- user_files
>>> static/a.txt
a file
>>> files/a.txt
another file
--- config
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
location /static/ { root @DIR@; }
location /media/ { alias @DIR@/files/; }
location /return { return 200 "return\n"; }
location /proxy { proxy_pass http://127.0.0.1:$TEST_NGINX_CLIENT_PORT/return; }
location /off { wsgi_script_alias off; root @DIR@; }
location ~ \.gif$ { empty_gif; }
--- request eval
["GET /static/a.txt", "GET /media/a.txt", "GET /return", "GET /proxy", "GET /x.gif", "GET /rest"]
--- response_body_like eval
["^a file", "^another file", "^return", "^return", "^GIF", "^app"]



=== TEST 13: a location can say off
--- app
@REPLY app@
--- config
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
location /off { wsgi_script_alias off; }
location /off/on { wsgi_script_alias /off/on @DIR@/app.wsgi @GROUP@; }
--- request eval
["GET /off", "GET /off/x", "GET /off/on/x", "GET /x"]
--- error_code eval
[404, 404, 200, 200]



=== TEST 14: an alias of the location goes first there
--- app
@REPLY server@
--- user_files
>>> location.wsgi
@SHOW SCRIPT_NAME PATH_INFO@
--- config
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
location /api/ { wsgi_script_alias /api @DIR@/location.wsgi @GROUP@; }
--- request eval
["GET /api/x", "GET /x"]
--- response_body eval
["SCRIPT_NAME='/api'\nPATH_INFO='/x'\n", "server\n"]



=== TEST 15: a named location is not overlaid
--- app
@REPLY app@
--- config
wsgi_script_alias /app @DIR@/app.wsgi @GROUP@;
location /app/try { try_files /nothing @named; }
location @named { return 200 "named\n"; }
error_page 404 = @named;
--- request eval
["GET /elsewhere", "GET /app/try", "GET /app"]
--- response_body eval
["named\n", "named\n", "app\n"]



=== TEST 16: after a rewrite
--- app
@SHOW SCRIPT_NAME PATH_INFO REQUEST_URI@
--- config
wsgi_script_alias /app @DIR@/app.wsgi @GROUP@;
rewrite ^/old/(.*)$ /app/$1;
--- request
GET /old/x?y=z
--- response_body
SCRIPT_NAME='/app'
PATH_INFO='/x'
REQUEST_URI='/old/x?y=z'



=== TEST 17: callable-object
--- app
def other(environ, start_response):
    start_response('200 OK', [])
    return [b'other\n']

@REPLY application@
--- config
wsgi_script_alias /other @DIR@/app.wsgi @GROUP@ callable-object=other;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- request eval
["GET /other", "GET /"]
--- response_body eval
["other\n", "application\n"]



=== TEST 18: wsgi_callable_object, inherited and overridden
--- app
def answer(text):
    def application(environ, start_response):
        start_response('200 OK', [])
        return [text]
    return application

one, two, three, application = map(answer, [b'one\n', b'two\n', b'three\n', b'application\n'])
--- http_config
wsgi_callable_object one;
--- config
wsgi_script_alias /option @DIR@/app.wsgi @GROUP@ callable-object=three;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
location /two { wsgi_callable_object two; }
location /variable { wsgi_callable_object $arg_name; }
--- request eval
["GET /", "GET /two", "GET /option", "GET /variable?name=three"]
--- response_body eval
["one\n", "two\n", "three\n", "three\n"]



=== TEST 19: application-group
--- app
@SHOW mod_wsgi.application_group@
--- config
wsgi_script_alias /named @DIR@/app.wsgi @GROUP@ application-group=mine;
wsgi_script_alias /global @DIR@/app.wsgi @GROUP@ "application-group=%{GLOBAL}";
--- request eval
["GET /named", "GET /global"]
--- response_body eval
["mod_wsgi.application_group='mine'\n", "mod_wsgi.application_group=''\n"]



=== TEST 20: process-group
--- mode: daemon
--- app
@SHOW mod_wsgi.process_group@
--- config
wsgi_process_group daemon;
wsgi_script_alias /embedded @DIR@/app.wsgi "process-group=%{GLOBAL}";
wsgi_script_alias / @DIR@/app.wsgi;
--- request eval
["GET /", "GET /embedded"]
--- response_body eval
["mod_wsgi.process_group='daemon'\n", "mod_wsgi.process_group=''\n"]



=== TEST 21: pass-authorization
--- app
@SHOW HTTP_AUTHORIZATION@
--- config
wsgi_script_alias /on @DIR@/app.wsgi @GROUP@ pass-authorization=on;
wsgi_script_alias /On @DIR@/app.wsgi @GROUP@ pass-authorization=On;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
location /directive { wsgi_pass_authorization on; }
--- more_headers
Authorization: Basic dTpw
--- request eval
["GET /on", "GET /On", "GET /directive", "GET /"]
--- response_body eval
["HTTP_AUTHORIZATION='Basic dTpw'\n", "HTTP_AUTHORIZATION='Basic dTpw'\n",
 "HTTP_AUTHORIZATION='Basic dTpw'\n", "HTTP_AUTHORIZATION absent\n"]



=== TEST 22: access control of the location applies
--- app
@REPLY app@
--- config
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
location /secret { deny all; }
--- request eval
["GET /secret", "GET /"]
--- error_code eval
[403, 200]



=== TEST 23: the same script at two places
--- app
@SHOW SCRIPT_NAME mod_wsgi.application_group@
--- config
server_name localhost;
wsgi_script_alias /a @DIR@/app.wsgi @GROUP@;
wsgi_script_alias /b @DIR@/app.wsgi @GROUP@;
--- request eval
["GET /a", "GET /b"]
--- response_body_like eval
["^SCRIPT_NAME='/a'\nmod_wsgi.application_group='localhost:\\d+\\|/a'\n\$",
 "^SCRIPT_NAME='/b'\nmod_wsgi.application_group='localhost:\\d+\\|/b'\n\$"]



=== TEST 24: an alias that can never match
--- app
@REPLY app@
--- config
wsgi_script_alias /a @DIR@/app.wsgi @GROUP@;
wsgi_script_alias /a/b @DIR@/app.wsgi @GROUP@;
--- request
GET /a/b
--- response_body
app
--- error_log eval
qr{\[warn\].*"/a/b".* in \S+nginx\.conf:\d+}



=== TEST 25: the alias of a location with a root holds in its if block and its nested locations
--- app
@SHOW SCRIPT_NAME PATH_INFO@
--- config
location /app {
    root @DIR@;
    wsgi_script_alias /app @DIR@/app.wsgi @GROUP@;
    if ($arg_x) { set $seen 1; }
    location /app/nested { wsgi_pass_authorization on; }
}
--- request eval
["GET /app/a?x=1", "GET /app/nested/b"]
--- response_body eval
["SCRIPT_NAME='/app'\nPATH_INFO='/a'\n", "SCRIPT_NAME='/app'\nPATH_INFO='/nested/b'\n"]



=== TEST 26: an if block in a location with a root of its own serves files
--- app
@REPLY app@
--- user_files
>>> static/file.txt
file
--- config
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
location /static/ {
    root @DIR@;
    if ($arg_x) { set $seen 1; }
}
--- request
GET /static/file.txt?x=1
--- response_body
file



=== TEST 27: try_files leads to a file
--- app
@REPLY app@
--- user_files
>>> notice.html
notice
--- config
location /app {
    wsgi_script_alias /app @DIR@/app.wsgi @GROUP@;
    try_files /notice.html =404;
}
--- request
GET /app
--- response_body
notice
