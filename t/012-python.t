# How Python starts, and what interpreters may do.

use WsgiTest;

BEGIN {
    # What daemon processes find in the environment of nginx.
    $ENV{HOME} = '/nowhere';
    $ENV{USER} = 'somebody';
    $ENV{LOGNAME} = 'somebody';
    delete @ENV{qw(USERNAME PYTHONDONTWRITEBYTECODE PYTHONHASHSEED PYTHONWARNINGS)};
}

run_wsgi_tests();

__DATA__

=== TEST 1: not optimised
--- invalid: asks for its callable's __doc__, which the validator hides
--- app
def application(environ, start_response):
    'text'
    start_response('200 OK', [])
    return [b'%d %d' % (__debug__, application.__doc__ == 'text')]
--- request
GET /
--- response_body: 1 1



=== TEST 2: wsgi_python_optimize 1 drops assertions, in every interpreter
--- invalid: asks for its callable's __doc__, which the validator hides
--- app
import sys
assert False

def application(environ, start_response):
    'text'
    start_response('200 OK', [])
    return [b'%d %d %d' % (__debug__, application.__doc__ == 'text', sys.flags.optimize)]
--- http_config
wsgi_python_optimize 1;
--- config
wsgi_script_alias /main @DIR@/app.wsgi @GROUP@ "application-group=%{GLOBAL}";
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- request eval
["GET /main", "GET /"]
--- response_body eval
["0 1 1", "0 1 1"]



=== TEST 3: wsgi_python_optimize 2 drops documentation, too
--- app
def application(environ, start_response):
    'text'
    start_response('200 OK', [])
    return [repr(application.__doc__).encode()]
--- http_config
wsgi_python_optimize 2;
--- request
GET /
--- response_body: None



=== TEST 4: wsgi_python_warnings, the last that fits counts, in every interpreter
--- app
import sys
import warnings

def outcome(category):
    try:
        warnings.warn('text', category)
        return 'ignored'
    except Warning as error:
        return type(error).__name__

def application(environ, start_response):
    start_response('200 OK', [])
    text = ' '.join([*sys.warnoptions, outcome(UserWarning), outcome(FutureWarning)])
    return [text.encode()]
--- http_config
wsgi_python_warnings ignore;
wsgi_python_warnings error::UserWarning;
--- config
wsgi_script_alias /main @DIR@/app.wsgi @GROUP@ "application-group=%{GLOBAL}";
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- request eval
["GET /main", "GET /"]
--- response_body eval
[("ignore error::UserWarning UserWarning ignored") x 2]



=== TEST 5: filters apply to warnings that Python itself issues
--- app
import sys

def application(environ, start_response):
    start_response('200 OK', [])
    try:
        compile('1 is 1', 'x', 'eval')
    except SyntaxError:
        return [b'error']
    return [b'nothing']
--- http_config
wsgi_python_warnings error::SyntaxWarning;
--- request
GET /
--- response_body: error



=== TEST 6: wsgi_python_eggs is for embedded applications
--- app
import os

def application(environ, start_response):
    start_response('200 OK', [])
    return [os.path.basename(os.environ.get('PYTHON_EGG_CACHE', '/unset')).encode()]
--- http_config
wsgi_python_eggs @DIR@/eggs;
--- config
wsgi_script_alias /main @DIR@/app.wsgi @GROUP@ "application-group=%{GLOBAL}";
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- request eval
["GET /main", "GET /"]
--- response_body eval
[('@MODE@' eq 'embedded' ? 'eggs' : 'unset') x 2]



=== TEST 7: python-eggs
--- mode: daemon
--- daemon_options: python-eggs=/var/cache/eggs
--- app
import os

def application(environ, start_response):
    start_response('200 OK', [])
    return [os.environ['PYTHON_EGG_CACHE'].encode()]
--- request
GET /
--- response_body: /var/cache/eggs



=== TEST 8: byte code is written
--- app
import sys

def application(environ, start_response):
    start_response('200 OK', [])
    return [b'%d' % sys.dont_write_bytecode]
--- request
GET /
--- response_body: 0



=== TEST 9: wsgi_dont_write_bytecode
--- app
import sys

def application(environ, start_response):
    start_response('200 OK', [])
    return [b'%d' % sys.dont_write_bytecode]
--- http_config
wsgi_dont_write_bytecode on;
--- config
wsgi_script_alias /main @DIR@/app.wsgi @GROUP@ "application-group=%{GLOBAL}";
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- request eval
["GET /main", "GET /"]
--- response_body eval
["1", "1"]



=== TEST 10: wsgi_python_hash_seed makes hashes repeatable
--- app
def application(environ, start_response):
    start_response('200 OK', [])
    return [b'%d' % hash('text')]
--- http_config
wsgi_python_hash_seed 4294967295;
--- request
GET /
--- response_body eval
qx{PYTHONHASHSEED=4294967295 $ENV{PYTHON} -c "print(hash('text'), end='')"}



=== TEST 11: seed 0
--- app
import sys

def application(environ, start_response):
    start_response('200 OK', [])
    return [b'%d %d' % (sys.flags.hash_randomization, hash('text'))]
--- http_config
wsgi_python_hash_seed 0;
--- request
GET /
--- response_body eval
qx{PYTHONHASHSEED=0 $ENV{PYTHON} -c "print(0, hash('text'), end='')"}



=== TEST 12: wsgi_python_hash_seed random is random, whatever the environment says
--- mode: embedded
--- app
import sys

def application(environ, start_response):
    start_response('200 OK', [])
    return [b'%d' % sys.flags.hash_randomization]
--- main_config
env PYTHONHASHSEED=0;
--- http_config
wsgi_python_hash_seed random;
--- request
GET /
--- response_body: 1



=== TEST 13: the environment's hash seed counts when there is no directive
--- mode: embedded
--- app
import sys

def application(environ, start_response):
    start_response('200 OK', [])
    return [b'%d' % sys.flags.hash_randomization]
--- main_config
env PYTHONHASHSEED=0;
--- request
GET /
--- response_body: 0



=== TEST 14: wsgi_switch_interval is for embedded applications
--- app
import sys

def application(environ, start_response):
    start_response('200 OK', [])
    return [b'%g' % sys.getswitchinterval()]
--- http_config
wsgi_switch_interval 0.025;
--- request
GET /
--- response_body eval
'@MODE@' eq 'embedded' ? '0.025' : '0.005'



=== TEST 15: switch-interval
--- mode: daemon
--- daemon_options: switch-interval=0.5
--- app
import sys

def application(environ, start_response):
    start_response('200 OK', [])
    return [b'%g' % sys.getswitchinterval()]
--- request
GET /
--- response_body: 0.5



=== TEST 16: an interpreter's switch interval isn't set back by the next one
--- app
import sys

def application(environ, start_response):
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.125)
    start_response('200 OK', [])
    return [b'%g' % before]
--- daemon_options: switch-interval=0.5 threads=1
--- http_config
wsgi_switch_interval 0.5;
wsgi_embedded_threads 1;
--- config
wsgi_script_alias /one @DIR@/app.wsgi @GROUP@ application-group=one;
location /all { wsgi_script_alias off; root @DIR@; ssi on; ssi_types text/plain; default_type text/plain; }
wsgi_script_alias /two @DIR@/app.wsgi @GROUP@ application-group=two;
--- user_files
>>> all
<!--# include virtual="/one" wait="yes" --> <!--# include virtual="/two" wait="yes" -->
--- request
GET /all
--- response_body
0.5 0.125



=== TEST 17: sys.stdin is empty
--- app
import sys

def application(environ, start_response):
    start_response('200 OK', [])
    return [repr(sys.stdin.read()).encode()]
--- request
GET /
--- response_body: ''



=== TEST 18: wsgi_restrict_stdin
--- app
import sys

def outcome(call):
    try:
        return repr(call())
    except Exception as error:
        return '%s: %s' % (type(error).__name__, error)

def application(environ, start_response):
    start_response('200 OK', [])
    calls = lambda: sys.stdin.read(), lambda: sys.stdin.nothing, input
    return [outcome(call).encode() + b'\n' for call in calls]
--- http_config
wsgi_restrict_stdin on;
--- config
wsgi_script_alias /main @DIR@/app.wsgi @GROUP@ "application-group=%{GLOBAL}";
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- request eval
["GET /main", "GET /"]
--- response_body eval
[("OSError: sys.stdin access restricted by mod_wsgi\n" x 3) x 2]



=== TEST 19: sys.stdout goes to the log
--- app
def application(environ, start_response):
    print('printed', 'text')
    start_response('200 OK', [])
    return [b'ok']
--- request
GET /
--- response_body: ok
--- error_log
printed text



=== TEST 20: wsgi_restrict_stdout
--- app
import sys

def outcome(call):
    try:
        return repr(call())
    except Exception as error:
        return '%s: %s' % (type(error).__name__, error)

def application(environ, start_response):
    start_response('200 OK', [])
    first = outcome(lambda: print('printed text'))
    second = outcome(lambda: sys.stdout.encoding)
    sys.stdout = sys.stderr
    print('redirected text')
    return [(first + '\n' + second).encode()]
--- http_config
wsgi_restrict_stdout on;
--- config
wsgi_script_alias /main @DIR@/app.wsgi @GROUP@ "application-group=%{GLOBAL}";
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- request eval
["GET /main", "GET /"]
--- response_body eval
[("OSError: sys.stdout access restricted by mod_wsgi\nOSError: sys.stdout access restricted by mod_wsgi") x 2]
--- error_log
redirected text
--- no_error_log
printed text



=== TEST 21: signal handlers aren't registered, and the log says who tried
--- app
import signal

def handler(number, frame):
    pass

def register():
    return signal.signal(signalnum=signal.SIGUSR2, handler=handler)

def application(environ, start_response):
    start_response('200 OK', [])
    same = register() is handler
    return [b'%d %d' % (same, signal.getsignal(signal.SIGUSR2) is handler)]
--- config
wsgi_script_alias /main @DIR@/app.wsgi @GROUP@ "application-group=%{GLOBAL}";
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- request eval
["GET /main", "GET /"]
--- response_body eval
["1 0", "1 0"]
--- grep_error_log eval
qr/\[info\].* (Ignoring Python signal handler registration for signal \d+|in register)/
--- grep_error_log_out eval
my $both = qr/\[info\].* Ignoring Python signal handler registration for signal 12\n\[info\].* in register\n/;
[qr/^$both$/, qr/^$both$/]



=== TEST 22: a process that the application has forked may do as it likes
--- app
import os
import signal

def application(environ, start_response):
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            signal.signal(signal.SIGUSR2, signal.SIG_IGN)
            os.write(write, b'%d' % (signal.getsignal(signal.SIGUSR2) is signal.SIG_IGN))
        except BaseException as error:
            os.write(write, repr(error).encode())
        finally:
            os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    answer = os.read(read, 1000)
    os.close(read)
    start_response('200 OK', [])
    return [answer]
--- config
wsgi_script_alias / @DIR@/app.wsgi @GROUP@ "application-group=%{GLOBAL}";
--- request
GET /
--- response_body: 1
--- no_error_log
Ignoring



=== TEST 23: wsgi_restrict_signal off leaves it to Python
--- app
import signal

def application(environ, start_response):
    start_response('200 OK', [])
    try:
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    except ValueError as error:
        return [str(error)[:37].encode()]
    return [b'registered']
--- http_config
wsgi_restrict_signal off;
--- request
GET /
--- response_body: signal only works in main thread of t
--- no_error_log
Ignoring



=== TEST 24: scripts are told apart by letter case
--- app
import hashlib

def application(environ, start_response):
    start_response('200 OK', [])
    digest = hashlib.md5(__file__.encode()).hexdigest()
    return [b'%d %s' % (__name__ == '_mod_wsgi_' + digest, environ['mod_wsgi.application_group'].encode())]
--- config
wsgi_script_alias /App @DIR@/app.wsgi @GROUP@;
--- request
GET /App
--- response_body_like: ^1 localhost(:\d+)?\|/App$



=== TEST 25: wsgi_case_sensitivity off
--- app
import hashlib

def application(environ, start_response):
    start_response('200 OK', [])
    digest = hashlib.md5(__file__.lower().encode()).hexdigest()
    return [b'%d %s' % (__name__ == '_mod_wsgi_' + digest, environ['mod_wsgi.application_group'].encode())]
--- http_config
wsgi_case_sensitivity off;
--- config
wsgi_script_alias /App @DIR@/SCRIPTS @GROUP@;
--- user_files
>>> SCRIPTS/Upper.wsgi
import os
with open(os.path.dirname(os.path.dirname(__file__)) + '/app.wsgi') as app:
    exec(app.read())
--- request
GET /App/Upper.wsgi
--- response_body_like: ^1 localhost(:\d+)?\|/app/upper.wsgi$



=== TEST 26: a virtual environment
--- app
import os, sys
import in_environment, beside

def application(environ, start_response):
    start_response('200 OK', [])
    home = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + '/html/venv'
    return [b'%d %s %s' % (sys.prefix == home, in_environment.text.encode(), beside.text.encode())]
--- http_config
wsgi_python_home @DIR@/venv;
--- user_files
>>> venv/pyvenv.cfg
home = @BIN@
include-system-site-packages = false
version = @VERSION@.99
>>> venv/bin/README
>>> venv/lib/python@VERSION@/site-packages/in_environment.py
text = 'inside'
>>> venv/lib/python@VERSION@/site-packages/more.pth
../../../../more
>>> more/beside.py
text = 'beside'
--- config
wsgi_script_alias /main @DIR@/app.wsgi @GROUP@ "application-group=%{GLOBAL}";
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- request eval
["GET /main", "GET /"]
--- response_body eval
["1 inside beside", "1 inside beside"]



=== TEST 27: python-home of a group comes before wsgi_python_home
--- mode: daemon
--- daemon_options: python-home=$TEST_NGINX_HTML_DIR/venv
--- app
import os, sys

def application(environ, start_response):
    start_response('200 OK', [])
    return [os.path.basename(sys.prefix).encode()]
--- http_config
wsgi_python_home @DIR@/other;
--- user_files
>>> venv/pyvenv.cfg
home = @BIN@
version = @VERSION@.99
>>> venv/lib/python@VERSION@/site-packages/README
>>> other/pyvenv.cfg
home = @BIN@
version = @VERSION@.99
>>> other/lib/python@VERSION@/site-packages/README
--- request
GET /
--- response_body: venv



=== TEST 28: an installation
--- app
import os, sys

def application(environ, start_response):
    start_response('200 OK', [])
    return [(sys.prefix + ' ' + os.path.dirname(sys.executable)).encode()]
--- http_config
wsgi_python_home @PREFIX@;
--- request
GET /
--- response_body: @PREFIX@ @BIN@



=== TEST 29: prefix and exec_prefix
--- app
import sys

def application(environ, start_response):
    start_response('200 OK', [])
    return [(sys.prefix + ' ' + sys.exec_prefix).encode()]
--- http_config
wsgi_python_home @PREFIX@:@DIR@/exec;
--- user_files
>>> exec/lib/python@VERSION@/lib-dynload/README
--- request
GET /
--- response_body_like: ^@PREFIX@ .*/exec$



=== TEST 30: a home that turns out to be unusable fails requests with one line
--- app
@REPLY never@
--- http_config
wsgi_python_home @DIR@/broken;
--- user_files
>>> broken/lib/python@VERSION@/os.py
>>> broken/lib/python@VERSION@/encodings/__init__.py
--- request eval
["GET /", "GET /"]
--- error_code eval
[500, 500]
--- error_log
Python could not be initialised
--- no_error_log
exited on signal



=== TEST 31: lang and locale
--- mode: daemon
--- daemon_options: lang=en_GB.UTF-8 locale=C.UTF-8
--- app
import locale, os

def application(environ, start_response):
    start_response('200 OK', [])
    text = '%s %s %s' % (os.environ['LANG'], os.environ['LC_ALL'], locale.setlocale(locale.LC_COLLATE))
    return [text.encode()]
--- request
GET /
--- response_body: en_GB.UTF-8 C.UTF-8 C.UTF-8
--- no_error_log
no locale



=== TEST 32: a locale that the system lacks
--- mode: daemon
--- daemon_options: locale=xx_YY.UTF-8
--- app
@REPLY ok@
--- request
GET /
--- response_body
ok
--- error_log
daemon process group "daemon": no locale "xx_YY.UTF-8" here



=== TEST 33: the environment of a daemon names its user
--- mode: daemon
--- app
import os, pwd

def application(environ, start_response):
    user = pwd.getpwuid(os.geteuid())
    right = [os.environ[name] == user.pw_name for name in ('USER', 'LOGNAME')]
    right += [os.environ['HOME'] == user.pw_dir, 'USERNAME' not in os.environ]
    right += [os.getcwd() == (os.path.realpath(user.pw_dir) if os.path.isdir(user.pw_dir) else '/')]
    start_response('200 OK', [])
    return [repr(right).encode()]
--- request
GET /
--- response_body: [True, True, True, True, True]
