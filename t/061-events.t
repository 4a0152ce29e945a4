# Events of requests.

use WsgiTest;

run_wsgi_tests();

__DATA__

=== TEST 1: the payload of each event
--- app
import mod_wsgi

@mod_wsgi.subscribe_events
def note(name, **payload):
    print(name, 'has', *sorted(payload), 'END')

def application(environ, start_response):
    start_response('200 OK', [])
    raise ValueError('bad')
--- request
GET /
--- error_code: 500
--- error_log eval
[map { qr/\[error\].* $_ END .*request: "GET/ }
 'request_started has application_object application_start callable_object daemon_connects daemon_restarts daemon_start queue_start request_data request_environ request_id request_start server_pid thread_id',
 'response_started has exception_info request_data request_id response_headers response_status',
 'request_exception has exception_info request_data request_id',
 'request_finished has application_finish application_start application_time cpu_system_time cpu_time cpu_user_time daemon_start gil_wait_count gil_wait_time input_length input_reads input_time output_length output_time output_writes queue_start request_data request_id request_start server_pid status thread_id']



=== TEST 2: what request_started tells
--- app
import mod_wsgi

told = {}

@mod_wsgi.subscribe_events
def note(name, **payload):
    if name == 'request_started':
        told.update(payload)

def application(environ, start_response):
    daemon = bool(mod_wsgi.process_group)
    facts = {
        'request_id': environ['mod_wsgi.request_id'],
        'thread_id': environ['mod_wsgi.thread_id'],
        'server_pid': int(environ['mod_wsgi.server_pid']),
        'daemon_connects': int(daemon),
        'daemon_restarts': 0,
        'callable_object': 'application',
        'application_object': application,
        'request_environ': environ,
        'request_data': mod_wsgi.request_data(),
    }
    for name in ('request_start', 'queue_start', 'daemon_start', 'application_start'):
        facts[name] = environ['mod_wsgi.' + name]
    wrong = {key: (told.get(key), facts[key]) for key in facts if told.get(key) != facts[key]}
    same = told['request_environ'] is environ and told['request_data'] is mod_wsgi.request_data()
    start_response('200 OK', [])
    return [repr((wrong, same, set(told) - set(facts), (told['queue_start'] > 0) is daemon)).encode()]
--- request
GET /
--- response_body: ({}, True, set(), True)



=== TEST 3: the application can be replaced, and its environ changed
--- app
import mod_wsgi

def other(environ, start_response):
    start_response('200 OK', [])
    return [environ['note'].encode()]

@mod_wsgi.subscribe_events
def replace(name, **payload):
    if name == 'request_started':
        payload['request_environ']['note'] = 'from the subscriber'
        return {'application_object': other}

def application(environ, start_response):
    raise ValueError('must not be called')
--- request
GET /
--- response_body: from the subscriber



=== TEST 4: what a subscriber returns reaches the next, and what it raises is logged
--- app
import mod_wsgi

seen = []

@mod_wsgi.subscribe_events
def first(name, **payload):
    return {'extra': 1}

@mod_wsgi.subscribe_events
def second(name, **payload):
    raise KeyError('from a callback') if name == 'request_started' else SystemExit(3)

@mod_wsgi.subscribe_events
def third(name, **payload):
    seen.append((name, payload.get('extra')))
    return ['no', 'dict']

def application(environ, start_response):
    start_response('200 OK', [])
    return [repr(seen).encode()]
--- request
GET /
--- response_body: [('request_started', 1), ('response_started', 1)]
--- error_log eval
[qr/\[error\].*KeyError exception raised by event callback for 'request_started'\..*request:/,
 qr/\[error\].*KeyError: 'from a callback'.*request:/,
 qr/\[error\].*SystemExit exception raised by event callback for 'request_finished'/]



=== TEST 5: response_started comes before the arguments are looked at
--- invalid: gives start_response a status that is no str
--- app
import mod_wsgi

seen = []

@mod_wsgi.subscribe_events
def note(name, **payload):
    if name == 'response_started':
        seen.append((payload['response_status'], payload['response_headers'], payload['exception_info']))

def application(environ, start_response):
    for arguments in ((200, ['x']), ('200 OK', [('a', 'b')], None)):
        try:
            start_response(*arguments)
        except TypeError:
            seen.append('refused')
    try:
        1 / 0
    except ZeroDivisionError as error:
        import sys
        start_response('500 Late', [], sys.exc_info())
        same = seen[-1][2][1] is error
        seen[-1] = seen[-1][:2]
    return [repr((seen, same)).encode()]
--- request
GET /
--- error_code: 500
--- response_body: ([(200, ['x'], None), 'refused', ('200 OK', [('a', 'b')], None), ('500 Late', [])], True)



=== TEST 6: request_exception has what was raised, and where
--- app
import mod_wsgi, traceback

@mod_wsgi.subscribe_events
def note(name, **payload):
    if name == 'request_exception':
        kind, value, trace = payload['exception_info']
        print('told of', kind.__name__, value, 'in', traceback.extract_tb(trace)[-1].name)

def application(environ, start_response):
    raise ValueError('bad')
--- request
GET /
--- error_code: 500
--- error_log
ValueError exception raised processing WSGI script
told of ValueError bad in application



=== TEST 7: SystemExit is an exception like others
--- app
import mod_wsgi, traceback

@mod_wsgi.subscribe_events
def note(name, **payload):
    if name == 'request_exception':
        kind, value, trace = payload['exception_info']
        print('told of', kind.__name__, value, 'in', traceback.extract_tb(trace)[-1].name)

def application(environ, start_response):
    start_response('200 OK', [])
    raise SystemExit('leaving')
--- request
GET /
--- error_code: 500
--- error_log
SystemExit exception raised by WSGI script
told of SystemExit leaving in application



=== TEST 8: an exception in close()
--- app
import mod_wsgi, traceback

@mod_wsgi.subscribe_events
def note(name, **payload):
    if name == 'request_exception':
        kind, value, trace = payload['exception_info']
        print('told of', kind.__name__, value, 'in', traceback.extract_tb(trace)[-1].name)

class Body(list):
    def close(self):
        raise KeyError('closing')

def application(environ, start_response):
    start_response('200 OK', [])
    return Body([b'body'])
--- request
GET /
--- response_body: body
--- error_log
KeyError exception raised processing WSGI script
told of KeyError 'closing' in close



=== TEST 9: what request_finished counts
--- app
import mod_wsgi, time

told = {}

@mod_wsgi.subscribe_events
def note(name, **payload):
    if name == 'request_finished' and payload['request_data'].get('counted'):
        told.update(payload)

def application(environ, start_response):
    if environ['PATH_INFO'] == '/told':
        times = told['application_finish'] - told['application_start'] - told['application_time']
        facts = {
            'status': told['status'],
            'input': (told['input_length'], told['input_reads'] >= 1, told['input_time'] >= 0),
            'output': (told['output_length'], told['output_writes'], 0 < told['output_time'] < told['application_time']),
            'took': 0.2 <= told['application_time'] < 20,
            'times': abs(times) < 1e-6,
            'cpu': abs(told['cpu_user_time'] + told['cpu_system_time'] - told['cpu_time']) < 1e-6,
            'busy': 0.05 < told['cpu_time'] <= told['application_time'],
            'gil': 0 < told['gil_wait_count'] < 100 and 0 <= told['gil_wait_time'] < told['application_time'],
        }
        start_response('200 OK', [])
        return [repr(facts).encode()]
    mod_wsgi.request_data()['counted'] = True
    environ['wsgi.input'].read(3)
    environ['wsgi.input'].readline()
    until = time.thread_time() + 0.1
    while time.thread_time() < until:
        pass
    time.sleep(0.2)
    start_response('201 Made', [])
    # Too large to be kept for a moment: the GIL is let go of.
    return [b'one' * 10_000, b'', b'three']
--- pipelined_requests eval
["POST /\nabcdefgh", "GET /told"]
--- error_code eval
[201, 200]
--- response_body eval
["one" x 10_000 . "three", "{'status': 201, 'input': (8, True, True), 'output': (30005, 2, True), 'took': True, 'times': True, 'cpu': True, 'busy': True, 'gil': True}"]



=== TEST 10: a request that fails before it has a status
--- app
import mod_wsgi

@mod_wsgi.subscribe_events
def note(name, **payload):
    if name == 'request_finished':
        print('finished with', payload['status'], payload['output_length'])

def application(environ, start_response):
    raise ValueError('bad')
--- request
GET /
--- error_code: 500
--- error_log
finished with 500 0



=== TEST 11: each interpreter has subscribers of its own
--- app
import mod_wsgi

seen = []

def application(environ, start_response):
    start_response('200 OK', [])
    if not mod_wsgi.event_callbacks and environ['PATH_INFO'] == '/subscribe':
        mod_wsgi.subscribe_events(lambda name, **payload: seen.append(name))
    return [' '.join(seen).encode()]
--- config
wsgi_script_alias /one @DIR@/app.wsgi @GROUP@ application-group=one;
wsgi_script_alias /two @DIR@/app.wsgi @GROUP@ application-group=two;
--- pipelined_requests eval
["GET /one/subscribe", "GET /two/", "GET /two/", "GET /one/"]
--- response_body eval
["", "", "", "request_started response_started"]



=== TEST 12: request_data carries from event to event, and is gone afterwards
--- app
import mod_wsgi

left = []

@mod_wsgi.subscribe_events
def note(name, **payload):
    data = payload['request_data']
    assert data is mod_wsgi.request_data()
    data.setdefault('names', []).append(name)
    if name == 'request_finished':
        left.append((data['names'], payload['request_id'] in mod_wsgi.active_requests))

def application(environ, start_response):
    start_response('200 OK', [])
    return [repr((left, len(mod_wsgi.active_requests))).encode()]
--- pipelined_requests eval
["GET /", "GET /"]
--- response_body eval
["([], 1)", "([(['request_started', 'response_started', 'request_finished'], True)], 1)"]
