# wsgi_trusted_proxy_headers and wsgi_trusted_proxies: what a proxy's headers say in the place of what nginx knows.

use WsgiTest;

run_wsgi_tests();

__DATA__

=== TEST 1: without headers that are trusted nothing changes
--- app
@SHOW REMOTE_ADDR HTTP_X_FORWARDED_FOR wsgi.url_scheme HTTP_X_SCHEME@
--- more_headers
X-Forwarded-For: 1.1.1.1
X-Scheme: https
--- request
GET /
--- response_body
REMOTE_ADDR='127.0.0.1'
HTTP_X_FORWARDED_FOR='1.1.1.1'
wsgi.url_scheme='http'
HTTP_X_SCHEME='https'



=== TEST 2: from everybody, when no proxies are named
--- app
@SHOW REMOTE_ADDR HTTP_X_FORWARDED_FOR HTTP_HOST SERVER_NAME SERVER_PORT wsgi.url_scheme HTTPS@
--- http_config
wsgi_trusted_proxy_headers X-Forwarded-For X-Forwarded-Host X-Forwarded-Server;
wsgi_trusted_proxy_headers X-Forwarded-Port X-Forwarded-Proto;
--- more_headers
X-Forwarded-For: 1.1.1.1, 2.2.2.2
X-Forwarded-Host: outside:8443
X-Forwarded-Server: outside
X-Forwarded-Port: 8443
X-Forwarded-Proto: HTTPS
--- request
GET /
--- response_body
REMOTE_ADDR='1.1.1.1'
HTTP_X_FORWARDED_FOR='1.1.1.1, 2.2.2.2'
HTTP_HOST='outside:8443'
SERVER_NAME='outside'
SERVER_PORT='8443'
wsgi.url_scheme='https'
HTTPS absent



=== TEST 3: from a proxy that is named, through its trusted neighbours
--- app
@SHOW REMOTE_ADDR HTTP_X_FORWARDED_FOR@
--- http_config
wsgi_trusted_proxy_headers X-Forwarded-For;
wsgi_trusted_proxies 127.0.0.0/8;
wsgi_trusted_proxies 10.0.0.1 2001:db8::/32;
--- more_headers
X-Forwarded-For: 6.6.6.6, 1.1.1.1, 2001:db8::1, 10.0.0.1
--- request
GET /
--- response_body
REMOTE_ADDR='1.1.1.1'
HTTP_X_FORWARDED_FOR='1.1.1.1, 2001:db8::1, 10.0.0.1'



=== TEST 4: from a stranger they vanish, with all that say the same
--- app
@SHOW REMOTE_ADDR HTTP_X_FORWARDED_FOR HTTP_X_REAL_IP HTTP_X_SCHEME HTTP_X_FORWARDED_HOST HTTP_HOST@
--- http_config
wsgi_trusted_proxy_headers X-Forwarded-For X-Forwarded-Host;
wsgi_trusted_proxies 10.0.0.0/8;
--- more_headers
X-Forwarded-For: 1.1.1.1
X-Real-IP: 1.1.1.1
X-Scheme: https
X-Forwarded-Host: outside
--- request
GET /
--- response_body
REMOTE_ADDR='127.0.0.1'
HTTP_X_FORWARDED_FOR absent
HTTP_X_REAL_IP absent
HTTP_X_SCHEME='https'
HTTP_X_FORWARDED_HOST absent
HTTP_HOST='localhost'



=== TEST 5: the last one that is configured and there
--- app
@SHOW REMOTE_ADDR HTTP_X_FORWARDED_FOR HTTP_X_REAL_IP HTTP_X_CLIENT_IP@
--- http_config
wsgi_trusted_proxy_headers X-Forwarded-For X-Real-IP X-Client-IP;
--- more_headers
X-Real-IP: 1.1.1.1
X-Forwarded-For: 2.2.2.2
--- request
GET /
--- response_body
REMOTE_ADDR='1.1.1.1'
HTTP_X_FORWARDED_FOR absent
HTTP_X_REAL_IP='1.1.1.1'
HTTP_X_CLIENT_IP absent



=== TEST 6: a script name
--- app
@SHOW SCRIPT_NAME PATH_INFO mod_wsgi.mount_point mod_wsgi.script_name mod_wsgi.path_info mod_wsgi.application_group@
--- config
server_name localhost;
wsgi_trusted_proxy_headers X-Script-Name;
wsgi_script_alias /app @DIR@/app.wsgi @GROUP@;
--- more_headers
X-Script-Name: /outside
--- request
GET /app/x
--- response_body_like: ^SCRIPT_NAME='/outside'\nPATH_INFO='/x'\nmod_wsgi.mount_point='/outside'\nmod_wsgi.script_name='/app'\nmod_wsgi.path_info='/x'\nmod_wsgi.application_group='localhost(:\d+)?\|/app'\n$



=== TEST 7: no script name, no mount point, and none by parameter
--- app
@SHOW SCRIPT_NAME mod_wsgi.mount_point mod_wsgi.script_name@
--- config
wsgi_trusted_proxy_headers X-Script-Name;
wsgi_param mod_wsgi.mount_point /made-up;
wsgi_param mod_wsgi.script_name /made-up;
wsgi_script_alias /app @DIR@/app.wsgi @GROUP@;
--- request
GET /app/x
--- response_body
SCRIPT_NAME='/app'
mod_wsgi.mount_point absent
mod_wsgi.script_name='/app'



=== TEST 8: a proxy's http counts more than a parameter
--- app
@SHOW wsgi.url_scheme@
--- config
wsgi_trusted_proxy_headers X-Forwarded-SSL;
wsgi_param HTTPS on;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- more_headers eval
["X-Forwarded-SSL: off", "X-Forwarded-SSL: maybe", "X-Forwarded-SSL: 1"]
--- request eval
["GET /", "GET /", "GET /"]
--- response_body eval
["wsgi.url_scheme='http'\n", "wsgi.url_scheme='https'\n", "wsgi.url_scheme='https'\n"]



=== TEST 9: beside the realip module
--- app
@SHOW REMOTE_ADDR HTTP_X_FORWARDED_FOR@
--- config
set_real_ip_from 127.0.0.1;
real_ip_header X-Real-IP;
wsgi_trusted_proxy_headers X-Forwarded-For;
wsgi_trusted_proxies 10.0.0.0/8;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- more_headers eval
["X-Real-IP: 10.0.0.1\nX-Forwarded-For: 6.6.6.6, 1.1.1.1, 10.0.0.2",
 "X-Real-IP: 11.0.0.1\nX-Forwarded-For: 6.6.6.6, 1.1.1.1, 10.0.0.2"]
--- request eval
["GET /", "GET /"]
--- response_body eval
["REMOTE_ADDR='1.1.1.1'\nHTTP_X_FORWARDED_FOR='1.1.1.1, 10.0.0.2'\n",
 "REMOTE_ADDR='11.0.0.1'\nHTTP_X_FORWARDED_FOR absent\n"]



=== TEST 10: an inner level replaces the outer lists
--- app
@SHOW REMOTE_ADDR HTTP_X_REAL_IP HTTP_X_SCHEME@
--- http_config
wsgi_trusted_proxy_headers X-Scheme;
wsgi_trusted_proxies 10.0.0.0/8;
--- config
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
location /here {
    wsgi_trusted_proxy_headers X-Real-IP;
    wsgi_trusted_proxies 127.0.0.1;
}
--- more_headers
X-Real-IP: 1.1.1.1
X-Scheme: https
--- request eval
["GET /here", "GET /"]
--- response_body eval
["REMOTE_ADDR='1.1.1.1'\nHTTP_X_REAL_IP='1.1.1.1'\nHTTP_X_SCHEME='https'\n",
 "REMOTE_ADDR='127.0.0.1'\nHTTP_X_REAL_IP='1.1.1.1'\nHTTP_X_SCHEME absent\n"]



=== TEST 11: through a unix socket
--- app
@SHOW REMOTE_ADDR@
--- http_config
wsgi_trusted_proxy_headers X-Real-IP;
server {
    listen unix:$TEST_NGINX_SERVER_ROOT/inner.sock;
    location /trusted { wsgi_trusted_proxies unix:; wsgi_script_alias /trusted @DIR@/app.wsgi @GROUP@; }
    location / { wsgi_trusted_proxies 127.0.0.1; wsgi_script_alias / @DIR@/app.wsgi @GROUP@; }
}
--- config
location / { proxy_pass http://unix:$TEST_NGINX_SERVER_ROOT/inner.sock; proxy_set_header X-Real-IP 1.1.1.1; }
--- request eval
["GET /trusted", "GET /"]
--- response_body eval
["REMOTE_ADDR='1.1.1.1'\n", "REMOTE_ADDR='unix:'\n"]



=== TEST 12: a header that tells nothing
--- app
@REPLY app@
--- http_config
wsgi_trusted_proxy_headers X-Forwarded-For X-Nonsense;
--- request
GET /
--- response_body
app
--- error_log eval
qr{\[warn\].*"wsgi_trusted_proxy_headers" names "X-Nonsense", which has no meaning}



=== TEST 13: an address that is none
--- config_error
wsgi_trusted_proxies 127.0.0.1 localhost;
--- error: "wsgi_trusted_proxies" has invalid value "localhost": must be an IP address



=== TEST 14: a network with too many bits
--- config_error
wsgi_trusted_proxies 10.0.0.0/33;
--- error: "wsgi_trusted_proxies" has invalid value "10.0.0.0/33": must be an IP address



=== TEST 15: no header
--- config_error
wsgi_trusted_proxy_headers;
--- error: invalid number of arguments in "wsgi_trusted_proxy_headers"
