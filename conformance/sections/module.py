"""i.1 and i.2: the Python modules mod_wsgi and apache, and events."""

from case import get, of, post

case = of("module")

case("attributes", """
    import mod_wsgi
    return report(start_response, {name: describe(getattr(mod_wsgi, name)) for name in dir(mod_wsgi) if not name.startswith('_')
                                   and name not in ('counts', 'kept')})
""", application_group="module", quick=True)
case("attributes-global", """
    import mod_wsgi
    return report(start_response, {name: describe(getattr(mod_wsgi, name)) for name in
        ('application_group', 'process_group', 'maximum_processes', 'threads_per_process')})
""", application_group="%{GLOBAL}")
case("attributes-multi", """
    import mod_wsgi
    return report(start_response, {name: describe(getattr(mod_wsgi, name)) for name in
        ('application_group', 'process_group', 'maximum_processes', 'threads_per_process')})
""", group="multi")
case("apache", """
    import apache
    return report(start_response, {name: describe(getattr(apache, name)) for name in dir(apache) if not name.startswith('_')})
""")
case("identity", """
    import mod_wsgi
    facts = {name: describe(getattr(mod_wsgi, name, 'none')) for name in ('__name__', '__package__', '__spec__', '__loader__')}
    facts['file'] = hasattr(mod_wsgi, '__file__')
    facts['writable'] = attempt(setattr, mod_wsgi, 'own', 1)
    return report(start_response, facts)
""")
case("request-timeout-class", """
    import mod_wsgi
    return report(start_response, {'bases': describe(mod_wsgi.RequestTimeout.__bases__), 'str': str(mod_wsgi.RequestTimeout('x'))})
""")
case("log-handler", """
    import logging, mod_wsgi
    handler = mod_wsgi.LogHandler(logging.ERROR)
    return report(start_response, {'level': handler.level, 'is handler': isinstance(handler, logging.Handler),
                                   'arguments': attempt(mod_wsgi.LogHandler, 1, 2)})
""")
case("request-data", """
    import mod_wsgi, threading
    data = mod_wsgi.request_data()
    got = []
    thread = threading.Thread(target=lambda: got.append(attempt(mod_wsgi.request_data)))
    thread.start()
    thread.join()
    data['own'] = 1
    return report(start_response, {
        'type': type(data).__name__,
        'keys': {key: describe(value) if key != 'request_id' else shape(value) for key, value in sorted(data.items())}.__repr__(),
        'same': mod_wsgi.request_data() is data,
        'id': data.get('request_id') == environ['mod_wsgi.request_id'],
        'active': mod_wsgi.active_requests.get(environ['mod_wsgi.request_id']) is data,
        'active type': describe(type(mod_wsgi.active_requests)),
        'active number': len(mod_wsgi.active_requests),
        'other thread': got[0],
        'arguments': attempt(mod_wsgi.request_data, 1),
    })
""", get(), get(), application_group="request-data")
case("request-data-at-import", """
    import mod_wsgi
    AT_IMPORT = attempt(mod_wsgi.request_data)
    def application(environ, start_response):
        return report(start_response, {'at import': AT_IMPORT.split('{')[0].split('(')[0]})
""")
case("metrics-off", """
    import mod_wsgi
    return report(start_response, {name: attempt(getattr(mod_wsgi, name)) for name in ('request_metrics', 'process_metrics', 'server_metrics')})
""", application_group="metrics-off")

# The keys of the metrics and the types of their values; of the scoreboard, of a process that runs.
METRICS = """
    import mod_wsgi, os
    STARTED = describe(mod_wsgi.start_recording_metrics())
    def kind(value):
        if isinstance(value, list):
            return f'list of {sorted({type(item).__name__ for item in value})}'
        return type(value).__name__
    def kinds(found):
        return {key: kind(value) for key, value in found.items()}
    def application(environ, start_response):
        environ['wsgi.input'].read()
        found = kinds(getattr(mod_wsgi, FUNCTION)())
        return report(start_response, {'keys': sorted(found), 'started': STARTED, **found})
"""
for function in ("request_metrics", "process_metrics"):
    case(function.replace("_", "-"), f"FUNCTION = {function!r}\n" + METRICS.replace("\n    ", "\n"),
         get(), get(), server="metrics", application_group=function, quick=True)
case("request-metrics-sums", """
    import mod_wsgi
    mod_wsgi.start_recording_metrics()
    def application(environ, start_response):
        if environ['QUERY_STRING'] == 'report':
            found = mod_wsgi.request_metrics()
            return report(start_response, {key: describe(found[key]) for key in
                ('request_count', 'status_2xx', 'status_4xx', 'input_bytes', 'output_bytes', 'output_writes')})
        if environ['QUERY_STRING'] == 'drain':
            mod_wsgi.request_metrics()
        environ['wsgi.input'].read()
        start_response('404 Not Found' if environ['QUERY_STRING'] == 'missing' else '200 OK', [])
        return [b'ab', b'c']
""", get("?drain"), post(b"abcdef"), get("?missing"), get("?report", label="report"), server="metrics", application_group="sums")
case("server-metrics", """
    import mod_wsgi, os
    def kinds(found):
        return {key: type(value).__name__ for key, value in found.items()}
    found = mod_wsgi.server_metrics()
    process = [process for process in found['processes'] if process['pid']][0]
    return report(start_response, {'server ' + key: value for key, value in kinds(found).items()}
                  | {'process ' + key: value for key, value in kinds(process).items()}
                  | {'worker ' + key: value for key, value in kinds(process['workers'][0]).items()})
""", server="metrics", quick=True)

EVENTS = """
    import time, mod_wsgi
    SEEN = []
    def note(name, **payload):
        keys = {{key: describe(value) if key not in {volatile} else shape(value) for key, value in sorted(payload.items())
                if key not in ('request_environ', 'request_data')}}
        keys.update({{key: type(payload[key]).__name__ for key in ('request_environ', 'request_data') if key in payload}})
        SEEN.append((name, keys))
    RETURNED = mod_wsgi.subscribe_events(note)
    def finished():
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline and not any(name == 'request_finished' for name, _ in SEEN):
            time.sleep(0.01)
        return [item for item in SEEN]
    def application(environ, start_response):
        if environ['QUERY_STRING'] == 'report':
            seen = finished()
            facts = {{'names': [name for name, _ in seen], 'returned': RETURNED is note}}
            for name, keys in seen[:{count}]:
                facts[name + ' keys'] = sorted(keys)
                for key, value in keys.items():
                    facts[name + ' ' + key] = value
            return report(start_response, facts)
        {body}
"""
VOLATILE = (
    "request_id", "thread_id", "server_pid", "application_time", "input_time", "output_time", "cpu_user_time",
    "cpu_system_time", "cpu_time", "gil_wait_time", "gil_wait_count",
)


def events(name, body, *requests, count=3, **options):
    """The events of a first request, as a second one reports them."""
    case(name, EVENTS.format(body=body, volatile=VOLATILE, count=count), *requests, get("?report", label="report"),
         application_group=name, **options)


events("events", "start_response('200 OK', [('X-A', '1')]); return [b'abc', b'de']", get(label="first"), quick=True)
events("events-post", "environ['wsgi.input'].read(2); environ['wsgi.input'].read(); start_response('201 Made', []); return []", post(b"abcdef", label="first"))
events("events-exception", "raise ValueError('events')", get(label="first"))
events("events-exception-later", "start_response('200 OK', [])(b'x'); raise ValueError('events')", get(label="first"), count=4)
events("events-write", "w = start_response('200 OK', []); w(b'ab'); w(b'c'); return [b'd']", get(label="first"))
case("events-replace-application", """
    import mod_wsgi
    @mod_wsgi.subscribe_events
    def replace(name, **payload):
        if name == 'request_started' and payload['request_environ']['QUERY_STRING']:
            return {'application_object': other}
    def other(environ, start_response):
        start_response('200 OK', [])
        return [b'other']
    def application(environ, start_response):
        start_response('200 OK', [])
        return [b'own']
""", get("?1"), get("?2"), get(), application_group="events-replace")
case("events-change-environ", """
    import mod_wsgi
    @mod_wsgi.subscribe_events
    def change(name, **payload):
        if name == 'request_started':
            payload['request_environ']['added'] = 'by subscriber'
            payload['request_data']['noted'] = 1
    def application(environ, start_response):
        return report(start_response, {'added': environ.get('added'), 'noted': mod_wsgi.request_data().get('noted')})
""", get("?1"), get("?2"), application_group="events-change")
case("events-merge", """
    import mod_wsgi
    ORDER = []
    @mod_wsgi.subscribe_events
    def first(name, **payload):
        return {'extra': 'from first'}
    @mod_wsgi.subscribe_events
    def second(name, **payload):
        ORDER.append((name, payload.get('extra')))
    def application(environ, start_response):
        return report(start_response, {'order': ORDER[:2]})
""", get("?1"), get("?2"), application_group="events-merge")
case("events-raise", """
    import mod_wsgi
    @mod_wsgi.subscribe_events
    def fail(name, **payload):
        raise ValueError(NAME + ' ' + name)
    def application(environ, start_response):
        start_response('200 OK', [])
        return [b'all the same']
""", get("?1"), get("?2"), application_group="events-raise")
case("events-not-callable", """
    import mod_wsgi
    return report(start_response, {name: attempt(getattr(mod_wsgi, name), 3) for name in
                                   ('subscribe_events', 'subscribe_shutdown', 'subscribe_signals')})
""", application_group="events-not-callable")
case("events-lists", """
    import mod_wsgi
    def callback(*a, **b): pass
    mod_wsgi.subscribe_events(callback)
    mod_wsgi.subscribe_shutdown(callback)
    return report(start_response, {name: [c is callback for c in getattr(mod_wsgi, name)] for name in ('event_callbacks', 'shutdown_callbacks')})
""", application_group="events-lists")
case("shutdown", """
    import mod_wsgi
    @mod_wsgi.subscribe_shutdown
    def stopping(name, **payload):
        print(NAME, 'shutdown', name, sorted(payload.items()))
    @mod_wsgi.subscribe_events
    def event(name, **payload):
        if name == 'process_stopping':
            print(NAME, 'event', name, sorted(payload.items()))
    start_response('200 OK', [])
    return [b'subscribed']
""", application_group="shutdown", server="ending", log=["shutdown process.*", "event process.*"], quick=True)
