# Internal redirects that applications ask for.

use WsgiTest;

run_wsgi_tests();

__DATA__

=== TEST 1: a path with status 200 leads there inside nginx
--- daemon_options: threads=1
--- http_config
wsgi_embedded_threads 1;
--- app
def application(environ, start_response):
    if environ['PATH_INFO'] == '/there':
        keys = 'REQUEST_METHOD', 'QUERY_STRING', 'REQUEST_URI', 'REDIRECT_URL', 'REDIRECT_STATUS', 'CONTENT_LENGTH'
        start_response('200 OK', [])
        return [repr([environ.get(key) for key in keys] + [environ['wsgi.input'].read()]).encode()]
    body = environ['wsgi.input'].read()
    start_response('200 OK', [('Content-Type', 'text/plain'), ('location', '/there?a=b')])
    return [b'dropped'] * 1000
--- config
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
location /stream { wsgi_request_buffering off; }
--- request eval
["GET /here?c=d", "POST /here\nbody", "POST /stream\nbody", "GET /there"]
--- response_body eval
["['GET', 'a=b', '/here?c=d', '/here', '200', None, b'']", "['GET', 'a=b', '/here', '/here', '200', None, b'']",
 "['GET', 'a=b', '/stream', '/stream', '200', None, b'']", "['GET', '', '/there', None, None, None, b'']"]
--- response_headers eval
["Location: ", "Location: ", "Location: ", "Location: "]



=== TEST 2: to a file
--- app
def application(environ, start_response):
    start_response('200 OK', [('Location', '/files/%78.txt'), ('Set-Cookie', 'a=1')])
    return []
--- user_files
>>> files/x.txt
contents
--- config
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
location /files/ { internal; root @DIR@; }
--- request
GET /
--- response_body
contents
--- response_headers
Set-Cookie: a=1



=== TEST 3: another status, or a whole URL, is the client's
--- app
def application(environ, start_response):
    status, _, location = environ['QUERY_STRING'].partition(',')
    start_response(status + ' Some', [('Location', location), ('Content-Length', '4')])
    return [b'body']
--- request eval
["GET /?201,/there", "GET /?302,/there", "GET /?200,http://other.example/"]
--- error_code eval
[201, 302, 200]
--- response_headers eval
["Location: /there", "Location: /there", "Location: http://other.example/"]
--- response_body eval
["body", "body", "body"]
