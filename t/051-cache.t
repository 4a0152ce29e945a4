# wsgi_cache and its family: nginx's cache for the responses of applications.

use WsgiTest;

# The application answers with its query string; what it says comes from the cache when it says the
# query of an earlier request.
my $says = <<'END';
def application(environ, start_response):
    print('asked for %s?%s' % (environ['PATH_INFO'], environ['QUERY_STRING']))
    start_response('200 OK', [('Content-Type', 'text/plain'), ('X-Said', environ['QUERY_STRING'])])
    return [environ['QUERY_STRING'].encode(), b'\n']
END

add_block_preprocessor(sub {
    my $block = shift;
    if (defined $block->says) {
        $block->set_value(user_files => ">>> app.wsgi\n$says" . ($block->user_files // ''));
    }
    if (defined $block->zone) {
        my $zone = $block->zone;
        chomp $zone;
        $block->set_value(http_config => ($block->http_config // '') . <<"END");
wsgi_cache_path $ENV{TEST_NGINX_HTML_DIR}/cache levels=1:2 keys_zone=zone:1m $zone;
END
        $block->set_value(config => <<'END' . $block->config);
wsgi_cache zone;
wsgi_temp_path $TEST_NGINX_HTML_DIR/temp;
add_header X-Cache $upstream_cache_status always;
END
    }
});

run_wsgi_tests();

__DATA__

=== TEST 1: a response is kept, in the file that its key names
--- says
--- zone
--- config
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
wsgi_cache_valid 200 1h;
wsgi_cache_key $uri;
# The md5 of "/page".
location = /entry { alias @DIR@/cache/c/2c/5686126ba845fe5d220d670589e332cc; default_type text/plain; }
--- request eval
["GET /page?one", "GET /page?two", "HEAD /page?three", "GET /other?four", "GET /entry"]
--- response_body_like eval
["^one\n\$", "^one\n\$", "^\$", "^four\n\$", "KEY: /page\n[^\$]*one\n\$"]
--- response_headers eval
["X-Cache: MISS\nX-Said: one", "X-Cache: HIT\nX-Said: one", "X-Cache: HIT\nX-Said: one", "X-Cache: MISS", "!X-Said"]



=== TEST 2: the default key is the URL, and what Host says when that is something else
--- says
--- zone
--- config
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
wsgi_cache_valid 1h;
--- more_headers eval
["Host: a.test", "Host: a.test", "Host: A.test", "Host: b.test", "Host: a.test:80", "Host: a.test", "Host: a.test", "Host: a.test"]
--- request eval
["GET /page?one", "GET /page?one", "GET /page?one", "GET /page?one", "GET /page?one", "GET /page?two", "GET /page%3Fone", "GET /./page?one"]
--- response_headers eval
["X-Cache: MISS", "X-Cache: HIT", "X-Cache: MISS", "X-Cache: MISS", "X-Cache: MISS", "X-Cache: MISS", "X-Cache: MISS", "X-Cache: HIT"]



=== TEST 3: nothing is kept without a reason to, nor with one not to
--- zone
--- app
def application(environ, start_response):
    name, _, value = environ['QUERY_STRING'].partition(':')
    headers = [('Content-Type', 'text/plain'), ('X-Said', environ.get('HTTP_X_WHO', '-'))]
    start_response('200 OK', headers + ([(name, value)] if name else []))
    return [b'ok\n']
--- config
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
location /valid { wsgi_cache_valid 1h; }
location /ignore { wsgi_cache_valid 1h; wsgi_ignore_headers Set-Cookie Cache-Control; }
--- more_headers eval
[map { "X-Who: $_" } 1 .. 12]
--- request eval
["GET /", "GET /", "GET /?Cache-Control:max-age=60", "GET /?Cache-Control:max-age=60", "GET /valid?Set-Cookie:a=b", "GET /valid?Set-Cookie:a=b", "GET /valid?Cache-Control:private", "GET /valid?Cache-Control:private", "GET /ignore?Set-Cookie:a=b", "GET /ignore?Set-Cookie:a=b", "GET /?X-Accel-Expires:60", "GET /?X-Accel-Expires:60"]
--- response_headers eval
[map { "X-Said: $_" } 1, 2, 3, 3, 5, 6, 7, 8, 9, 9, 11, 11]



=== TEST 4: wsgi_cache_bypass and wsgi_no_cache
--- says
--- zone
--- config
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
wsgi_cache_valid 1h;
wsgi_cache_key $uri;
wsgi_cache_bypass $arg_fresh;
wsgi_no_cache $arg_private;
--- request eval
["GET /a?private=1", "GET /a?2", "GET /a?3", "GET /a?fresh=4", "GET /a?5"]
--- response_body eval
["private=1\n", "2\n", "2\n", "fresh=4\n", "fresh=4\n"]
--- response_headers eval
["X-Cache: MISS", "X-Cache: MISS", "X-Cache: HIT", "X-Cache: BYPASS", "X-Cache: HIT"]



=== TEST 5: wsgi_cache_min_uses, wsgi_cache off, and a zone with variables
--- says
--- zone
--- config
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
wsgi_cache_valid 1h;
wsgi_cache_key $uri;
location /uses { wsgi_cache_min_uses 2; }
location /off { wsgi_cache off; }
location /variable { wsgi_cache $arg_zone; }
--- request eval
["GET /uses?1", "GET /uses?2", "GET /uses?3", "GET /off?1", "GET /off?2", "GET /variable?zone=off", "GET /variable?zone=zone", "GET /variable?zone=zone&more", "GET /variable?zone=none"]
--- response_body_like eval
["^1\n", "^2\n", "^2\n", "^1\n", "^2\n", "^zone=off\n", "^zone=zone\n", "^zone=zone\n", "500 Internal"]
--- error_code eval
[(200) x 8, 500]



=== TEST 6: wsgi_cache_methods
--- zone
--- app
def application(environ, start_response):
    body = environ['wsgi.input'].read()
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [environ['REQUEST_METHOD'].encode(), body]
--- config
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
wsgi_cache_valid 1h;
wsgi_cache_key $request_method$uri;
location /post { wsgi_cache_methods POST; }
--- request eval
["POST /\nA", "POST /\nB", "POST /post\nC", "POST /post\nD", "GET /post"]
--- response_body eval
["POSTA", "POSTB", "POSTC", "POSTC", "GET"]



=== TEST 7: a response to HEAD is kept as the one to GET, unless wsgi_map_head_to_get is off
--- zone
--- app
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain'), ('X-Method', environ['REQUEST_METHOD'])])
    return [b'ok\n'] if environ['REQUEST_METHOD'] == 'GET' else []
--- config
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
wsgi_cache_valid 1h;
location /off { wsgi_map_head_to_get off; }
location /uncached { wsgi_cache off; }
--- request eval
["HEAD /page", "GET /page", "HEAD /off", "GET /off", "HEAD /off", "HEAD /uncached"]
--- response_body eval
["", "ok\n", "", "ok\n", "", ""]
--- response_headers eval
["X-Cache: MISS\nX-Method: GET", "X-Cache: HIT\nX-Method: GET", "X-Cache: MISS\nX-Method: HEAD", "X-Cache: MISS\nX-Method: GET", "X-Cache: HIT\nX-Method: GET", "X-Method: HEAD"]



=== TEST 8: conditions and ranges are nginx's business
--- zone
--- app
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain'), ('ETag', '"v1"'), ('Content-Length', '10'),
        ('X-Conditions', ' '.join(key for key in sorted(environ) if 'IF_' in key or 'RANGE' in key))])
    return [b'0123456789']
--- config
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
wsgi_cache_valid 1h;
wsgi_force_ranges on;
location /uncached { wsgi_cache off; wsgi_force_ranges off; }
--- more_headers eval
["If-None-Match: \"v1\"", "Range: bytes=2-4", "If-None-Match: \"v0\"", "Range: bytes=2-4\nIf-Range: \"v0\"", "Range: bytes=2-4"]
--- request eval
["GET /", "GET /", "GET /", "GET /", "GET /uncached"]
--- error_code eval
[304, 206, 200, 200, 200]
--- response_body eval
["", "234", "0123456789", "0123456789", "0123456789"]
--- response_headers eval
["X-Cache: MISS", "X-Cache: HIT\nX-Conditions: ", "X-Cache: HIT", "X-Cache: HIT", "X-Conditions: HTTP_RANGE"]



=== TEST 9: wsgi_cache_max_range_offset
--- zone
--- app
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain'), ('Content-Length', '10'),
        ('X-Range', environ.get('HTTP_RANGE', '-'))])
    return [b'0123456789']
--- config
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
wsgi_cache_valid 1h;
wsgi_cache_max_range_offset 5;
--- more_headers eval
["Range: bytes=7-8", "Range: bytes=2-4"]
--- request eval
["GET /", "GET /"]
--- response_headers eval
["X-Range: bytes=7-8", "X-Range: -"]



=== TEST 10: a header that came in pieces, with log lines in between, and one that is too long to be kept
--- zone
--- app
def application(environ, start_response):
    size = int(environ['QUERY_STRING'].split('=')[-1])
    print('before')
    start_response('200 OK', [('Content-Type', 'text/plain'), ('X-Long', 'v' * size)])
    print('after')
    yield b'a' * 10000
    print('between')
    yield b'b' * 10000
--- config
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
wsgi_cache_valid 1h;
wsgi_buffer_size 4k;
wsgi_buffers 8 4k;
--- request eval
["GET /?size=3000", "GET /?size=3000", "GET /?size=4000", "GET /?size=4000"]
--- response_headers eval
["X-Cache: MISS\nX-Long: " . "v" x 3000, "X-Cache: HIT\nX-Long: " . "v" x 3000, "X-Cache: MISS", "X-Cache: MISS"]
--- response_body eval
["a" x 10000 . "b" x 10000, "a" x 10000 . "b" x 10000, "a" x 10000 . "b" x 10000, "a" x 10000 . "b" x 10000]



=== TEST 11: a response that was broken off is not kept
--- zone
--- app
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    yield b'a'
    if environ.get('HTTP_X_FAIL'):
        raise RuntimeError('broken off')
    yield b'b'
--- config
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
wsgi_cache_valid any 1h;
--- more_headers eval
["X-Fail: yes", ""]
--- request eval
["HEAD /", "GET /"]
--- response_body eval
["", "ab"]
--- response_headers eval
["X-Cache: MISS", "X-Cache: MISS"]



=== TEST 12: a cached error of nginx's is answered from the cache
--- mode: daemon
--- zone
--- app
import os

def application(environ, start_response):
    os._exit(1)
--- config
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
wsgi_cache_valid 502 1h;
--- request eval
["GET /", "GET /"]
--- error_code eval
[502, 502]
--- response_headers eval
["X-Cache: MISS", "X-Cache: HIT"]



=== TEST 13: subrequests
--- says
--- zone
--- config
wsgi_script_alias /app @DIR@/app.wsgi @GROUP@;
wsgi_cache_valid 1h;
location = /page { root @DIR@; ssi on; ssi_types text/plain; default_type text/plain; }
--- user_files
>>> page
<!--# include virtual="/app/a?one" --><!--# include virtual="/app/b?two" --><!--# include virtual="/app/a?one" -->end
--- request eval
["GET /page", "GET /page"]
--- response_body eval
["one\ntwo\none\nend\n", "one\ntwo\none\nend\n"]
