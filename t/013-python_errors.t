# What an administrator gets wrong about Python stops `nginx -t`; what no longer applies is said.

use WsgiTest;

# Beside the module.
($ENV{TEST_NGINX_WSGI_HOST} = $ENV{TEST_NGINX_LOAD_MODULES}) =~ s{[^/]*$}{ngx-wsgi-host};

run_wsgi_tests();

__DATA__

=== TEST 1: wsgi_python_optimize out of range
--- config_error
wsgi_python_optimize 3;
--- error: "wsgi_python_optimize" has invalid value "3": must be 0, 1 or 2



=== TEST 2: wsgi_python_optimize that is no number
--- config_error
wsgi_python_optimize on;
--- error: "on"



=== TEST 3: wsgi_python_optimize twice
--- config_error
wsgi_python_optimize 1;
wsgi_python_optimize 1;
--- error: "wsgi_python_optimize" is duplicate



=== TEST 4: wsgi_python_optimize of a server
--- config_error
server { wsgi_python_optimize 1; }
--- error: "wsgi_python_optimize" directive is not allowed here



=== TEST 5: a warning filter with an unknown action
--- config_error
wsgi_python_warnings nonsense;
--- error: "wsgi_python_warnings" has invalid filter "nonsense": the action must be



=== TEST 6: a warning filter with a line that is no number
--- config_error
wsgi_python_warnings error:::module:x;
--- error: "error:::module:x": the fifth field must be a line number



=== TEST 7: a warning filter with too many fields
--- config_error
wsgi_python_warnings error:::::;
--- error: more than five fields



=== TEST 8: an empty warning filter
--- config_error
wsgi_python_warnings "";
--- error: "wsgi_python_warnings" has invalid filter ""



=== TEST 9: wsgi_python_eggs that is no directory
--- config_error
wsgi_python_eggs /dev/null;
--- error: "wsgi_python_eggs" "/dev/null" is not a directory



=== TEST 10: wsgi_python_eggs twice
--- config_error
wsgi_python_eggs /a;
wsgi_python_eggs /a;
--- error: "wsgi_python_eggs" is duplicate



=== TEST 11: python-eggs that is relative
--- config_error
wsgi_daemon_process g python-eggs=relative;
--- error: has invalid python-eggs "relative": must be an absolute path



=== TEST 12: wsgi_python_home that doesn't exist
--- config_error
wsgi_python_home /does/not/exist;
--- error: "wsgi_python_home" "/does/not/exist" is not a directory



=== TEST 13: wsgi_python_home that is a file
--- config_error
wsgi_python_home /dev/null;
--- error: "wsgi_python_home" "/dev/null" is not a directory



=== TEST 14: wsgi_python_home without a Python
--- config_error
wsgi_python_home /dev;
--- error: "wsgi_python_home" "/dev" is neither a virtual environment nor an installation of Python



=== TEST 15: wsgi_python_home with three parts
--- config_error
wsgi_python_home /a:/b:/c;
--- error: "wsgi_python_home" has invalid value "/a:/b:/c": must be a prefix or prefix:exec_prefix



=== TEST 16: wsgi_python_home with an empty part
--- config_error
wsgi_python_home /a:;
--- error: "wsgi_python_home" has invalid value "/a:"



=== TEST 17: an exec_prefix without a Python
--- config_error
wsgi_python_home @PREFIX@:/dev;
--- error: "wsgi_python_home" "/dev" is neither



=== TEST 18: python-home that doesn't exist
--- config_error
wsgi_daemon_process g python-home=/does/not/exist;
--- error: "wsgi_daemon_process" "g": python-home "/does/not/exist" is not a directory



=== TEST 19: python-home that is relative
--- config_error
wsgi_daemon_process g python-home=relative;
--- error: has invalid python-home "relative": must be an absolute path



=== TEST 20: python-home without a Python
--- config_error
wsgi_daemon_process g python-home=/dev;
--- error: "wsgi_daemon_process" "g": python-home "/dev" is neither



=== TEST 21: wsgi_restrict_stdin neither on nor off
--- config_error
wsgi_restrict_stdin maybe;
--- error: invalid value "maybe" in "wsgi_restrict_stdin" directive



=== TEST 22: wsgi_restrict_stdout neither on nor off
--- config_error
wsgi_restrict_stdout maybe;
--- error: invalid value "maybe" in "wsgi_restrict_stdout" directive



=== TEST 23: wsgi_restrict_signal neither on nor off
--- config_error
wsgi_restrict_signal maybe;
--- error: invalid value "maybe" in "wsgi_restrict_signal" directive



=== TEST 24: wsgi_dont_write_bytecode neither on nor off
--- config_error
wsgi_dont_write_bytecode maybe;
--- error: invalid value "maybe" in "wsgi_dont_write_bytecode" directive



=== TEST 25: wsgi_destroy_interpreter neither on nor off
--- config_error
wsgi_destroy_interpreter maybe;
--- error: invalid value "maybe" in "wsgi_destroy_interpreter" directive



=== TEST 26: wsgi_case_sensitivity neither on nor off
--- config_error
wsgi_case_sensitivity maybe;
--- error: invalid value "maybe" in "wsgi_case_sensitivity" directive



=== TEST 27: a flag twice
--- config_error
wsgi_restrict_signal on;
wsgi_restrict_signal on;
--- error: "wsgi_restrict_signal" directive is duplicate



=== TEST 28: a hash seed out of range
--- config_error
wsgi_python_hash_seed 4294967296;
--- error: "wsgi_python_hash_seed" has invalid value "4294967296": must be "random" or a number from 0 to 4294967295



=== TEST 29: a negative hash seed
--- config_error
wsgi_python_hash_seed -1;
--- error: "wsgi_python_hash_seed" has invalid value "-1"



=== TEST 30: a hash seed that is no number
--- config_error
wsgi_python_hash_seed Random;
--- error: "wsgi_python_hash_seed" has invalid value "Random"



=== TEST 31: a switch interval of nothing
--- config_error
wsgi_switch_interval 0;
--- error: "wsgi_switch_interval" has invalid value "0": must be a number of seconds greater than 0



=== TEST 32: a switch interval that is no number
--- config_error
wsgi_switch_interval 5ms;
--- error: "wsgi_switch_interval" has invalid value "5ms"



=== TEST 33: a switch interval without an end
--- config_error
wsgi_switch_interval inf;
--- error: "wsgi_switch_interval" has invalid value "inf"



=== TEST 34: switch-interval of nothing
--- config_error
wsgi_daemon_process g switch-interval=0.0;
--- error: has invalid switch-interval "0.0": must be a number of seconds greater than 0



=== TEST 35: an empty lang
--- config_error
wsgi_daemon_process g lang=;
--- error: has invalid lang ""



=== TEST 36: an empty locale
--- config_error
wsgi_daemon_process g locale=;
--- error: has invalid locale ""



=== TEST 37: a virtual environment of another Python
--- http_config
wsgi_python_home @DIR@/venv;
--- config
--- user_files
>>> venv/pyvenv.cfg
home = /usr/bin
version = 3.1.4
>>> venv/lib/python3.1/site-packages/README
--- must_die
--- suppress_stderr
--- error_log eval
qr/\[emerg\].*venv" is a virtual environment of Python 3\.1\.4, not of @VERSION@.* in \S+\/nginx\.conf:\d+$/m



=== TEST 38: a virtual environment of another Python that doesn't say so
--- http_config
wsgi_python_home @DIR@/venv;
--- config
--- user_files
>>> venv/pyvenv.cfg
home = /usr/bin
>>> venv/lib/python3.1/site-packages/README
--- must_die
--- suppress_stderr
--- error_log eval
qr/\[emerg\].*venv" is a virtual environment of Python 3\.1, not of @VERSION@.* in \S+\/nginx\.conf:\d+$/m



=== TEST 39: an installation of another Python
--- http_config
wsgi_daemon_process g python-home=@DIR@/other;
--- config
--- user_files
>>> other/lib/python3.1/os.py
pass
--- must_die
--- suppress_stderr
--- error_log eval
qr/\[emerg\].*"g": python-home "\S+other" is an installation of Python 3\.1, not of @VERSION@.* in \S+\/nginx\.conf:\d+$/m



=== TEST 40: the Python of another executable is its own business
--- http_config
wsgi_daemon_executable $TEST_NGINX_WSGI_HOST;
wsgi_daemon_process g python-home=@DIR@/venv threads=1;
--- user_files
>>> venv/pyvenv.cfg
home = /usr/bin
version = 3.1.4
>>> app.wsgi
@REPLY never@
--- config
wsgi_script_alias / @DIR@/app.wsgi process-group=g;
--- request
GET /
--- error_code: 500
--- error_log
is a virtual environment of Python 3.1.4, not of



=== TEST 41: directives that have no effect
--- http_config
wsgi_reload_mechanism Process;
wsgi_python_executable /usr/bin/python;
wsgi_py3k_warning_flag on;
wsgi_accept_mutex fcntl;
wsgi_socket_rotation off;
wsgi_enable_sendfile on;
wsgi_verbose_debugging on;
wsgi_pass_apache_request on;
wsgi_telemetry_service unix:/run/telemetry interval=1;
--- config
location / {
    wsgi_reload_mechanism Module;
    return 200 "ok\n";
}
--- request
GET /
--- response_body
ok
--- error_log eval
[qr/\[warn\].*"wsgi_reload_mechanism" is obsolete and has no effect: .*a daemon process is replaced.* in \S+nginx\.conf:\d+/,
 qr/\[warn\].*"wsgi_python_executable" is obsolete and has no effect: .*wsgi_python_home.* in \S+nginx\.conf:\d+/,
 qr/\[warn\].*"wsgi_py3k_warning_flag" is obsolete and has no effect: .*Python 2.* in \S+nginx\.conf:\d+/,
 qr/\[warn\].*"wsgi_accept_mutex" is obsolete and has no effect: .*do not compete.* in \S+nginx\.conf:\d+/,
 qr/\[warn\].*"wsgi_socket_rotation" is obsolete and has no effect: .*until their last request.* in \S+nginx\.conf:\d+/,
 qr/\[warn\].*"wsgi_enable_sendfile" is obsolete and has no effect: .*wsgi.file_wrapper.* in \S+nginx\.conf:\d+/,
 qr/\[warn\].*"wsgi_verbose_debugging" is obsolete and has no effect: .*error_log.* in \S+nginx\.conf:\d+/,
 qr/\[warn\].*"wsgi_pass_apache_request" is obsolete and has no effect: .*no Apache request.* in \S+nginx\.conf:\d+/,
 qr/\[warn\].*"wsgi_telemetry_service" is obsolete and has no effect: .*"wsgi_status" shows.* in \S+nginx\.conf:\d+/]



=== TEST 27: wsgi_restrict_embedded neither on nor off
--- config_error
wsgi_restrict_embedded maybe;
--- error: invalid value "maybe" in "wsgi_restrict_embedded" directive
