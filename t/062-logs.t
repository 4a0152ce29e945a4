# What applications write, as records of nginx's error log.

use WsgiTest;

run_wsgi_tests();

__DATA__

=== TEST 1: every way to a request's log, one record a line, with the request's context
--- app
import logging, sys, warnings

def application(environ, start_response):
    environ['wsgi.errors'].write('by wsgi.errors\nand a second line\n')
    print('by print')
    print('by stderr', file=sys.stderr)
    sys.stdout.buffer.write(b'by buffer\n')
    logging.warning('by logging')
    warnings.warn('by warnings')
    environ['wsgi.errors'].writelines(['by writel', 'ines\n'])
    start_response('200 OK', [])
    return [b'ok']
--- request
GET /path?a=b
--- response_body: ok
--- error_log eval
[map { qr/\[error\] \d+#\d+: \*\d+ $_ while .*client: 127\.0\.0\.1, server: localhost, request: "GET \/path\?a=b HTTP\/1\.1"/ }
 'by wsgi\.errors', 'and a second line', 'by print', 'by stderr', 'by buffer', 'WARNING:root:by logging',
 '\S+app\.wsgi:9: UserWarning: by warnings', 'by writelines']



=== TEST 2: a server's own error_log
--- app
def application(environ, start_response):
    print('in the server\'s log')
    start_response('200 OK', [])
    return [open(environ['DOCUMENT_ROOT'] + '/own.log').read().encode()]
--- user_files
>>> own.log
--- config
root @DIR@;
error_log @DIR@/own.log info;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
location = /own.log { wsgi_script_alias off; }
--- request eval
["GET /", "GET /own.log"]
--- response_body_like eval
["", qr/\[error\] \d+#\d+: \*\d+ in the server's log while .*request: "GET \/ HTTP/]
--- no_error_log
in the server's log



=== TEST 3: lines that are not complete wait for the rest, or for the end of the request
--- app
import sys

def application(environ, start_response):
    for text in ('one ', 'two ', 'three\nfo', 'ur'):
        print(text, end='')
        environ['wsgi.errors'].write(text.upper())
    environ['wsgi.errors'].flush()
    environ['wsgi.errors'].write('FIVE')
    start_response('200 OK', [])
    return [b'ok']
--- request
GET /
--- response_body: ok
--- error_log eval
[map { qr/\[error\] \d+#\d+: \*\d+ $_ while/ } 'one two three', 'four', 'ONE TWO THREE', 'FOUR', 'FIVE']



=== TEST 4: nothing of a long line is lost, and a NUL takes no other line with it
--- app
import re

def application(environ, start_response):
    if environ['PATH_INFO'] == '/read':
        log = open(environ['DOCUMENT_ROOT'] + '/own.log', errors='replace').read()
        records = re.findall(r'\[error\] \d+#\d+: \*\d+ ([ab\u20ac]+)', log)
        text = ''.join(records)
        answer = [text.count('a'), text.count('\u20ac'), text.count('b'), len(records) > 10,
                  bool(re.search(r'\*\d+ NUL', log))]
        start_response('200 OK', [])
        return [repr(answer).encode()]
    environ['wsgi.errors'].write('a' * 20000 + '\u20ac' * 5001 + 'b\n')
    print('NUL\0text')
    start_response('200 OK', [])
    return [b'ok']
--- user_files
>>> own.log
--- config
root @DIR@;
error_log @DIR@/own.log info;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- request eval
["GET /", "GET /read"]
--- response_body eval
["ok", "[20000, 5001, 1, True, True]"]



=== TEST 5: control characters do not pass for another record
--- app
def application(environ, start_response):
    print('first\r2026/01/01 00:00:00 [alert] forged\x1b[2J')
    start_response('200 OK', [])
    return [b'ok']
--- request
GET /
--- response_body: ok
--- error_log eval
qr/\[error\] \d+#\d+: \*\d+ first 2026\/01\/01 00:00:00 \[alert\] forged \[2J while/



=== TEST 6: wsgi.errors after the request
--- invalid: closes wsgi.errors
--- app
import sys

kept = []

def application(environ, start_response):
    answers = []
    for stream in kept:
        for call in (lambda: stream.write('late\n'), lambda: stream.writelines(['late\n']),
                     lambda: stream.buffer.write(b'late\n')):
            try:
                answers.append(call())
            except RuntimeError as error:
                answers.append(str(error))
    kept.append(environ['wsgi.errors'])
    start_response('200 OK', [])
    return ['\n'.join(map(str, answers)).encode()]
--- pipelined_requests eval
["GET /", "GET /"]
--- response_body eval
["", CORE::join "\n", ("write() called on wsgi.errors after request completed") x 3]
--- no_error_log
late



=== TEST 7: the streams are text streams without a descriptor
--- invalid: asks wsgi.errors for more than the validator lets through
--- app
import io, sys

def application(environ, start_response):
    answers = []
    for stream in (environ['wsgi.errors'], sys.stdout, sys.stderr):
        try:
            stream.fileno()
            answers.append('a descriptor')
        except OSError:
            answers.append('none')
        stream.reconfigure(encoding='utf-8', line_buffering=True)
        answers.append((stream.name, stream.isatty(), stream.writable(), stream.readable(), stream.seekable(),
                        stream.encoding, stream.errors, isinstance(stream, io.TextIOBase)))
        try:
            stream.write(b'bytes')
        except TypeError:
            continue
        answers.append('takes bytes')
    start_response('200 OK', [])
    return [repr(answers).encode()]
--- request
GET /
--- response_body eval
my @about = map { "'none', ('$_', False, True, False, False, 'utf-8', 'replace', True)" } '<wsgi.errors>', '<stdout>', '<stderr>';
'[' . CORE::join(", ", @about) . ']'



=== TEST 8: a thread that serves no request writes to the server's log
--- app
import threading

def work():
    print('from a thread')
    print('x' * 5000 + 'y')
    print('its last words', end='')

def application(environ, start_response):
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    start_response('200 OK', [])
    return [b'ok']
--- wait: 0.5
--- request
GET /
--- response_body: ok
--- error_log eval
[qr/\[error\] \d+#\d+: from a thread$/m, qr/\[error\] \d+#\d+: x+y$/m, qr/\[error\] \d+#\d+: its last words$/m]



=== TEST 9: standard error of C code and of programs is records of the server's log
--- app
import faulthandler, os, subprocess, sys

def application(environ, start_response):
    os.write(2, b'raw and')
    os.write(2, b' whole\nraw \x1btoo\n')
    subprocess.run(['sh', '-c', 'echo from a program >&2'])
    faulthandler.dump_traceback(file=2)
    print('by the real stderr', file=sys.__stderr__, flush=True)
    start_response('200 OK', [])
    return [b'ok']
--- wait: 0.5
--- request
GET /
--- response_body: ok
--- error_log eval
[map { qr/^\S+ \S+ \[error\] \d+#\d+: \S.* stderr: $_$/m }
 'raw and whole', 'raw  too', 'from a program', '  File "\S+app\.wsgi", line 7 in application', 'by the real stderr']



=== TEST 10: the life of interpreters and scripts
--- user_files
>>> lib/mod.py
--- http_config
wsgi_python_path @DIR@/lib;
--- daemon_options: threads=4 python-path=$TEST_NGINX_HTML_DIR/lib
--- app
import mod

def application(environ, start_response):
    start_response('200 OK', [])
    return [b'ok']
--- config
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
wsgi_application_group some;
--- request
GET /
--- response_body: ok
--- error_log eval
my $where = '@MODE@' eq 'daemon' ? "daemon process 'daemon'" : 'embedded mode';
[qr/\[info\].*Initializing Python runtime in $where/, qr/\[info\].*Attaching to Python main interpreter in $where/,
 qr/\[info\].*Creating sub-interpreter 'some' in $where/, qr/\[info\].*Adding '\S+\/lib' to Python module search path/,
 qr/\[info\].*Loading WSGI script '\S+app\.wsgi' into sub-interpreter 'some'.*request:/,
 '@MODE@' eq 'daemon' ? (qr/\[info\].*Starting daemon process 'daemon' with .*threads=4/) : ()]



=== TEST 11: load errors have a traceback
--- app
import json
json.loads('{')
--- request
GET /
--- error_code: 500
--- error_log eval
[qr/\[error\].*Unable to execute Python script file '\S+app\.wsgi'\..*request:/, qr/\[error\].*app\.wsgi", line 2, in <module>.*request:/,
 qr/\[error\].*JSONDecodeError: Expecting property name.*request:/]



=== TEST 12: a group's own error_log
--- mode: daemon
--- app
import os

def application(environ, start_response):
    os.write(2, b'of the process\n')
    start_response('200 OK', [])
    return [b'ok']
--- user_files
>>> own.log
--- config
root @DIR@;
error_log @DIR@/own.log info;
wsgi_daemon_process own;
wsgi_script_alias / @DIR@/app.wsgi process-group=own;
location = /own.log { wsgi_script_alias off; }
--- request eval
["GET /", "GET /own.log"]
--- response_body_like eval
["ok", qr/\[info\] \d+#\d+: Starting daemon process 'own'.*\[error\] \d+#\d+: daemon process "own" stderr: of the process\n/s]
--- no_error_log
of the process
