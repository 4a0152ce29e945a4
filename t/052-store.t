# What nginx keeps of responses as files, and what it passes on of requests.

use WsgiTest;

run_wsgi_tests();

__DATA__

=== TEST 1: wsgi_store with a path
--- app
@REPLY of the application@
--- config
location /app {
    wsgi_script_alias /app @DIR@/app.wsgi @GROUP@;
    wsgi_store @DIR@/temp/stored$uri;
}
wsgi_temp_path @DIR@/temp;
location /stored { root @DIR@/temp; default_type text/plain; }
--- request eval
["GET /stored/app/page", "GET /app/page", "GET /stored/app/page", "HEAD /app/head", "GET /stored/app/head"]
--- error_code eval
[404, 200, 200, 200, 200]
--- response_body_like eval
["404", "^of the application\n\$", "^of the application\n\$", "^\$", "^of the application\n\$"]



=== TEST 2: wsgi_store on, off, and inheritance
--- app
@REPLY of the application@
--- config
root @DIR@/temp/stored;
wsgi_store on;
location /app {
    wsgi_script_alias /app @DIR@/app.wsgi @GROUP@;
    location /app/off { wsgi_store off; }
}
wsgi_temp_path @DIR@/temp;
location /stored { root @DIR@/temp; default_type text/plain; }
--- request eval
["GET /app/page", "GET /stored/app/page", "GET /app/off", "GET /stored/app/off"]
--- error_code eval
[200, 200, 200, 404]



=== TEST 3: only whole responses with 200 are stored
--- app
def application(environ, start_response):
    status = environ['QUERY_STRING'] or '200'
    start_response(status + ' Said', [('Content-Type', 'text/plain'), ('Content-Length', '4')])
    yield b'ok'
    if status == '200':
        yield b'\n'
--- invalid: the response is shorter than it says
--- config
location /app {
    wsgi_script_alias /app @DIR@/app.wsgi @GROUP@;
    wsgi_store @DIR@/temp/stored$uri;
}
wsgi_temp_path @DIR@/temp;
location /stored { root @DIR@/temp; default_type text/plain; }
--- request eval
["HEAD /app/short", "GET /stored/app/short", "HEAD /app/404?404", "GET /stored/app/404"]
--- error_code eval
[200, 404, 404, 404]



=== TEST 4: wsgi_store_access
--- mode: embedded
--- app
import glob, os

def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    root = os.path.dirname(__file__)
    return [' '.join('%s %o' % (os.path.basename(path), os.stat(path).st_mode & 0o777)
        for path in sorted(glob.glob(root + '/temp/stored/app/*'))).encode()]
--- config
wsgi_script_alias /app @DIR@/app.wsgi @GROUP@;
wsgi_temp_path @DIR@/temp;
wsgi_store @DIR@/temp/stored$uri;
location /app/b { wsgi_store_access user:rw group:rw all:r; }
location /app/list { wsgi_store off; }
--- request eval
["GET /app/a", "GET /app/b", "GET /app/list"]
--- response_body_like eval
["", "", '^a 600 b 664$']



=== TEST 5: wsgi_pass_request_headers
--- app
@SHOW HTTP_X_ONE HTTP_HOST CONTENT_TYPE CONTENT_LENGTH REMOTE_ADDR@
--- config
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
location /off { wsgi_pass_request_headers off; }
--- more_headers
X-One: 1
Host: site
Content-Type: text/plain
--- request eval
["POST /\nbody", "POST /off\nbody"]
--- response_body eval
["HTTP_X_ONE='1'\nHTTP_HOST='site'\nCONTENT_TYPE='text/plain'\nCONTENT_LENGTH='4'\nREMOTE_ADDR='127.0.0.1'\n",
"HTTP_X_ONE absent\nHTTP_HOST absent\nCONTENT_TYPE='text/plain'\nCONTENT_LENGTH='4'\nREMOTE_ADDR='127.0.0.1'\n"]



=== TEST 6: wsgi_pass_request_body
--- app
def application(environ, start_response):
    body = environ['wsgi.input'].read()
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'%s, length %s' % (body, environ.get('CONTENT_LENGTH', 'absent').encode())]
--- config
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
location /off { wsgi_pass_request_body off; }
location /streamed { wsgi_pass_request_body off; wsgi_request_buffering off; }
--- request eval
["POST /\nbody", "POST /off\nbody", "POST /streamed\nbody"]
--- response_body eval
["body, length 4", ", length absent", ", length absent"]
