# wsgi_error_override: nginx's error pages in place of the application's.

use WsgiTest;

run_wsgi_tests();

__DATA__

=== TEST 1: nginx's built-in page, without an error_page
--- app
def application(environ, start_response):
    start_response('404 Nothing', [('Content-Type', 'text/plain'), ('X-App', 'yes')])
    return [b'from the application\n']
--- http_config
wsgi_error_override on;
--- request
GET /
--- error_code: 404
--- response_headers
Content-Type: text/html
!X-App
--- response_body_like: <h1>404 Not Found</h1>



=== TEST 2: off by default
--- app
def application(environ, start_response):
    start_response('404 Nothing', [('Content-Type', 'text/plain')])
    return [b'from the application\n']
--- request
GET /
--- error_code: 404
--- response_body
from the application



=== TEST 3: from 400 on, and not below; statuses that have no page have no body
--- app
def application(environ, start_response):
    start_response(environ['QUERY_STRING'] + ' Reason', [('Content-Type', 'text/plain')])
    return [b'from the application\n']
--- config
wsgi_error_override on;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- request eval
["GET /?200", "GET /?399", "GET /?400", "GET /?418", "GET /?500", "GET /?599"]
--- error_code eval
[200, 399, 400, 418, 500, 599]
--- response_body_like eval
["^from the", "^from the", "400 Bad Request", "^\$", "500 Internal Server Error", "^\$"]



=== TEST 4: the location's error_page
--- app
def application(environ, start_response):
    start_response('503 Busy', [('Content-Type', 'text/plain')])
    return [b'from the application\n']
--- config
location / {
    wsgi_error_override on;
    wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
    error_page 503 /sorry;
}
location = /sorry { return 200 "sorry\n"; }
--- request
GET /
--- error_code: 503
--- response_body
sorry



=== TEST 5: an error_page for another status only
--- app
def application(environ, start_response):
    start_response('503 Busy', [('Content-Type', 'text/plain')])
    return [b'from the application\n']
--- config
wsgi_error_override on;
error_page 404 /sorry;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
location = /sorry { return 200 "sorry\n"; }
--- request
GET /
--- error_code: 503
--- response_body_like: 503 Service Temporarily Unavailable



=== TEST 6: an error_page that is an application
--- app
def application(environ, start_response):
    if environ['PATH_INFO'] == '/sorry':
        start_response('200 OK', [('Content-Type', 'text/plain')])
        return [('sorry for %(REDIRECT_URL)s %(REDIRECT_STATUS)s\n' % environ).encode()]
    start_response('410 Gone', [('Content-Type', 'text/plain')])
    return [b'from the application\n']
--- config
wsgi_error_override on;
error_page 410 /sorry;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- request
GET /x
--- error_code: 410
--- response_body
sorry for /x 410



=== TEST 7: a challenge goes to the client
--- app
def application(environ, start_response):
    start_response('401 Who', [('WWW-Authenticate', 'Basic realm="here"')])
    return [b'from the application\n']
--- config
wsgi_error_override on;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- request
GET /
--- error_code: 401
--- response_headers
WWW-Authenticate: Basic realm="here"
--- response_body_like: 401 Authorization Required



=== TEST 8: statuses that mean something else to nginx keep their number and lose the body
--- app
def application(environ, start_response):
    headers = [('Content-Type', 'text/plain'), ('Content-Length', '5'), ('X-App', 'yes')]
    start_response(environ['QUERY_STRING'] + ' Reason', headers)
    return [b'from\n']
--- config
wsgi_error_override on;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- request eval
["GET /?408", "GET /?444", "GET /?494", "GET /?499"]
--- error_code eval
[408, 444, 494, 499]
--- response_headers eval
[("Content-Length: 0\nX-App: yes") x 4]
--- response_body eval
["", "", "", ""]



=== TEST 9: HEAD
--- app
def application(environ, start_response):
    start_response('404 Nothing', [('Content-Length', '7')])
    return [b'missing']
--- config
wsgi_error_override on;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- request
HEAD /
--- error_code: 404
--- response_headers
Content-Type: text/html
--- response_body



=== TEST 10: the connection of the client stays, and the next request finds a process
--- app
def application(environ, start_response):
    start_response('404 Nothing', [])
    return [b'from the application\n' * 10000 for i in range(20)]
--- config
wsgi_error_override on;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- pipelined_requests eval
["GET /a", "GET /b", "GET /c", "GET /d", "GET /e", "GET /f"]
--- error_code eval
[404, 404, 404, 404, 404, 404]
--- response_body_like eval
["404 Not Found", "404 Not Found", "404 Not Found", "404 Not Found", "404 Not Found", "404 Not Found"]



=== TEST 11: what the application logs before its answer is logged
--- app
def application(environ, start_response):
    environ['wsgi.errors'].write('logged before\n')
    start_response('500 No', [])
    return [b'no']
--- config
wsgi_error_override on;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- request
GET /
--- error_code: 500
--- response_body_like: 500 Internal Server Error
--- error_log
logged before



=== TEST 12: off in a location
--- app
def application(environ, start_response):
    start_response('404 Nothing', [])
    return [environ['PATH_INFO'].encode()]
--- http_config
wsgi_error_override on;
--- config
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
location /off { wsgi_error_override off; }
--- request eval
["GET /off", "GET /on"]
--- error_code eval
[404, 404]
--- response_body_like eval
["^/off", "404 Not Found"]



=== TEST 13: unbuffered
--- app
def application(environ, start_response):
    start_response('404 Nothing', [])
    return [b'from the application\n']
--- config
wsgi_error_override on;
wsgi_buffering off;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- request
GET /
--- error_code: 404
--- response_body_like: 404 Not Found



=== TEST 14: neither on nor off
--- config_error
wsgi_error_override maybe;
--- error: it must be "on" or "off"
