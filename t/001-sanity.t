# The module loads, and an application answers in both modes.

use WsgiTest;

run_wsgi_tests();

__DATA__

=== TEST 1: hello
--- app
@REPLY hello@
--- request
GET /
--- response_headers
Content-Type: text/plain
--- response_body
hello
--- no_error_log
[error]
[alert]



=== TEST 2: several requests on one connection
--- app
count = 0

def application(environ, start_response):
    global count
    count += 1
    start_response('200 OK', [('Content-Type', 'text/plain'), ('Content-Length', '2')])
    return [b'%d\n' % min(count, 9)]
--- config
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- pipelined_requests eval
["GET /", "GET /", "GET /"]
--- response_body eval
["1\n", "2\n", "3\n"]
--- no_error_log
[error]



=== TEST 3: nginx serves files beside it
--- app
@REPLY hello@
--- user_files
>>> static/a.txt
a file
--- config
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
location /static/ { root @DIR@; }
--- request eval
["GET /static/a.txt", "GET /static", "GET /"]
--- error_code eval
[200, 200, 200]
--- response_body eval
["a file\n", "hello\n", "hello\n"]



=== TEST 4: a configuration without the module's directives
--- config
location = / { return 200 "plain\n"; }
--- request
GET /
--- response_body
plain
--- no_error_log
[error]
