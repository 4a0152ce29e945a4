# wsgi.file_wrapper: nginx sends the file itself, as it does static files.

use WsgiTest;

my $app = <<'END';
import os

TIME = 'Wed, 01 Jan 2020 00:00:00 GMT'

def application(environ, start_response):
    name = os.path.join(os.path.dirname(__file__), 'file.txt')
    headers = [('Content-Type', 'text/plain'), ('Last-Modified', TIME), ('ETag', '"tag"')]
    for pair in filter(None, environ['QUERY_STRING'].split('&')):
        if '=' in pair:
            headers.append(tuple(pair.replace('%20', ' ').split('=', 1)))
    f = open(name, 'rb')
    f.seek(int(environ.get('wsgi_test.offset', '0')))
    start_response(environ.get('wsgi_test.status', '200 OK'), headers)
    return environ['wsgi.file_wrapper'](f)
--- invalid: wsgiref.validate hides the file
END

my $files = <<'END';
--- user_files
>>> file.txt
0123456789abcdefghijklmnopqrstuvwxyz
END

my $spec = do { local $/; <DATA> };
$spec =~ s/^\@FILE\@\n/$app$files/gm;
$spec =~ s/^\@APP\@\n/$app/gm;
close DATA;
open DATA, '<', \$spec or die;
run_wsgi_tests();

__DATA__

=== TEST 1: ranges
--- app
@FILE@
--- more_headers eval
["", "Range: bytes=0-3", "Range: bytes=-5", "Range: bytes=30-", "Range: bytes=99-", "Range: nothing=1"]
--- request eval
[("GET /") x 6]
--- error_code eval
[200, 206, 206, 206, 416, 200]
--- response_headers eval
["Accept-Ranges: bytes\nContent-Length: 37", "Content-Range: bytes 0-3/37\nContent-Length: 4", "Content-Range: bytes 32-36/37", "Content-Range: bytes 30-36/37", "Content-Range: bytes */37", "Content-Length: 37"]
--- response_body_like eval
["^0123456789abcdefghijklmnopqrstuvwxyz\n\$", "^0123\$", "^wxyz\n\$", "^uvwxyz\n\$", "416", "^0123456789abcdefghijklmnopqrstuvwxyz\n\$"]
--- no_error_log
[error]



=== TEST 2: several ranges
--- app
@FILE@
--- request
GET /
--- more_headers
Range: bytes=1-2,10-12
--- error_code: 206
--- response_headers_like
Content-Type: multipart/byteranges; boundary=.*
--- response_body_like
(?s)bytes 1-2/37\x0d\x0a\x0d\x0a12\x0d.*bytes 10-12/37\x0d\x0a\x0d\x0aabc\x0d



=== TEST 3: If-Range
--- app
@FILE@
--- more_headers eval
["Range: bytes=0-3\nIf-Range: \"tag\"", "Range: bytes=0-3\nIf-Range: \"other\"", "Range: bytes=0-3\nIf-Range: Wed, 01 Jan 2020 00:00:00 GMT"]
--- request eval
[("GET /") x 3]
--- error_code eval
[206, 200, 206]



=== TEST 4: conditional requests
--- app
@FILE@
--- more_headers eval
["If-None-Match: \"tag\"", "If-None-Match: \"other\"", "If-Modified-Since: Wed, 01 Jan 2020 00:00:00 GMT", "If-Modified-Since: Tue, 31 Dec 2019 00:00:00 GMT", "If-Match: \"other\"", "If-Unmodified-Since: Tue, 31 Dec 2019 00:00:00 GMT"]
--- request eval
[("GET /") x 6]
--- error_code eval
[304, 200, 304, 200, 412, 412]



=== TEST 5: HEAD
--- app
@FILE@
--- more_headers eval
["", "If-None-Match: \"tag\"", "Range: bytes=0-3"]
--- request eval
[("HEAD /") x 3]
--- error_code eval
[200, 304, 206]
--- response_headers eval
["Content-Length: 37\nAccept-Ranges: bytes", "", "Content-Length: 4"]
--- response_body eval
["", "", ""]



=== TEST 6: from the file's position on, and as much as Content-Length says
--- app
@FILE@
--- config
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
wsgi_param wsgi_test.offset 10;
--- request eval
["GET /", "GET /?Content-Length=3", "GET /?Content-Length=3"]
--- more_headers eval
["Range: bytes=0-1", "", "Range: bytes=1-"]
--- error_code eval
[206, 200, 206]
--- response_headers eval
["Content-Range: bytes 0-1/27", "Content-Length: 3", "Content-Range: bytes 1-2/3"]
--- response_body eval
["ab", "abc", "bc"]



=== TEST 7: what the application says about ranges
--- app
@FILE@
--- more_headers
Range: bytes=0-3
--- request eval
["GET /?Accept-Ranges=none", "GET /?Accept-Ranges=bytes"]
--- error_code eval
[200, 206]
--- response_headers eval
["Accept-Ranges: none\nContent-Length: 37", "Content-Length: 4"]



=== TEST 8: an Accept-Ranges of the application is not repeated
--- app
@FILE@
--- raw_request eval
"GET /?Accept-Ranges=bytes HTTP/1.0\r\n\r\n"
--- raw_response_headers_like eval
qr/\A(?!.*Accept-Ranges.*Accept-Ranges)/s
--- response_headers
Accept-Ranges: bytes



=== TEST 9: another status than 200 has neither ranges nor conditions
--- app
@FILE@
--- config
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
wsgi_param wsgi_test.status "203 Non-Authoritative Information";
--- request eval
["GET /", "GET /"]
--- more_headers eval
["Range: bytes=0-3", "If-None-Match: \"tag\""]
--- error_code eval
[203, 203]
--- response_body eval
["0123456789abcdefghijklmnopqrstuvwxyz\n", "0123456789abcdefghijklmnopqrstuvwxyz\n"]



=== TEST 10: statuses without a body
--- app
@FILE@
--- config
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
wsgi_param wsgi_test.status "204 No Content";
--- request eval
["GET /", "GET /"]
--- error_code eval
[204, 204]
--- response_headers eval
[("! Content-Length") x 2]
--- response_body eval
["", ""]



=== TEST 11: max_ranges 0
--- app
@FILE@
--- config
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
max_ranges 0;
--- request
GET /
--- more_headers
Range: bytes=0-3
--- error_code: 200
--- response_headers
Content-Length: 37
! Accept-Ranges



=== TEST 12: with and without sendfile, unbuffered, and in threads
--- app
@FILE@
--- config
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
location /sendfile { sendfile on; }
location /read { sendfile off; output_buffers 2 8; }
location /unbuffered { wsgi_buffering off; }
location /aio { aio threads; sendfile on; }
location /aio-read { aio threads; sendfile off; }
--- request eval
["GET /sendfile", "GET /read", "GET /unbuffered", "GET /aio", "GET /aio-read"]
--- response_headers eval
[("Accept-Ranges: bytes") x 5]
--- response_body eval
[("0123456789abcdefghijklmnopqrstuvwxyz\n") x 5]



=== TEST 13: filters see the content
--- app
@FILE@
--- config
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
location /sub { sub_filter_types *; sub_filter 345 -; }
location /gzip { gzip on; gzip_types *; gzip_min_length 1; gunzip on; }
--- more_headers
Accept-Encoding: gzip
Range: bytes=0-3
--- request eval
["GET /sub", "GET /gzip"]
--- error_code eval
[200, 200]
--- response_headers eval
["! Accept-Ranges", "Content-Encoding: gzip"]
--- response_body_like eval
["^012-6789", "^\x1f\x8b"]



=== TEST 14: in a subrequest
--- app
@APP@
--- config
location = /page { default_type text/html; ssi on; root @DIR@; }
location /app { wsgi_script_alias /app @DIR@/app.wsgi @GROUP@; }
--- user_files
>>> file.txt
0123456789abcdefghijklmnopqrstuvwxyz
>>> page
[<!--# include virtual="/app" -->]
--- request
GET /page
--- response_body
[0123456789abcdefghijklmnopqrstuvwxyz
]



=== TEST 15: wsgi_store keeps the content
--- app
@FILE@
--- config
location /app {
    wsgi_script_alias /app @DIR@/app.wsgi @GROUP@;
    wsgi_store @DIR@/temp/stored$uri;
}
wsgi_temp_path @DIR@/temp;
location /stored { root @DIR@/temp; default_type text/plain; }
--- request eval
["GET /app/file", "GET /stored/app/file"]
--- more_headers eval
["Range: bytes=0-3", ""]
--- error_code eval
[200, 200]
--- response_body eval
[("0123456789abcdefghijklmnopqrstuvwxyz\n") x 2]



=== TEST 16: the cache keeps the content, and serves ranges of it
--- app
@FILE@
--- http_config
wsgi_cache_path @DIR@/cache keys_zone=files:1m;
--- config
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
wsgi_cache files;
wsgi_cache_valid 200 1h;
add_header X-Cache $upstream_cache_status;
--- request eval
["GET /?Accept-Ranges=bytes", "GET /?Accept-Ranges=bytes"]
--- more_headers eval
["", "Range: bytes=0-3"]
--- error_code eval
[200, 206]
--- response_headers eval
["X-Cache: MISS", "X-Cache: HIT"]
--- response_body eval
["0123456789abcdefghijklmnopqrstuvwxyz\n", "0123"]



=== TEST 17: wsgi_limit_rate limits it
--- app
@FILE@
--- config
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
wsgi_limit_rate 1m;
--- request
GET /
--- response_headers
! Accept-Ranges
--- response_body
0123456789abcdefghijklmnopqrstuvwxyz



=== TEST 18: X-Accel-Redirect leads away from the file
--- app
@FILE@
--- config
location /app { wsgi_script_alias /app @DIR@/app.wsgi @GROUP@; }
location /ignored { wsgi_script_alias /ignored @DIR@/app.wsgi @GROUP@; wsgi_ignore_headers X-Accel-Redirect; }
location = /other { return 200 "the other\n"; }
--- request eval
["GET /app?X-Accel-Redirect=/other", "GET /ignored?X-Accel-Redirect=/other"]
--- response_body eval
["the other\n", "0123456789abcdefghijklmnopqrstuvwxyz\n"]



=== TEST 19: error pages take the place of the file
--- app
@FILE@
--- config
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
wsgi_param wsgi_test.status "404 Not Found";
location /override { wsgi_error_override on; }
location /intercept { wsgi_intercept_errors on; error_page 404 =200 @page; }
location @page { return 200 "a page\n"; }
--- request eval
["GET /", "GET /override", "GET /intercept"]
--- error_code eval
[404, 404, 200]
--- response_body_like eval
["^0123", "<h1>404", "^a page"]



=== TEST 20: one that a middleware passes through, and one that it looks into
--- app
import io, os

def application(environ, start_response):
    name = os.path.join(os.path.dirname(__file__), 'file.txt')
    start_response('200 OK', [('Content-Type', 'text/plain')])
    wrapper = environ['wsgi.file_wrapper'](open(name, 'rb'), 4)
    if environ['PATH_INFO'] == '/through':
        return wrapper
    return (block.upper() for block in wrapper)
--- invalid: wsgiref.validate hides the file
--- user_files
>>> file.txt
the content of a file
--- request eval
["GET /through", "GET /into"]
--- response_headers eval
["Accept-Ranges: bytes", "! Accept-Ranges"]
--- response_body eval
["the content of a file\n", "THE CONTENT OF A FILE\n"]



=== TEST 21: an empty file, and one that is shorter than its Content-Length
--- app
import os

def application(environ, start_response):
    path = environ['PATH_INFO']
    name = os.path.join(os.path.dirname(__file__), 'file.txt')
    f = open(name, 'rb')
    if path == '/end':
        f.seek(0, 2)
    start_response('200 OK', [('Content-Length', '99')] if path == '/short' else [])
    return environ['wsgi.file_wrapper'](f)
--- invalid: wsgiref.validate hides the file
--- user_files
>>> file.txt
the content of a file
--- request
GET /end
--- response_headers
Content-Length: 0
--- response_body



=== TEST 22: close() is called, and the file can be removed in it
--- app
import os, tempfile

CLOSED = []

class File:
    def __init__(self, path):
        self.file, self.path = open(path, 'rb'), path
        self.fileno, self.tell, self.read = self.file.fileno, self.file.tell, self.file.read

    def close(self):
        self.file.close()
        os.unlink(self.path)
        CLOSED.append(self.path)

def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    if environ['PATH_INFO'] == '/closed':
        return [b'%d\n' % len(CLOSED)]
    handle, path = tempfile.mkstemp()
    os.write(handle, b'for a moment\n')
    os.close(handle)
    return environ['wsgi.file_wrapper'](File(path))
--- daemon_options: processes=1
--- workers: 1
--- pipelined_requests eval
["GET /", "GET /closed"]
--- response_headers eval
["Accept-Ranges: bytes", "! Accept-Ranges"]
--- response_body eval
["for a moment\n", "1\n"]
--- invalid: wsgiref.validate hides the file
