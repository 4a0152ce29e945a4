# The status page in its formats.

use WsgiTest;

run_wsgi_tests();

__DATA__

=== TEST 1: JSON
--- app
@REPLY app@
--- config
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
location = /status { wsgi_status json; }
--- pipelined_requests eval
["GET /", "GET /status"]
--- response_headers eval
["", "Content-Type: application/json
Cache-Control: no-store
!Vary"]
--- response_body_like eval
["^app\$", qr/"state": "ready".*\Q"busy": 0,\E\s+"requests": 1,\s+"running": \[\]/s]



=== TEST 2: a page for people
--- app
@REPLY app@
--- config
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
location = /status { wsgi_status html; }
--- pipelined_requests eval
["GET /", "GET /status"]
--- response_headers eval
["", "Content-Type: text/html; charset=utf-8"]
--- response_body_like eval
["^app\$", qr{^<!DOCTYPE html>.*<td>ready</td>.*</html>$}s]



=== TEST 3: for Prometheus
--- app
@REPLY app@
--- config
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
location = /status { wsgi_status prometheus; }
--- pipelined_requests eval
["GET /", "GET /status"]
--- response_headers eval
["", "Content-Type: text/plain; version=0.0.4; charset=utf-8"]
--- response_body_like eval
["^app\$", qr/^wsgi_processes\{mode="@MODE@",group="(daemon)?",state="ready"\} 1$/m]



=== TEST 4: what the client accepts
--- config
location = /status { wsgi_status; }
--- request eval
["GET /status", "GET /status", "GET /status", "GET /status"]
--- more_headers eval
["", "Accept: application/json", "Accept: text/plain;version=0.0.4;q=0.5,*/*;q=0.1", "Accept: text/html;q=0.5\nAccept: application/json"]
--- response_headers eval
["Content-Type: text/html; charset=utf-8
Vary: Accept", "Content-Type: application/json
Vary: Accept", "Content-Type: text/plain; version=0.0.4; charset=utf-8
Vary: Accept", "Content-Type: application/json
Vary: Accept"]
--- error_code eval
[200, 200, 200, 200]



=== TEST 5: HEAD
--- config
location = /status { wsgi_status json; }
--- request
HEAD /status
--- response_headers_like
Content-Type: application/json
Content-Length: [1-9]\d+
--- response_body



=== TEST 6: other methods
--- config
location = /status { wsgi_status; }
--- request eval
["POST /status\nabc", "PUT /status\nabc", "OPTIONS /status", "DELETE /status"]
--- error_code eval
[405, 405, 405, 405]



=== TEST 7: a group's name is text
--- http_config
wsgi_daemon_process '<b>"&' threads=2;
--- config
location = /html { wsgi_status html; }
location = /json { wsgi_status json; }
location = /prometheus { wsgi_status prometheus; }
--- request eval
["GET /html", "GET /json", "GET /prometheus"]
--- response_body_like eval
[qr/<code>&lt;b&gt;&quot;&amp;<\/code>/, qr/"name": "<b>\\"&"/, qr/group="<b>\\"&"/]



=== TEST 8: without a group and before any request
--- config
location = /status { wsgi_status json; }
--- request
GET /status
--- response_body_like eval
qr/"supervisor": null\s.*"groups": \[\],\s+"embedded": .*"processes": \[\]/s



=== TEST 9: its own access rules
--- config
location = /status { wsgi_status; deny all; }
--- request
GET /status
--- error_code: 403



=== TEST 10: an unknown format
--- config_error
server { location / { wsgi_status xml; } }
--- error
"wsgi_status" has invalid format "xml": must be "html", "json" or "prometheus"



=== TEST 11: twice
--- config_error
server { location / { wsgi_status; wsgi_status json; } }
--- error
"wsgi_status" is duplicate



=== TEST 12: outside a location
--- config_error
server { wsgi_status; }
--- error
"wsgi_status" directive is not allowed here



=== TEST 13: too many arguments
--- config_error
server { location / { wsgi_status html json; } }
--- error
invalid number of arguments in "wsgi_status" directive
