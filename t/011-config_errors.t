# What an administrator gets wrong stops `nginx -t`, and says what and where.

use WsgiTest;

run_wsgi_tests();

__DATA__

=== TEST 1: an unknown daemon option
--- config_error
wsgi_daemon_process g nonsense=1;
--- error: "wsgi_daemon_process" has invalid option "nonsense=1"



=== TEST 2: an option without a value
--- config_error
wsgi_daemon_process g processes;
--- error: "processes"



=== TEST 3: no processes
--- config_error
wsgi_daemon_process g processes=0;
--- error: "0"



=== TEST 4: processes that are no number
--- config_error
wsgi_daemon_process g processes=two;
--- error: "two"



=== TEST 5: threads that are no number
--- config_error
wsgi_daemon_process g threads=few;
--- error: "few"



=== TEST 6: too many threads
--- config_error
wsgi_daemon_process g threads=65534;
--- error: "65534"



=== TEST 7: a umask that isn't octal
--- config_error
wsgi_daemon_process g umask=8;
--- error: "8"



=== TEST 8: a user that doesn't exist
--- config_error
wsgi_daemon_process g user=no-such-user;
--- error: "no-such-user"



=== TEST 9: a group that doesn't exist
--- config_error
wsgi_daemon_process g group=no-such-group;
--- error: "no-such-group"



=== TEST 10: user=root
--- config_error
wsgi_daemon_process g user=root;
--- error: "root"
--- skip_eval: 2:$> != 0



=== TEST 11: a user with root's id
--- config_error
wsgi_daemon_process g user=#0;
--- error: "#0"
--- skip_eval: 2:$> != 0



=== TEST 12: a relative home
--- config_error
wsgi_daemon_process g home=relative;
--- error: "relative"



=== TEST 13: a group defined twice
--- config_error
wsgi_daemon_process g;
wsgi_daemon_process g threads=2;
--- error: "g"



=== TEST 14: a daemon process without a name
--- config_error
wsgi_daemon_process;
--- error: "wsgi_daemon_process"



=== TEST 15: a group that isn't defined
--- config_error
wsgi_process_group nowhere;
--- error: "nowhere"



=== TEST 16: a group that isn't defined, in an alias
--- config_error
wsgi_script_alias / /srv/app.wsgi process-group=nowhere;
--- error: "nowhere"



=== TEST 17: a group may be defined after its use
--- http_config
wsgi_script_alias / @DIR@/later.wsgi process-group=later;
wsgi_daemon_process later threads=1;
--- config
--- user_files
>>> later.wsgi
@REPLY later@
--- request
GET /
--- response_body
later



=== TEST 18: an alias without a target
--- config_error
wsgi_script_alias /app;
--- error: "wsgi_script_alias"



=== TEST 19: an alias without anything
--- config_error
wsgi_script_alias;
--- error: "wsgi_script_alias"



=== TEST 20: an alias with an unknown option
--- config_error
wsgi_script_alias /app /srv/app.wsgi nonsense=1;
--- error: "nonsense=1"



=== TEST 21: an alias with an empty process group
--- config_error
wsgi_script_alias /app /srv/app.wsgi process-group=;
--- error: "process-group="



=== TEST 22: an alias with an empty application group
--- config_error
wsgi_script_alias /app /srv/app.wsgi application-group=;
--- error: "application-group="



=== TEST 23: an alias with an empty callable
--- config_error
wsgi_script_alias /app /srv/app.wsgi callable-object=;
--- error: "callable-object="



=== TEST 24: pass-authorization neither on nor off
--- config_error
wsgi_script_alias /app /srv/app.wsgi pass-authorization=maybe;
--- error: "maybe"



=== TEST 25: off is for locations
--- config_error
wsgi_script_alias off;
--- error: "wsgi_script_alias"



=== TEST 26: wsgi_pass_authorization neither on nor off
--- config_error
wsgi_pass_authorization maybe;
--- error: "maybe"



=== TEST 27: an unknown token
--- config_error
wsgi_application_group "%{NONSENSE}";
--- error: "%{NONSENSE}"



=== TEST 28: an unknown token for the process group
--- config_error
wsgi_process_group "%{ENV:}";
--- error: "%{ENV:}"



=== TEST 29: a directive given twice
--- config_error
wsgi_application_group a;
wsgi_application_group b;
--- error: is duplicate



=== TEST 30: an unknown variable
--- config_error
wsgi_application_group $no_such_variable;
--- error: unknown "no_such_variable" variable
--- nowhere



=== TEST 31: too many embedded threads
--- config_error
wsgi_embedded_threads 1025;
--- error: "1025": must be a number from 0 to 1024



=== TEST 32: embedded threads that are no number
--- config_error
wsgi_embedded_threads many;
--- error: wsgi_embedded_threads



=== TEST 33: embedded threads of a server
--- config_error
server { wsgi_embedded_threads 4; }
--- error: "wsgi_embedded_threads" directive is not allowed here



=== TEST 34: daemon processes of a location
--- config_error
server { location / { wsgi_daemon_process g; } }
--- error: "wsgi_daemon_process" directive is not allowed here



=== TEST 35: a socket path that is too long
--- config_error eval
"wsgi_socket_prefix /tmp/" . "x" x 100 . ";\nwsgi_daemon_process g;"
--- error: 107



=== TEST 36: a host executable that isn't there
--- config_error
wsgi_daemon_executable /nonexistent/ngx-wsgi-host;
wsgi_daemon_process g;
--- error: "/nonexistent/ngx-wsgi-host"



=== TEST 37: a timeout that is no time
--- config_error
wsgi_read_timeout soon;
--- error: "wsgi_read_timeout" directive invalid value



=== TEST 38: buffering neither on nor off
--- config_error
wsgi_buffering maybe;
--- error: "maybe"



=== TEST 39: a parameter without a value
--- config_error
wsgi_param NAME;
--- error: "wsgi_param"



=== TEST 40: a parameter with something else behind it
--- config_error
wsgi_param NAME value nonsense;
--- error: "nonsense"



=== TEST 41: wsgi_python_home twice
--- config_error
wsgi_python_home /usr;
wsgi_python_home /usr;
--- error: is duplicate



=== TEST 42: a supplementary group that does not exist
--- config_error
wsgi_daemon_process g supplementary-groups=daemon,no-such-group;
--- error: invalid supplementary-groups "no-such-group": no such group



=== TEST 43: no supplementary group
--- config_error
wsgi_daemon_process g supplementary-groups=;
--- error: supplementary-groups ""



=== TEST 44: a stack that is too small
--- config_error
wsgi_daemon_process g stack-size=16k;
--- error: stack-size "16k": must be from 32768



=== TEST 45: a CPU priority out of range
--- config_error
wsgi_daemon_process g cpu-priority=21;
--- error: cpu-priority "21": must be a number from -20 to 20



=== TEST 46: a memory limit that is no size
--- config_error
wsgi_daemon_process g memory-limit=1t;
--- error: memory-limit "1t": must be a size



=== TEST 47: a negative limit of virtual memory
--- config_error
wsgi_daemon_process g virtual-memory-limit=-1;
--- error: virtual-memory-limit "-1": must be a size



=== TEST 48: a CPU time limit that is no number of seconds
--- config_error
wsgi_daemon_process g cpu-time-limit=1m;
--- error: cpu-time-limit "1m": must be a number of seconds



=== TEST 49: a negative backlog
--- config_error
wsgi_daemon_process g listen-backlog=-1;
--- error: listen-backlog "-1": must be a number of 0 or more



=== TEST 50: a socket's user that does not exist
--- config_error
wsgi_daemon_process g socket-user=no-such-user;
--- error: socket-user "no-such-user": no such user



=== TEST 51: a send buffer that is too small
--- config_error
wsgi_daemon_process g send-buffer-size=511;
--- error: send-buffer-size "511": must be 0 or from 512



=== TEST 52: a receive buffer that is too large
--- config_error
wsgi_daemon_process g receive-buffer-size=2g;
--- error: receive-buffer-size "2g": must be 0 or from 512



=== TEST 53: a socket timeout that is no number
--- config_error
wsgi_daemon_process g socket-timeout=soon;
--- error: socket-timeout "soon": must be a number of seconds



=== TEST 54: a header buffer that is too small
--- config_error
wsgi_daemon_process g header-buffer-size=8191;
--- error: header-buffer-size "8191": must be 0 or a size of at least 8192



=== TEST 55: a script user that is no id
--- config_error
wsgi_daemon_process g script-user=#x;
--- error: script-user "#x": not a uid



=== TEST 56: a script group that does not exist
--- config_error
wsgi_daemon_process g script-group=no-such-group;
--- error: script-group "no-such-group": no such group



=== TEST 57: a script user and a script group
--- config_error
wsgi_daemon_process g script-user=#1 script-group=#1;
--- error: cannot have both "script-user" and "script-group"



=== TEST 58: a relative chroot
--- config_error
wsgi_daemon_process g chroot=jail;
--- error: chroot "jail": must be an absolute path



=== TEST 59: a relative root
--- config_error
wsgi_daemon_process g root=jail;
--- error: root "jail": must be an absolute path



=== TEST 60: a chroot that is not there
--- config_error
wsgi_daemon_process g chroot=/nonexistent;
--- error: chroot "/nonexistent": no such directory
--- skip_eval: 2:$> != 0



=== TEST 61: a chroot without privileges
--- config_error
wsgi_daemon_process g chroot=/tmp;
--- error: chroot "/tmp": nginx must be started as root
--- skip_eval: 2:$> == 0



=== TEST 62: a response buffer that is too small
--- config_error
wsgi_daemon_process g response-buffer-size=65535;
--- error: response-buffer-size "65535": must be 0 or a size of at least 65536



=== TEST 63: a response timeout that is no number
--- config_error
wsgi_daemon_process g response-socket-timeout=-1;
--- error: response-socket-timeout "-1": must be a number of seconds



=== TEST 64: a flush delay that is no number
--- config_error
wsgi_daemon_process g response-flush-delay=5ms;
--- error: response-flush-delay "5ms": must be a number of milliseconds
