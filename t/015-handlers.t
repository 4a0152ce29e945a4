# wsgi_set_handler and wsgi_handler_script: what a location does with its files.

use WsgiTest;

run_wsgi_tests();

__DATA__

=== TEST 1: files of a location are scripts
--- app
@REPLY unused@
--- user_files
>>> scripts/one.py
@SHOW SCRIPT_NAME PATH_INFO SCRIPT_FILENAME mod_wsgi.request_handler mod_wsgi.handler_script@
--- http_config
map @MODE@ $group { daemon daemon; default ""; }
--- config
wsgi_process_group $group;
location ~ \.py(/|$) { root @DIR@; wsgi_set_handler wsgi-script; }
--- request eval
["GET /scripts/one.py", "GET /scripts/one.py/x/y"]
--- response_body eval
my $rest = "SCRIPT_FILENAME='$ENV{TEST_NGINX_HTML_DIR}/scripts/one.py'\n"
    . "mod_wsgi.request_handler='wsgi-script'\nmod_wsgi.handler_script=''\n";
["SCRIPT_NAME='/scripts/one.py'\nPATH_INFO=''\n$rest",
 "SCRIPT_NAME='/scripts/one.py'\nPATH_INFO='/x/y'\n$rest"]



=== TEST 2: where the location has an alias
--- app
@REPLY unused@
--- user_files
>>> scripts/one.py
@SHOW SCRIPT_NAME PATH_INFO@
>>> secret.py
@REPLY secret@
--- http_config
map @MODE@ $group { daemon daemon; default ""; }
--- config
wsgi_process_group $group;
location /run/ { alias @DIR@/scripts/; wsgi_set_handler wsgi-script; }
location /walk { alias @DIR@/scripts/; wsgi_set_handler wsgi-script; }
--- request eval
["GET /run/one.py/x", "GET /walk../secret.py"]
--- error_code eval
[200, 404]
--- response_body_like eval
["^SCRIPT_NAME='/run/one.py'\nPATH_INFO='/x'\n\$", "404"]



=== TEST 3: a script that is not there, and a directory
--- app
@REPLY unused@
--- user_files
>>> scripts/one.py
@REPLY one@
--- config
location / { root @DIR@; wsgi_set_handler wsgi-script; }
--- request eval
["GET /scripts/two.py", "GET /scripts", "GET /scripts/", "GET /none/x"]
--- error_code eval
[404, 403, 403, 404]



=== TEST 4: a handler script for files that are there or not
--- app
@REPLY unused@
--- user_files
>>> handler.wsgi
def handle_request(environ, start_response):
    start_response('200 OK', [])
    keys = 'SCRIPT_NAME PATH_INFO mod_wsgi.request_handler mod_wsgi.callable_object'.split()
    text = ''.join('%s=%r\n' % (key, environ[key]) for key in keys)
    for key in 'SCRIPT_FILENAME', 'mod_wsgi.handler_script':
        text += '%s=%s\n' % (key, environ[key].rpartition('/html/')[2])
    return [text.encode()]
>>> pages/a.txt
text
--- http_config
map @MODE@ $group { daemon daemon; default ""; }
--- config
wsgi_process_group $group;
wsgi_handler_script text @DIR@/handler.wsgi;
location ~ \.txt { root @DIR@; wsgi_set_handler text; }
--- request eval
["GET /pages/a.txt", "GET /pages/a.txt/x", "GET /none/b.txt"]
--- response_body eval
my @facts = ("mod_wsgi.request_handler='text'\nmod_wsgi.callable_object='handle_request'\n",
             "mod_wsgi.handler_script=handler.wsgi\n");
["SCRIPT_NAME='/pages/a.txt'\nPATH_INFO=''\n$facts[0]SCRIPT_FILENAME=pages/a.txt\n$facts[1]",
 "SCRIPT_NAME='/pages/a.txt'\nPATH_INFO='/x'\n$facts[0]SCRIPT_FILENAME=pages/a.txt\n$facts[1]",
 "SCRIPT_NAME='/none/b.txt'\nPATH_INFO=''\n$facts[0]SCRIPT_FILENAME=none/b.txt\n$facts[1]"]



=== TEST 5: the URL cannot lead out of the location's directory
--- app
@REPLY unused@
--- user_files
>>> handler.wsgi
def handle_request(environ, start_response):
    start_response('200 OK', [])
    return [environ['SCRIPT_FILENAME'].rpartition('/html/')[2].encode()]
>>> pages/a.txt
text
>>> secret.txt
secret
--- config
wsgi_handler_script text @DIR@/handler.wsgi @GROUP@;
location /walk { alias @DIR@/pages/; wsgi_set_handler text; }
--- request eval
["GET /walk../secret.txt", "GET /walk../none", "GET /walk/a.txt"]
--- error_code eval
[404, 404, 200]
--- response_body_like eval
["404", "404", "^pages/+a.txt\$"]



=== TEST 6: its options
--- app
@REPLY unused@
--- user_files
>>> handler.wsgi
def handle_request(environ, start_response):
    start_response('200 OK', [])
    keys = 'mod_wsgi.process_group', 'mod_wsgi.application_group', 'HTTP_AUTHORIZATION'
    return [repr([environ.get(key) for key in keys]).encode()]
--- config
wsgi_handler_script text @DIR@/handler.wsgi @GROUP@ application-group=mine pass-authorization=on;
location / { wsgi_set_handler text; }
--- more_headers
Authorization: Basic dTpw
--- request
GET /page
--- response_body_like: ^\['(daemon)?', 'mine', 'Basic dTpw'\]$



=== TEST 7: what is set outside is inherited, and names can be given anew inside
--- app
@REPLY unused@
--- user_files
>>> one.wsgi
def handle_request(environ, start_response):
    start_response('200 OK', [])
    return [b'one\n']
>>> two.wsgi
def handle_request(environ, start_response):
    start_response('200 OK', [])
    return [b'two\n']
--- http_config
wsgi_handler_script first @DIR@/one.wsgi @GROUP@;
wsgi_handler_script second @DIR@/one.wsgi @GROUP@;
--- config
wsgi_handler_script second @DIR@/two.wsgi @GROUP@;
location /first { wsgi_set_handler first; location /first/second { wsgi_set_handler second; } location /first/in { } }
--- request eval
["GET /first", "GET /first/in", "GET /first/second"]
--- response_body eval
["one\n", "one\n", "two\n"]



=== TEST 8: among aliases
--- app
@REPLY alias@
--- user_files
>>> handler.wsgi
def handle_request(environ, start_response):
    start_response('200 OK', [])
    return [b'handler\n']
--- config
wsgi_handler_script text @DIR@/handler.wsgi @GROUP@;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
location /text { wsgi_set_handler text; }
location /own { wsgi_set_handler text; wsgi_script_alias /own/alias @DIR@/app.wsgi @GROUP@; }
--- request eval
["GET /text", "GET /other", "GET /own/alias", "GET /own"]
--- response_body eval
["handler\n", "alias\n", "alias\n", "handler\n"]



=== TEST 9: without handle_request
--- app
@REPLY application@
--- config
wsgi_handler_script text @DIR@/app.wsgi @GROUP@;
location / { wsgi_set_handler text; }
--- request
GET /
--- error_code: 500
--- error_log
does not contain WSGI application 'handle_request'



=== TEST 10: the handler's script is not there
--- app
@REPLY application@
--- config
wsgi_handler_script text @DIR@/none.wsgi @GROUP@;
location / { wsgi_set_handler text; }
--- request
GET /
--- error_code: 500
--- error_log
none.wsgi



=== TEST 11: reload_required is asked about the resource
--- app
@REPLY unused@
--- user_files
>>> handler.wsgi
asked = []
def reload_required(resource):
    asked.append(resource.rpartition('/html/')[2])
    return False
def handle_request(environ, start_response):
    start_response('200 OK', [])
    return [(' '.join(asked) + '\n').encode()]
--- daemon_options: processes=1 threads=1
--- config
wsgi_handler_script text @DIR@/handler.wsgi process-group=daemon;
location / { root @DIR@; wsgi_set_handler text; }
--- mode: daemon
--- request eval
["GET /a", "GET /b/c"]
--- response_body eval
["\n", "b/c\n"]



=== TEST 12: a file outside the chroot
--- mode: daemon
--- skip_eval: 4:$> != 0
--- daemon_options: threads=1 chroot=/usr/bin
--- app
@REPLY unused@
--- config
wsgi_handler_script text /usr/bin/env @GROUP@;
location / { root @DIR@; wsgi_set_handler text; }
--- request
GET /a.txt
--- error_code: 500
--- error_log eval
[qr{\[error\].*File to be handled \S+/a.txt is outside the chroot /usr/bin of daemon process group "daemon"},
 "[alert]"]



=== TEST 13: one interpreter for all URLs
--- app
@REPLY unused@
--- user_files
>>> handler.wsgi
def handle_request(environ, start_response):
    start_response('200 OK', [])
    return [environ['mod_wsgi.application_group'].encode()]
--- config
server_name localhost;
wsgi_handler_script text @DIR@/handler.wsgi @GROUP@;
location / { wsgi_set_handler text; }
--- request eval
["GET /a", "GET /b/c"]
--- response_body_like eval
[("^localhost(:\\d+)?\\|$ENV{TEST_NGINX_HTML_DIR}/handler.wsgi\$") x 2]



=== TEST 14: parameters cannot stand for the handler
--- app
@SHOW mod_wsgi.request_handler mod_wsgi.handler_script@
--- config
wsgi_param mod_wsgi.request_handler made-up;
wsgi_param mod_wsgi.handler_script made-up;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- request
GET /
--- response_body
mod_wsgi.request_handler='wsgi-script'
mod_wsgi.handler_script=''



=== TEST 15: a handler that nobody has named
--- config_error
server { location / { wsgi_set_handler none; } }
--- error: "wsgi_set_handler" names unknown handler "none"



=== TEST 16: outside a location
--- config_error
wsgi_set_handler wsgi-script;
--- error: "wsgi_set_handler" directive is not allowed here



=== TEST 17: the same name twice
--- config_error
wsgi_handler_script a /a.wsgi;
wsgi_handler_script a /b.wsgi;
--- error: "wsgi_handler_script" has duplicate name "a"



=== TEST 18: the name of the handler that there is
--- config_error
wsgi_handler_script wsgi-script /a.wsgi;
--- error: "wsgi_handler_script" has invalid name "wsgi-script"



=== TEST 19: no script
--- config_error
wsgi_handler_script a;
--- error: "wsgi_handler_script" requires at least two arguments



=== TEST 20: a callable
--- config_error
wsgi_handler_script a /a.wsgi callable-object=b;
--- error: "wsgi_handler_script" has invalid option "callable-object"



=== TEST 21: an unknown option
--- config_error
wsgi_handler_script a /a.wsgi nonsense=1;
--- error: "wsgi_handler_script" has invalid option "nonsense=1"



=== TEST 22: a group that is not defined
--- config_error
wsgi_handler_script a /a.wsgi process-group=none;
--- error: "wsgi_handler_script" names unknown daemon process group "none"



=== TEST 23: two handlers for a location
--- config_error
server { location / { wsgi_set_handler wsgi-script; wsgi_set_handler wsgi-script; } }
--- error: "wsgi_set_handler" is duplicate



=== TEST 24: the name that switches handlers off
--- config_error
wsgi_handler_script off /a.wsgi;
--- error: "wsgi_handler_script" has invalid name "off"



=== TEST 25: switched off inside: nginx's own files, and the aliases of the levels around
--- app
@REPLY alias@
--- user_files
>>> handler.wsgi
def handle_request(environ, start_response):
    start_response('200 OK', [])
    return [b'handler\n']
>>> text/static/a.txt
static
--- config
wsgi_handler_script text @DIR@/handler.wsgi @GROUP@;
wsgi_script_alias /text/app @DIR@/app.wsgi @GROUP@;
location /text {
    wsgi_set_handler text;
    location /text/app { wsgi_set_handler off; }
    location /text/static {
        root @DIR@;
        wsgi_set_handler off;
        location /text/static/deep { }
        location /text/static/again { wsgi_set_handler text; }
    }
}
--- request eval
["GET /text/static/a.txt", "GET /text/static/deep/none", "GET /text/static/again", "GET /text/app/x", "GET /text/x"]
--- error_code eval
[200, 404, 200, 200, 200]
--- response_body_like eval
["^static\$", "404", "^handler\$", "^alias\$", "^handler\$"]



=== TEST 26: the URL / is all SCRIPT_NAME
--- app
@REPLY unused@
--- user_files
>>> handler.wsgi
def handle_request(environ, start_response):
    start_response('200 OK', [])
    return [('%r %r\n' % (environ['SCRIPT_NAME'], environ['PATH_INFO'])).encode()]
--- config
wsgi_handler_script text @DIR@/handler.wsgi @GROUP@;
location / { root @DIR@; wsgi_set_handler text; }
--- invalid: the validator wants SCRIPT_NAME never to be a slash
--- request eval
["GET /", "GET //"]
--- response_body eval
[("'/' ''\n") x 2]
