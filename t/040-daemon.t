# Daemon process groups: their options, and what a process of one looks like.

use WsgiTest;

run_wsgi_tests();

__DATA__

=== TEST 1: not in the worker, and always the same process
--- mode: daemon
--- app
import os
first = os.getpid()

def application(environ, start_response):
    start_response('200 OK', [])
    same = os.getpid() == first
    outside = str(os.getpid()) != environ['mod_wsgi.server_pid']
    return [b'%d %d' % (same, outside)]
--- request eval
["GET /", "GET /", "GET /"]
--- response_body eval
["1 1", "1 1", "1 1"]



=== TEST 2: not a child of nginx
--- mode: daemon
--- app
import os

def application(environ, start_response):
    with open('/proc/%d/cmdline' % os.getppid(), 'rb') as cmdline:
        parent = cmdline.read()
    start_response('200 OK', [])
    return [b'supervisor' if b'wsgi' in parent and str(os.getppid()) != environ['mod_wsgi.server_pid'] else parent]
--- request
GET /
--- response_body: supervisor



=== TEST 3: threads
--- mode: daemon
--- daemon_options: threads=3
--- app
import threading, time
running, most, lock = 0, 0, threading.Lock()

def application(environ, start_response):
    global running, most
    with lock:
        running += 1
        most = max(most, running)
    if environ['PATH_INFO'] == '/wait':
        time.sleep(0.3)
    with lock:
        running -= 1
    start_response('200 OK', [])
    return [b'%d' % most]
--- config
wsgi_script_alias / @DIR@/app.wsgi @GROUP@ application-group=a;
location /all {
    wsgi_script_alias off;
    ssi on;
    ssi_types text/plain;
    root @DIR@;
    default_type text/plain;
}
--- user_files eval
">>> all\n" . join("", map { "<!--# include virtual=\"/wait?$_\" -->" } 1 .. 6) . "\n"
--- request eval
["GET /all", "GET /"]
--- response_body_like eval
["\\d", "^3\$"]



=== TEST 4: thread ids
--- mode: daemon
--- daemon_options: threads=2
--- app
@SHOW mod_wsgi.thread_id@
--- request
GET /
--- response_body_like: ^mod_wsgi.thread_id=[12]$



=== TEST 5: umask
--- mode: daemon
--- daemon_options: umask=0027
--- app
import os

def application(environ, start_response):
    mask = os.umask(0)
    os.umask(mask)
    start_response('200 OK', [])
    return [b'%04o' % mask]
--- request
GET /
--- response_body: 0027



=== TEST 6: home is the working directory and first on sys.path
--- mode: daemon
--- daemon_options: home=$TEST_NGINX_HTML_DIR/home
--- user_files
>>> home/at_home.py
text = 'at home'
--- app
import os, sys
import at_home

def application(environ, start_response):
    start_response('200 OK', [])
    same = os.getcwd() == sys.path[0] == os.path.dirname(__file__) + '/home'
    return [b'%s %d' % (at_home.text.encode(), same)]
--- request
GET /
--- response_body: at home 1



=== TEST 7: python-path comes first, with its .pth files
--- mode: daemon
--- daemon_options: python-path=$TEST_NGINX_HTML_DIR/lib:$TEST_NGINX_HTML_DIR/lib2
--- user_files
>>> lib/one.py
>>> lib/more.pth
../more
>>> more/two.py
>>> lib2/three.py
>>> lib2/json/__init__.py
mine = True
--- app
import os, sys
import one, two, three, json

def application(environ, start_response):
    start_response('200 OK', [])
    here = os.path.dirname(__file__)
    return [b'%d %d' % (sys.path.index(here + '/lib') < sys.path.index(here + '/lib2'), json.mine)]
--- request
GET /
--- response_body: 1 1



=== TEST 8: wsgi_python_path doesn't reach daemons
--- mode: daemon
--- user_files
>>> lib/one.py
--- app
import sys

def application(environ, start_response):
    start_response('200 OK', [])
    return [b'%d' % any(p.endswith('/html/lib') for p in sys.path)]
--- http_config
wsgi_python_path @DIR@/lib;
--- request
GET /
--- response_body: 0



=== TEST 9: display-name
--- mode: daemon
--- daemon_options: "display-name=%{GROUP} and more"
--- app
def application(environ, start_response):
    start_response('200 OK', [])
    with open('/proc/self/cmdline') as f:
        return [f.read().rstrip('\0').encode()]
--- request
GET /
--- response_body_like: ^\(wsgi:daemon\) and more



=== TEST 10: the user is nginx's unless there is another
--- mode: daemon
--- skip_eval: 3:$> != 0
--- app
import grp, os, pwd

def application(environ, start_response):
    start_response('200 OK', [])
    user = pwd.getpwuid(os.getuid())
    groups = {os.getgid(), *os.getgroups()} == set(os.getgrouplist(user.pw_name, user.pw_gid))
    return [b'%s %d %d %s' % (user.pw_name.encode(), os.getuid() == os.geteuid(), groups, os.environ['HOME'].encode() == user.pw_dir.encode() and b'home')]
--- http_config
wsgi_daemon_process mine user=nobody;
--- config
wsgi_script_alias /mine @DIR@/app.wsgi process-group=mine;
wsgi_script_alias / @DIR@/app.wsgi process-group=daemon;
--- request eval
["GET /", "GET /mine"]
--- response_body eval
["www-data 1 1 home", "nobody 1 1 home"]



=== TEST 11: privileges don't come back
--- mode: daemon
--- skip_eval: 3:$> != 0
--- app
import os

def application(environ, start_response):
    start_response('200 OK', [])
    try:
        os.setuid(0)
    except PermissionError:
        pass
    with open('/proc/self/status') as f:
        status = dict(line.rstrip('\n').split(':\t', 1) for line in f)
    return [('%s %s %s' % (status['Uid'].split()[0] != '0', int(status['CapEff'], 16), status['NoNewPrivs'])).encode()]
--- request
GET /
--- response_body: True 0 1



=== TEST 12: nothing of nginx is open there
--- mode: daemon
--- app
import os

def application(environ, start_response):
    kinds = set()
    for fd in os.listdir('/proc/self/fd'):
        try:
            kinds.add(os.readlink('/proc/self/fd/' + fd))
        except OSError:
            pass
    with open('/proc/net/tcp') as f:
        tcp = {'socket:[%s]' % line.split()[9] for line in list(f)[1:]}
    start_response('200 OK', [])
    return [repr(sorted(kinds & tcp) + [k for k in kinds if 'access.log' in k or 'nginx.pid' in k]).encode()]
--- request
GET /
--- response_body: []



=== TEST 13: a group of several processes
--- mode: daemon
--- daemon_options: processes=2 threads=1
--- app
import os, time

def application(environ, start_response):
    time.sleep(0.3)
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'%d ' % os.getpid()]
--- config
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
location /all {
    wsgi_script_alias off;
    ssi on;
    ssi_types text/plain;
    default_type text/plain;
    root @DIR@;
}
--- user_files
>>> all
<!--# include virtual="/a" --><!--# include virtual="/b" -->
--- request
GET /all
--- response_body_like eval
qr/^(\d+) (?!\1)\d+ /



=== TEST 14: a group defined in a server
--- mode: daemon
--- app
@SHOW mod_wsgi.process_group@
--- config
wsgi_daemon_process inner threads=1;
wsgi_script_alias / @DIR@/app.wsgi process-group=inner;
--- request
GET /
--- response_body
mod_wsgi.process_group='inner'



=== TEST 15: sockets have the prefix, and are closed to others
--- mode: daemon
--- app
import glob, os, stat

def application(environ, start_response):
    start_response('200 OK', [])
    found = glob.glob(os.path.dirname(__file__) + '/../logs/mine.*.sock')
    modes = {stat.S_IMODE(os.stat(path).st_mode) & 0o077 for path in found}
    return [b'%d %s' % (len(found), repr(modes).encode())]
--- http_config
wsgi_socket_prefix $TEST_NGINX_SERVER_ROOT/logs/mine;
--- request
GET /
--- response_body: 3 {0}



=== TEST 16: a process that dies is replaced, and the log says why
--- mode: daemon
--- app
import os, signal

def application(environ, start_response):
    if environ['PATH_INFO'] == '/die':
        os.kill(os.getpid(), signal.SIGKILL)
    start_response('200 OK', [])
    return [b'alive\n']
--- request eval
["GET /", "GET /die", "GET /"]
--- error_code eval
[200, 502, 200]
--- no_error_log
[alert]



=== TEST 17: the log says why a process died, and what it was running
--- mode: daemon
--- app
import os, signal

def application(environ, start_response):
    os.kill(os.getpid(), signal.SIGKILL)
--- request
GET /die
--- error_code: 502
--- error_log eval
qr{\[error\].*Process 'daemon' \(pid \d+\) has died, terminated by signal 9.*GET /die}
--- wait: 0.3



=== TEST 18: no group can be used that is not configured for Python
--- mode: daemon
--- daemon_options: threads=1 python-path=$TEST_NGINX_HTML_DIR/nowhere
--- app
@REPLY app@
--- request
GET /
--- response_body
app



=== TEST 19: standard streams outside a request
--- mode: daemon
--- app
import sys
print('while loading')
print('while loading, to stderr', file=sys.stderr)

@REPLY app@
--- request
GET /
--- response_body
app
--- error_log
while loading
while loading, to stderr
