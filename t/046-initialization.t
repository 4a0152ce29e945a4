# wsgi_lazy_initialization. Processes and their lives are in tests/test_initialization.py.

use WsgiTest;

run_wsgi_tests();

__DATA__

=== TEST 1: daemon processes share the Python of the process that they are forked from
--- app
import gc

def application(environ, start_response):
    start_response('200 OK', [])
    return [b'shared' if gc.get_freeze_count() > 2000 else b'own']
--- http_config
wsgi_lazy_initialization off;
--- config
wsgi_script_alias / @DIR@/app.wsgi @GROUP@ "application-group=%{GLOBAL}";
--- request
GET /
--- response_body eval
'@MODE@' eq 'daemon' ? 'shared' : 'own'



=== TEST 2: not by default
--- app
import gc

def application(environ, start_response):
    start_response('200 OK', [])
    return [b'shared' if gc.get_freeze_count() > 2000 else b'own']
--- config
wsgi_script_alias / @DIR@/app.wsgi @GROUP@ "application-group=%{GLOBAL}";
--- request
GET /
--- response_body: own



=== TEST 3: other interpreters, threads and imports work in such processes
--- app
import concurrent.futures, subprocess

def application(environ, start_response):
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        numbers = list(pool.map(lambda n: n * n, range(4)))
    child = subprocess.run(['echo', '7'], capture_output=True)
    start_response('200 OK', [])
    return [repr((numbers, child.stdout)).encode()]
--- http_config
wsgi_lazy_initialization off;
--- config
wsgi_script_alias /main @DIR@/app.wsgi @GROUP@ "application-group=%{GLOBAL}";
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- request eval
["GET /main", "GET /", "GET /main"]
--- response_body eval
[("([0, 1, 4, 9], b'7\\n')") x 3]



=== TEST 4: on or off
--- config_error
wsgi_lazy_initialization never;
--- error: invalid value "never" in "wsgi_lazy_initialization" directive, it must be "on" or "off"



=== TEST 5: for all of the server
--- config_error
server { wsgi_lazy_initialization off; }
--- error: "wsgi_lazy_initialization" directive is not allowed here
