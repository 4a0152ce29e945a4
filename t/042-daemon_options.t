# Options of wsgi_daemon_process, by what they do to a process and its connections.

use WsgiTest;

run_wsgi_tests();

__DATA__

=== TEST 1: supplementary-groups replaces the user's, beside the primary group
--- mode: daemon
--- daemon_options: threads=1 user=nobody group=daemon supplementary-groups=games,#54321,daemon
--- skip_eval: 3:$> != 0
--- app
import grp, os

def application(environ, start_response):
    expected = {grp.getgrnam('daemon').gr_gid, grp.getgrnam('games').gr_gid, 54321}
    start_response('200 OK', [])
    return [b'%d %d' % (os.getgid() == grp.getgrnam('daemon').gr_gid, set(os.getgroups()) == expected)]
--- request
GET /
--- response_body: 1 1



=== TEST 2: group
--- mode: daemon
--- daemon_options: threads=1 group=games
--- skip_eval: 3:$> != 0
--- app
import grp, os

def application(environ, start_response):
    start_response('200 OK', [])
    return [grp.getgrgid(os.getgid()).gr_name.encode(), b' %d' % (0 in os.getgroups())]
--- request
GET /
--- response_body: games 0



=== TEST 3: stack-size
--- mode: daemon
--- daemon_options: threads=1 stack-size=1m
--- app
import ctypes

def application(environ, start_response):
    c = ctypes.CDLL(None)
    c.pthread_self.restype = ctypes.c_ulong
    attributes, size = ctypes.create_string_buffer(256), ctypes.c_size_t()
    c.pthread_getattr_np(ctypes.c_ulong(c.pthread_self()), attributes)
    c.pthread_attr_getstacksize(attributes, ctypes.byref(size))
    start_response('200 OK', [])
    return [b'%d' % size.value]
--- request
GET /
--- response_body: 1048576



=== TEST 4: cpu-priority
--- mode: daemon
--- daemon_options: threads=1 cpu-priority=5
--- app
import os

def application(environ, start_response):
    start_response('200 OK', [])
    return [b'%d' % os.getpriority(os.PRIO_PROCESS, 0)]
--- request
GET /
--- response_body: 5



=== TEST 5: a higher priority is set while the process is still root
--- mode: daemon
--- daemon_options: threads=1 cpu-priority=-3
--- skip_eval: 3:$> != 0
--- app
import os

def application(environ, start_response):
    start_response('200 OK', [])
    return [b'%d %d' % (os.getpriority(os.PRIO_PROCESS, 0), os.getuid() == 0)]
--- request
GET /
--- response_body: -3 0



=== TEST 6: a priority that is refused is a warning
--- mode: daemon
--- daemon_options: threads=1 cpu-priority=-20
--- skip_eval: 4:$> == 0
--- app
@REPLY app@
--- request
GET /
--- response_body
app
--- error_log eval
qr/\[warn\].*daemon process group "daemon": cannot set the CPU priority to -20: /



=== TEST 7: limits of memory
--- mode: daemon
--- daemon_options: threads=1 memory-limit=2g virtual-memory-limit=8589934592
--- app
import resource

def application(environ, start_response):
    start_response('200 OK', [])
    limits = resource.getrlimit(resource.RLIMIT_DATA) + resource.getrlimit(resource.RLIMIT_AS)
    return [repr(limits).encode()]
--- request
GET /
--- response_body: (2147483648, 2147483648, 8589934592, 8589934592)



=== TEST 8: more memory than the limit is a MemoryError
--- mode: daemon
--- daemon_options: threads=1 virtual-memory-limit=1g
--- app
def application(environ, start_response):
    start_response('200 OK', [])
    try:
        bytearray(1 << 30)
    except MemoryError:
        return [b'MemoryError']
    return [b'unlimited']
--- request
GET /
--- response_body: MemoryError



=== TEST 9: a limit of 0 is none
--- mode: daemon
--- daemon_options: threads=1 memory-limit=0 virtual-memory-limit=0 cpu-time-limit=0
--- app
import resource

def application(environ, start_response):
    start_response('200 OK', [])
    names = resource.RLIMIT_DATA, resource.RLIMIT_AS, resource.RLIMIT_CPU
    # 0 of them: whatever limits nginx itself was started with.
    return [b'%d' % sum(resource.getrlimit(name)[0] == 0 for name in names)]
--- request
GET /
--- response_body: 0



=== TEST 10: cpu-time-limit leaves time for the shutdown before the kernel kills
--- mode: daemon
--- daemon_options: threads=1 cpu-time-limit=100 shutdown-timeout=7
--- app
import resource

def application(environ, start_response):
    start_response('200 OK', [])
    return [repr(resource.getrlimit(resource.RLIMIT_CPU)).encode()]
--- request
GET /
--- response_body: (100, 108)



=== TEST 11: listen-backlog
--- mode: daemon
--- daemon_options: threads=1 listen-backlog=3
--- app
import os, socket

def own_socket():
    for fd in os.listdir('/proc/self/fd'):
        try:
            s = socket.socket(fileno=os.dup(int(fd)))
        except OSError:
            continue
        if s.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            return s.getsockname()

def application(environ, start_response):
    # Nobody accepts while the only thread is here.
    path, waiting = own_socket(), []
    while len(waiting) < 1000:
        s = socket.socket(socket.AF_UNIX)
        s.setblocking(False)
        try:
            s.connect(path)
        except BlockingIOError:
            break
        waiting.append(s)
    for s in waiting:
        s.close()
    start_response('200 OK', [])
    return [b'%d' % len(waiting)]
--- request
GET /
--- response_body: 4



=== TEST 12: socket-user owns the sockets, nginx's workers reach them as its group
--- mode: daemon
--- daemon_options: threads=1 socket-user=nobody
--- skip_eval: 3:$> != 0
--- app
import glob, grp, os, pwd, stat

def application(environ, start_response):
    start_response('200 OK', [])
    found = [os.stat(path) for path in glob.glob(os.path.dirname(__file__) + '/../logs/wsgi.*.sock')]
    facts = {(s.st_uid, s.st_gid, stat.S_IMODE(s.st_mode)) for s in found}
    expected = {(pwd.getpwnam('nobody').pw_uid, pwd.getpwnam('www-data').pw_gid, 0o660)}
    return [b'%d %d' % (len(found), facts == expected)]
--- request
GET /
--- response_body: 3 1



=== TEST 13: socket-user may connect
--- mode: daemon
--- daemon_options: threads=2 user=nobody socket-user=nobody
--- skip_eval: 4:$> != 0
--- app
import glob, os, socket

def application(environ, start_response):
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(glob.glob(os.path.dirname(__file__) + '/../logs/wsgi.*.0.0.sock')[0])
        s.sendall(b'no frame')
        s.settimeout(10)
        try:
            s.recv(1)
        except ConnectionResetError:
            pass
    start_response('200 OK', [])
    return [b'done']
--- request
GET /
--- response_body: done
--- error_log
connection from nginx closed: 
--- no_error_log
refused



=== TEST 14: buffer sizes of the connection, which Linux doubles
--- mode: daemon
--- daemon_options: threads=1 send-buffer-size=16384 receive-buffer-size=32k
--- app
import os, socket

def connections():
    for fd in os.listdir('/proc/self/fd'):
        try:
            s = socket.socket(fileno=os.dup(int(fd)))
        except OSError:
            continue
        stream = s.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE) == socket.SOCK_STREAM
        if stream and not s.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            if s.getsockname():
                yield s

def application(environ, start_response):
    start_response('200 OK', [])
    options = socket.SO_SNDBUF, socket.SO_RCVBUF
    sizes = [[s.getsockopt(socket.SOL_SOCKET, option) for option in options] for s in connections()]
    return [repr(sizes).encode()]
--- request
GET /
--- response_body: [[32768, 65536]]



=== TEST 15: socket-timeout takes the place of nginx's own timeout
--- mode: daemon
--- daemon_options: threads=1 socket-timeout=1
--- app
import time

def application(environ, start_response):
    time.sleep(5)
    start_response('200 OK', [])
    return [b'late']
--- config
wsgi_read_timeout 60s;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- request
GET /
--- error_code: 504
--- error_log
upstream timed out



=== TEST 16: nginx's own timeout without it
--- mode: daemon
--- daemon_options: threads=1 socket-timeout=0
--- app
import time

def application(environ, start_response):
    time.sleep(5)
    start_response('200 OK', [])
    return [b'late']
--- config
wsgi_read_timeout 1s;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- request
GET /
--- error_code: 504
--- error_log
upstream timed out



=== TEST 17: a response header line that is longer than header-buffer-size
--- mode: daemon
--- daemon_options: threads=1 header-buffer-size=8192
--- app
def application(environ, start_response):
    start_response('200 OK', [('X-Long', 'x' * int(environ['QUERY_STRING']))])
    return [b'here']
--- config
wsgi_buffer_size 64k;
wsgi_buffers 8 64k;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- request
GET /?8185
--- error_code: 500
--- error_log
the line of header "X-Long" has 8193 bytes, header-buffer-size is 8192



=== TEST 18: a response header line that is as long as header-buffer-size
--- mode: daemon
--- daemon_options: threads=1 header-buffer-size=8192
--- app
def application(environ, start_response):
    start_response('200 OK', [('X-Long', 'x' * int(environ['QUERY_STRING']))])
    return [b'here']
--- config
wsgi_buffer_size 64k;
wsgi_buffers 8 64k;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- request
GET /?8184
--- response_body: here



=== TEST 19: header-buffer-size is 32768 by default, and 0 means that as well
--- mode: daemon
--- daemon_options: threads=1 header-buffer-size=0
--- app
def application(environ, start_response):
    start_response('200 OK', [('X-Long', 'x' * int(environ['QUERY_STRING']))])
    return [b'here']
--- http_config
wsgi_daemon_process larger threads=1 header-buffer-size=48k;
--- config
wsgi_buffer_size 64k;
wsgi_buffers 8 64k;
wsgi_script_alias /larger @DIR@/app.wsgi process-group=larger;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- request eval
["GET /?32760", "GET /?32761", "GET /larger?32761"]
--- error_code eval
[200, 500, 200]



=== TEST 20: a script that is not the script-user's
--- mode: daemon
--- http_config eval
"wsgi_daemon_process own script-user=#$>; wsgi_daemon_process others script-user=#54321;"
--- app
@REPLY app@
--- config
wsgi_script_alias /own @DIR@/app.wsgi process-group=own;
wsgi_script_alias /others @DIR@/app.wsgi process-group=others;
--- request
GET /others
--- error_code: 403
--- error_log eval
qr/"script-user" refuses the WSGI script \S+app.wsgi: \S+app.wsgi belongs to user \d+, not to 54321/



=== TEST 21: a script that is the script-user's
--- mode: daemon
--- http_config eval
"wsgi_daemon_process own script-user=#$>; wsgi_daemon_process others script-user=#54321;"
--- app
@REPLY app@
--- config
wsgi_script_alias /own @DIR@/app.wsgi process-group=own;
wsgi_script_alias /others @DIR@/app.wsgi process-group=others;
--- request
GET /own
--- response_body
app



=== TEST 22: a script that is not the script-group's
--- mode: daemon
--- http_config eval
"wsgi_daemon_process own script-group=#" . ($) + 0) . "; wsgi_daemon_process others script-group=#54321;"
--- app
@REPLY app@
--- config
wsgi_script_alias /own @DIR@/app.wsgi process-group=own;
wsgi_script_alias /others @DIR@/app.wsgi process-group=others;
--- request
GET /others
--- error_code: 403
--- error_log eval
qr/"script-group" refuses the WSGI script \S+app.wsgi: \S+app.wsgi belongs to group \d+, not to 54321/



=== TEST 23: a script that is the script-group's
--- mode: daemon
--- http_config eval
"wsgi_daemon_process own script-group=#" . ($) + 0) . "; wsgi_daemon_process others script-group=#54321;"
--- app
@REPLY app@
--- config
wsgi_script_alias /own @DIR@/app.wsgi process-group=own;
wsgi_script_alias /others @DIR@/app.wsgi process-group=others;
--- request
GET /own
--- response_body
app



=== TEST 24: a script outside the chroot, of chroot=
--- mode: daemon
--- skip_eval: 4:$> != 0
--- daemon_options: threads=1 chroot=/usr/bin
--- app
@REPLY app@
--- request
GET /
--- error_code: 500
--- error_log eval
[qr{\[error\].*WSGI script \S+app.wsgi is outside the chroot /usr/bin of daemon process group "daemon"},
 "[alert]"]



=== TEST 25: a script outside the chroot, of root=
--- mode: daemon
--- skip_eval: 4:$> != 0
--- daemon_options: threads=1 root=/usr/bin
--- app
@REPLY app@
--- request
GET /
--- error_code: 500
--- error_log eval
[qr{\[error\].*WSGI script \S+app.wsgi is outside the chroot /usr/bin of daemon process group "daemon"},
 "[alert]"]



=== TEST 26: chroot to the root directory, where everything is as it was
--- mode: daemon
--- skip_eval: 3:$> != 0
--- daemon_options: threads=1 chroot=/ home=$TEST_NGINX_HTML_DIR
--- app
import os

def application(environ, start_response):
    start_response('200 OK', [])
    same = os.getcwd() == os.path.dirname(__file__) == os.path.dirname(environ['SCRIPT_FILENAME'])
    return [b'%d' % same]
--- request
GET /
--- response_body: 1



=== TEST 27: options that nginx makes superfluous
--- mode: daemon
--- daemon_options: threads=1 response-buffer-size=65536 response-socket-timeout=30 response-flush-delay=5
--- app
@REPLY app@
--- request
GET /
--- response_body
app
--- error_log eval
[qr/\[warn\].*option "response-buffer-size=65536" has no effect: "wsgi_buffers" and "wsgi_max_temp_file_size" applies in \S+nginx\.conf:\d+/,
 qr/\[warn\].*option "response-socket-timeout=30" has no effect: "send_timeout" applies in \S+nginx\.conf:\d+/,
 qr/\[warn\].*option "response-flush-delay=5" has no effect: "wsgi_buffering" on or off applies in \S+nginx\.conf:\d+/]



=== TEST 28: shutdown-timeout
--- mode: daemon
--- daemon_options: threads=1 shutdown-timeout=1
--- app
import os, signal, time

def application(environ, start_response):
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(4)
    start_response('200 OK', [])
    return [b'finished']
--- request
GET /
--- error_code: 502
--- error_log
Shutdown timeout expired; aborting daemon process 'daemon'.



=== TEST 29: connect-timeout
--- mode: daemon
--- daemon_options: threads=1 connect-timeout=1 home=/nonexistent
--- app
@REPLY app@
--- request
GET /
--- error_code: 503
--- error_log
no process became ready within 1 s
