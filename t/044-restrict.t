# Which process groups a location's requests may use.

use WsgiTest;

run_wsgi_tests();

__DATA__

=== TEST 1: a group that is allowed, whatever its letter case
--- app
@SHOW mod_wsgi.process_group@
--- mode: daemon
--- config
wsgi_restrict_process other DAEMON;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- request
GET /
--- response_body
mod_wsgi.process_group='daemon'



=== TEST 2: a group that is not
--- app
@REPLY unused@
--- mode: daemon
--- config
wsgi_restrict_process other "%{GLOBAL}";
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- request
GET /
--- error_code: 500
--- error_log
Daemon process called "daemon" cannot be accessed by this WSGI application as not a member of allowed groups



=== TEST 3: embedded mode is allowed by name
--- app
@SHOW mod_wsgi.process_group@
--- mode: embedded
--- config
wsgi_restrict_process other "%{GLOBAL}";
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- request
GET /
--- response_body
mod_wsgi.process_group=''



=== TEST 4: a list without it forbids embedded mode
--- app
@REPLY unused@
--- mode: embedded
--- config
wsgi_restrict_process other;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- request
GET /
--- error_code: 500
--- error_log
Embedded mode of mod_wsgi cannot be used by this WSGI application as not a member of allowed groups



=== TEST 5: an inner list replaces the outer one
--- app
@REPLY ok@
--- http_config
wsgi_restrict_process one two;
--- config
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
location /in { wsgi_restrict_process daemon "%{GLOBAL}"; }
location /both {
    wsgi_restrict_process daemon "%{GLOBAL}";
    location /both/not { wsgi_restrict_process one; }
}
--- request eval
["GET /", "GET /in", "GET /both/x", "GET /both/not"]
--- error_code eval
[500, 200, 200, 500]



=== TEST 6: users choose among their own groups
--- app
@SHOW mod_wsgi.process_group@
--- mode: daemon
--- http_config
wsgi_daemon_process bob-1 threads=1;
wsgi_daemon_process bob-2 threads=1;
wsgi_daemon_process eve-1 threads=1;
--- config
wsgi_param PROCESS_GROUP default;
wsgi_process_group "%{ENV:PROCESS_GROUP}";
wsgi_script_alias / @DIR@/app.wsgi;
location /bob {
    wsgi_restrict_process bob-1 bob-2;
    location /bob/site { wsgi_param PROCESS_GROUP bob-2; }
    location /bob/asks { wsgi_param PROCESS_GROUP $arg_group; }
}
location /eve {
    wsgi_restrict_process eve-1;
    wsgi_param PROCESS_GROUP bob-2;
}
--- request eval
["GET /bob/site", "GET /bob/asks?group=bob-1", "GET /bob/asks?group=eve-1", "GET /bob/asks?group=none",
 "GET /bob/asks?group=", "GET /eve", "GET /bob"]
--- error_code eval
[200, 200, 500, 500, 500, 500, 500]
--- response_body_like eval
["^mod_wsgi.process_group='bob-2'\$", "^mod_wsgi.process_group='bob-1'\$", ("500 Internal") x 5]



=== TEST 7: without a list every group is allowed, and an unknown one is unknown
--- app
@REPLY unused@
--- config
wsgi_process_group $arg_group;
wsgi_script_alias / @DIR@/app.wsgi;
--- mode: daemon
--- request
GET /?group=none
--- error_code: 500
--- error_log
No WSGI daemon process called "none" has been configured



=== TEST 8: twice
--- config_error
wsgi_restrict_process a;
wsgi_restrict_process b;
--- error: "wsgi_restrict_process" is duplicate



=== TEST 9: a token that names no group
--- config_error
wsgi_restrict_process a "%{HOST}";
--- error: "wsgi_restrict_process" has invalid value "%{HOST}": must be a name or "%{GLOBAL}"
