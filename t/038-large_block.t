# Bodies of one large block: embedded in nginx it reads them where Python has them. Nothing else may differ.

use WsgiTest;

my $app = <<'END';
BODY = b'0123456789abcdef' * 8192

def application(environ, start_response):
    headers = [('Content-Type', 'text/html'), ('ETag', '"tag"'), ('Last-Modified', 'Wed, 01 Jan 2020 00:00:00 GMT')]
    for pair in filter(None, environ['QUERY_STRING'].split('&')):
        headers.append(tuple(pair.replace('%20', ' ').split('=', 1)))
    start_response(environ.get('wsgi_test.status', '200 OK'), headers)
    if environ.get('wsgi_test.late'):
        return (block for block in (BODY, b'more'))
    return [BODY]
END

our $body = '0123456789abcdef' x 8192;

my $spec = do { local $/; <DATA> };
$spec =~ s/^\@APP\@\n/$app/gm;
close DATA;
open DATA, '<', \$spec or die;
run_wsgi_tests();

__DATA__

=== TEST 1: with and without a length
--- app
@APP@
--- request eval
["GET /?Content-Length=131072", "GET /"]
--- response_headers eval
["Content-Length: 131072\n! Transfer-Encoding\n! Accept-Ranges\nETag: \"tag\"", "Transfer-Encoding: chunked\n! Content-Length\n! Accept-Ranges"]
--- response_body eval
[($main::body) x 2]
--- no_error_log
[error]



=== TEST 2: neither ranges nor conditions, which the application has not asked for
--- app
@APP@
--- request eval
[("GET /?Content-Length=131072") x 3]
--- more_headers eval
["Range: bytes=0-3", "If-None-Match: \"tag\"", "If-Modified-Since: Wed, 01 Jan 2020 00:00:00 GMT"]
--- error_code eval
[200, 200, 200]
--- response_body eval
[($main::body) x 3]



=== TEST 3: HEAD
--- app
@APP@
--- request
HEAD /?Content-Length=131072
--- response_headers
Content-Length: 131072
--- response_body:



=== TEST 4: more than the length says
--- invalid: too many bytes
--- app
@APP@
--- request eval
["GET /?Content-Length=100000", "GET /?Content-Length=10", "GET /?Content-Length=0", "GET /?Content-Length=131072"]
--- response_body eval
[substr($main::body, 0, 100000), substr($main::body, 0, 10), "", $main::body]
--- no_error_log
[error]



=== TEST 5: blocks that come from a generator, the first of which is the whole body
--- invalid: too many bytes
--- app
@APP@
--- config
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
wsgi_param wsgi_test.late yes;
--- request eval
["GET /?Content-Length=131072", "GET /"]
--- response_body eval
[$main::body, $main::body . "more"]



=== TEST 6: statuses without a body
--- invalid: a body where there is none
--- app
@APP@
--- config
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
location /204 { wsgi_param wsgi_test.status "204 No Content"; }
location /304 { wsgi_param wsgi_test.status "304 Not Modified"; }
--- request eval
["GET /204", "GET /304", "GET /200?Content-Length=131072"]
--- error_code eval
[204, 304, 200]
--- response_body eval
["", "", $main::body]



=== TEST 7: buffered or not
--- app
@APP@
--- config
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
location /unbuffered { wsgi_buffering off; }
location /without-file { wsgi_max_temp_file_size 0; }
location /read { sendfile off; output_buffers 1 4k; }
location /aio { aio threads; }
--- request eval
["GET /unbuffered?Content-Length=131072", "GET /unbuffered", "GET /?X-Accel-Buffering=no", "GET /without-file", "GET /read", "GET /aio"]
--- response_body eval
[($main::body) x 6]
--- no_error_log
[error]



=== TEST 8: filters see the content, and change nothing of the application's
--- app
@APP@
--- http_config
charset_map windows-1251 koi8-r { 30 31; }
--- config
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
location /sub { sub_filter 789abcdef0 -; sub_filter_once off; }
location /gzip { gzip on; gzip_min_length 1; }
location /charset { charset koi8-r; source_charset windows-1251; override_charset on; }
--- more_headers
Accept-Encoding: gzip
--- request eval
["GET /sub", "GET /gzip", "GET /charset", "GET /"]
--- response_headers eval
["Content-Type: text/html", "Content-Encoding: gzip", "Content-Type: text/html; charset=koi8-r", "Content-Type: text/html"]
--- response_body_like eval
["^0123456-123456-123456-", "^\x1f\x8b", "^1123456789abcdef1123", "^0123456789abcdef0123"]



=== TEST 9: in a subrequest
--- app
@APP@
--- config
location = /page { default_type text/html; ssi on; root @DIR@; }
location /app { wsgi_script_alias /app @DIR@/app.wsgi @GROUP@; }
--- user_files
>>> page
[<!--# include virtual="/app" -->]
--- request
GET /page
--- response_body eval
"[$main::body]\n"



=== TEST 10: the cache keeps it
--- app
@APP@
--- http_config
wsgi_cache_path @DIR@/cache keys_zone=blocks:1m;
--- config
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
wsgi_cache blocks;
wsgi_cache_valid 200 1h;
add_header X-Cache $upstream_cache_status;
--- request eval
[("GET /?Content-Length=131072") x 2]
--- response_headers eval
["X-Cache: MISS", "X-Cache: HIT"]
--- response_body eval
[($main::body) x 2]



=== TEST 11: wsgi_store keeps it, wsgi_limit_rate sees it
--- app
@APP@
--- config
location /app {
    wsgi_script_alias /app @DIR@/app.wsgi @GROUP@;
    wsgi_store @DIR@/temp/stored$uri;
}
wsgi_temp_path @DIR@/temp;
location /stored { root @DIR@/temp; }
location /limited { wsgi_script_alias /limited @DIR@/app.wsgi @GROUP@; wsgi_limit_rate 10m; }
--- request eval
["GET /app/block", "GET /stored/app/block", "GET /limited"]
--- response_body eval
[($main::body) x 3]



=== TEST 12: X-Accel-Redirect and error pages take its place
--- app
@APP@
--- config
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
location = /other { return 200 "the other\n"; }
location /override { wsgi_error_override on; wsgi_param wsgi_test.status "404 Not Found"; }
location /intercept { wsgi_intercept_errors on; error_page 404 =200 @page; wsgi_param wsgi_test.status "404 Not Found"; }
location @page { return 200 "a page\n"; }
--- request eval
["GET /?X-Accel-Redirect=/other", "GET /override", "GET /intercept", "GET /"]
--- error_code eval
[200, 404, 200, 200]
--- response_body_like eval
["^the other", "<h1>404", "^a page", "^0123456789abcdef"]



=== TEST 13: an instance of a derived class, and other iterables
--- invalid: wsgiref.validate wants bytes itself
--- app
class Block(bytes):
    pass

BODY = b'0123456789abcdef' * 8192

def application(environ, start_response):
    start_response('200 OK', [('Content-Length', str(len(BODY)))])
    path = environ['PATH_INFO']
    if path == '/tuple':
        return (BODY,)
    if path == '/iterator':
        return iter([BODY])
    if path == '/two':
        return [BODY[:65536], BODY[65536:]]
    return [Block(BODY)]
--- request eval
["GET /derived", "GET /tuple", "GET /iterator", "GET /two"]
--- response_body eval
[($main::body) x 4]
--- no_error_log
[error]
