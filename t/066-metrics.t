# The metrics functions of the module mod_wsgi.

use WsgiTest;

run_wsgi_tests();

__DATA__

=== TEST 1: nothing is recorded, and nothing shown, unless somebody asks for it
--- app
import mod_wsgi
def application(environ, start_response):
    start_response('200 OK', [])
    return [b'%r %r %r\n' % (mod_wsgi.request_metrics(), mod_wsgi.process_metrics(), mod_wsgi.server_metrics())]
--- pipelined_requests eval
["GET /", "GET /"]
--- response_body eval
["None None None\n", "None None None\n"]



=== TEST 2: what requests add up to
--- http_config
wsgi_embedded_threads 4;
--- app
import mod_wsgi, time
mod_wsgi.start_recording_metrics()
mod_wsgi.start_recording_metrics()

def application(environ, start_response):
    if environ['PATH_INFO'] == '/report':
        start_response('200 OK', [])
        return [report(mod_wsgi.request_metrics()).encode()]
    environ['wsgi.input'].read()
    time.sleep(0.07)
    start_response(environ['QUERY_STRING'] + ' X', [])
    return [b'abc', b'de']

def report(m):
    return '\n'.join(str(fact) for fact in [
        m['request_count'], [m['status_%dxx' % n] for n in range(1, 6)],
        m['input_bytes'], m['output_bytes'], m['output_writes'],
        m['request_threads_maximum'], sum(m['request_threads_completed']),
        0.07 <= m['application_time'] < 5, sum(m['application_time_buckets']), sum(m['application_time_buckets'][:24]),
        m['application_time_min_us'] <= m['application_time'] * 1e6 <= m['application_time_max_us'],
        m['request_time'] >= m['application_time'],
        0 < m['request_throughput'] < 20, 0 < m['capacity_utilization'] <= 1,
        abs(m['stop_time'] - m['start_time'] - m['sample_period']) < 0.001,
    ]) + '\n'
--- pipelined_requests eval
["POST /?200\nabcd", "POST /?404\nef", "GET /report"]
--- error_code eval
[200, 404, 200]
--- response_body eval
["abcde", "abcde", "2
[0, 1, 0, 1, 0]
6
10
4
4
2
True
2
0
True
True
True
True
True
"]



=== TEST 3: a call begins another stretch of time
--- app
import mod_wsgi
mod_wsgi.start_recording_metrics()
def application(environ, start_response):
    start_response('200 OK', [])
    return [b'%d %d\n' % (mod_wsgi.request_metrics()['request_count'], mod_wsgi.process_metrics()['request_count'])]
--- pipelined_requests eval
["GET /", "GET /", "GET /"]
--- response_body eval
["0 0\n", "1 1\n", "1 2\n"]



=== TEST 4: the process
--- http_config
wsgi_embedded_threads 4;
--- app
import mod_wsgi, os, time
mod_wsgi.start_recording_metrics()
def application(environ, start_response):
    m = mod_wsgi.process_metrics()
    start_response('200 OK', [])
    return [repr((
        m['pid'] == os.getpid(), m['request_count'], m['active_requests'], m['request_threads'],
        [thread['thread_id'] for thread in m['threads']], sum(thread['request_count'] for thread in m['threads']),
        m['memory_max_rss'] > 1000000, m['memory_rss'] > 1000000, m['cpu_time'] > 0,
        m['restart_time'] <= m['current_time'] <= time.time(), m['running_time'] == int(m['current_time'] - m['restart_time']),
        m['request_busy_time'] > 0)).encode()]
--- pipelined_requests eval
["GET /", "GET /"]
--- response_body eval
["(True, 0, 1, 4, [1, 2, 3, 4], 1, True, True, True, True, True, True)",
 "(True, 1, 1, 4, [1, 2, 3, 4], 2, True, True, True, True, True, True)"]



=== TEST 5: the ways of a request
--- app
import mod_wsgi
mod_wsgi.start_recording_metrics()
def application(environ, start_response):
    m = mod_wsgi.request_metrics()
    start_response('200 OK', [])
    return [repr([(type(m[name]).__name__, sum(m[name + '_buckets']), type(m[name + '_min_us']).__name__)
                  for name in ('server_time', 'queue_time', 'daemon_time')]).encode()]
--- pipelined_requests eval
["GET /", "GET /"]
--- response_body eval
'@MODE@' eq 'daemon'
    ? ["[('float', 0, 'NoneType'), ('float', 0, 'NoneType'), ('float', 0, 'NoneType')]",
       "[('float', 1, 'int'), ('float', 1, 'int'), ('float', 1, 'int')]"]
    : ["[('float', 0, 'NoneType'), ('NoneType', 0, 'NoneType'), ('NoneType', 0, 'NoneType')]",
       "[('float', 1, 'int'), ('NoneType', 0, 'NoneType'), ('NoneType', 0, 'NoneType')]"]



=== TEST 6: a request that fails is recorded
--- mode: daemon
--- app
import mod_wsgi
mod_wsgi.start_recording_metrics()
def application(environ, start_response):
    if environ['PATH_INFO'] != '/report':
        raise ValueError('metrics')
    m = mod_wsgi.request_metrics()
    start_response('200 OK', [])
    return [b'%d %d %d\n' % (m['request_count'], m['status_5xx'], m['request_threads_active'])]
--- request eval
["GET /fail", "GET /report"]
--- error_code eval
[500, 200]
--- response_body_like eval
["500", "^1 1 [12]\$"]



=== TEST 7: the functions take no arguments
--- app
import mod_wsgi
def application(environ, start_response):
    start_response('200 OK', [])
    for name in ('start_recording_metrics', 'request_metrics', 'process_metrics', 'server_metrics'):
        try:
            getattr(mod_wsgi, name)(1)
        except TypeError:
            yield name.encode() + b'\n'
--- request
GET /
--- response_body
start_recording_metrics
request_metrics
process_metrics
server_metrics



=== TEST 8: the server
--- http_config
wsgi_server_metrics on;
wsgi_embedded_threads 4;
--- daemon_options: threads=4 server-metrics=On
--- app
import mod_wsgi, os, time
def application(environ, start_response):
    m = mod_wsgi.server_metrics()
    (own,) = [process for process in m['processes'] if process['pid'] == os.getpid()]
    working = [worker for worker in own['workers'] if worker['status'] == 'W']
    (worker,) = [worker for worker in working if worker['request'] == 'GET /second']  or [None]
    start_response('200 OK', [])
    if worker is None:
        return [b'first']
    return [repr((
        m['thread_limit'], m['running_generation'], own['process_group'], own['generation'], own['quiescing'],
        [each['thread_num'] for each in own['workers']], {each['status'] for each in own['workers']} <= {'_', 'W'},
        sum(each['access_count'] for each in own['workers']), sum(each['bytes_served'] for each in own['workers']),
        m['restart_time'] <= worker['start_time'] <= m['current_time'] <= time.time(),
        worker['client'], worker['vhost'])).encode()]
--- pipelined_requests eval
["GET /first", "GET /second"]
--- response_body eval
my $group = '@MODE@' eq 'daemon' ? 'daemon' : '';
["first", "(4, 1, '$group', 1, False, [0, 1, 2, 3], True, 2, 5, True, '127.0.0.1', 'localhost')"]



=== TEST 9: an embedded application sees all groups
--- mode: embedded
--- http_config
wsgi_server_metrics on;
wsgi_daemon_process one threads=2;
wsgi_daemon_process two threads=3 processes=2;
--- app
import mod_wsgi, time
def application(environ, start_response):
    def seen():
        return sorted((process['process_group'], len(process['workers'])) for process in mod_wsgi.server_metrics()['processes']
                      if process['process_group'])
    for _ in range(500):
        if len(seen()) == 3:
            break
        time.sleep(0.02)
    start_response('200 OK', [])
    return [repr((seen(), mod_wsgi.server_metrics()['thread_limit'])).encode()]
--- request
GET /
--- response_body chomp
([('one', 2), ('two', 3), ('two', 3)], 15)



=== TEST 10: a daemon process sees its own group only
--- mode: daemon
--- daemon_options: threads=4 server-metrics=On
--- http_config
wsgi_server_metrics on;
wsgi_daemon_process other threads=2 server-metrics=On;
--- config
wsgi_script_alias /other @DIR@/app.wsgi process-group=other;
wsgi_script_alias / @DIR@/app.wsgi @GROUP@;
--- app
import mod_wsgi
def application(environ, start_response):
    m = mod_wsgi.server_metrics()
    start_response('200 OK', [])
    return [repr((m['server_limit'], m['thread_limit'], [process['process_group'] for process in m['processes']])).encode()]
--- pipelined_requests eval
["GET /", "GET /other"]
--- response_body eval
["(1, 4, ['daemon'])", "(1, 2, ['other'])"]



=== TEST 11: each mode has its own switch
--- http_config eval
'@MODE@' eq 'daemon' ? 'wsgi_server_metrics on;' : 'wsgi_daemon_process daemon server-metrics=On;'
--- app
import mod_wsgi
def application(environ, start_response):
    start_response('200 OK', [])
    return [repr(mod_wsgi.server_metrics()).encode()]
--- request
GET /
--- response_body chomp
None



=== TEST 12: switched off
--- http_config
wsgi_server_metrics off;
--- daemon_options: server-metrics=Off
--- app
import mod_wsgi
def application(environ, start_response):
    start_response('200 OK', [])
    return [repr(mod_wsgi.server_metrics()).encode()]
--- request
GET /
--- response_body chomp
None



=== TEST 13: an invalid option
--- config_error
wsgi_daemon_process app server-metrics=yes;
--- error
"wsgi_daemon_process" has invalid server-metrics "yes": must be "On" or "Off"



=== TEST 14: an invalid switch
--- config_error
wsgi_server_metrics yes;
--- error
invalid value "yes" in "wsgi_server_metrics" directive, it must be "on" or "off"



=== TEST 15: in a server
--- config_error
server { wsgi_server_metrics on; }
--- error
"wsgi_server_metrics" directive is not allowed here
