"""f: interpreters and threads."""

from case import get, of

case = of("interpreters")
FACTS = """
    import sys, threading
    import mod_wsgi
    return report(start_response, {
        'application_group': mod_wsgi.application_group,
        'process_group': mod_wsgi.process_group,
        'in environ': environ['mod_wsgi.application_group'],
        'thread': describe(threading.current_thread()),
        'main thread': threading.current_thread() is threading.main_thread(),
        'daemon': threading.current_thread().daemon,
        'modules': sorted(name for name in ('mod_wsgi', 'apache', '__main__', 'site') if name in sys.modules),
    })
"""
case("named", FACTS, application_group="named")
case("global", FACTS, application_group="%{GLOBAL}", quick=True)
case("server", FACTS, application_group="%{SERVER}")
case("resource", FACTS, application_group="%{RESOURCE}")
case("host", FACTS, get(), get(host="localhost:8000"), application_group="%{HOST}")
case("env", FACTS, application_group="%{ENV:GROUP}", env={"GROUP": "chosen"})
case("env-missing", FACTS, application_group="%{ENV:NO_SUCH_VARIABLE}")
case("env-token", FACTS, application_group="%{ENV:GROUP}", env={"GROUP": "%{GLOBAL}"}, server="global")
case("option", FACTS, options="application-group=from-option")

SHARED = """
    import sys
    sys.modules.setdefault('shared_state', {{}})
    STATE = sys.modules['shared_state']
    STATE[NAME] = 1
    def application(environ, start_response):
        return report(start_response, {{'seen': sorted(STATE)}})
"""
case("shared-first", SHARED.format(), application_group="shared")
case("shared-second", SHARED.format(), application_group="shared")
case("shared-not", SHARED.format(), application_group="not-shared")
case("same-module-object", """
    import sys, mod_wsgi, apache
    return report(start_response, {'mod_wsgi': mod_wsgi is sys.modules['mod_wsgi'], 'apache': apache is sys.modules['apache'],
                                   'file': repr(getattr(mod_wsgi, '__file__', None))})
""")
case("thread-local", """
    import threading
    LOCAL = threading.local()
    def application(environ, start_response):
        LOCAL.count = getattr(LOCAL, 'count', 0) + 1
        return report(start_response, {'count': LOCAL.count})
""", get(), get(), get(), group="single", modes=("daemon",), application_group="local")
case("thread-local-global", """
    import threading
    LOCAL = threading.local()
    def application(environ, start_response):
        LOCAL.count = getattr(LOCAL, 'count', 0) + 1
        return report(start_response, {'count': LOCAL.count})
""", get(), get(), get(), group="single", modes=("daemon",), application_group="%{GLOBAL}")
case("thread-identity", """
    import threading
    SEEN = set()
    def application(environ, start_response):
        SEEN.add((threading.get_ident(), threading.current_thread().name, environ['mod_wsgi.thread_id']))
        return report(start_response, {'threads': len(SEEN)})
""", get(), get(), get(), group="single", modes=("daemon",))
case("context-variables", """
    import contextvars
    VARIABLE = contextvars.ContextVar('v', default=0)
    def application(environ, start_response):
        VARIABLE.set(VARIABLE.get() + 1)
        return report(start_response, {'value': VARIABLE.get()})
""", get(), get(), group="single", modes=("daemon",), application_group="variables")
case("signal", """
    import signal
    facts = {
        'set': attempt(signal.signal, signal.SIGUSR1, signal.SIG_IGN),
        'handler': attempt(lambda: signal.signal(signal.SIGTERM, print) is print),
        'get': attempt(lambda: signal.getsignal(signal.SIGUSR2) in (signal.SIG_DFL, signal.SIG_IGN, None)),
        'pipe': str(signal.getsignal(signal.SIGPIPE)),
    }
    return report(start_response, facts)
""", anywhere="Ignoring Python signal handler registration for signal 1[05]")
case("signal-global", """
    import signal
    return report(start_response, {'set': attempt(signal.signal, signal.SIGUSR1, signal.SIG_IGN)})
""", application_group="%{GLOBAL}")
case("signal-in-child", """
    import os, signal
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            outcome = attempt(signal.signal, signal.SIGVTALRM, signal.SIG_IGN)
            os.write(write, outcome.encode())
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    os.close(write)
    return report(start_response, {'outcome': os.read(read, 1000).decode()})
""", application_group="%{GLOBAL}")
case("subprocess", """
    import subprocess
    done = subprocess.run(['/bin/sh', '-c', 'echo out; echo $0; exit 3'], stdout=subprocess.PIPE)
    return report(start_response, {'code': done.returncode, 'output': done.stdout.decode()})
""")
case("os-environ", """
    import os
    wanted = ('HOME', 'USER', 'USERNAME', 'LOGNAME', 'LANG', 'LC_ALL', 'PYTHONPATH', 'PYTHON_EGG_CACHE', 'TZ', 'DOCUMENT_ROOT', 'PATH_INFO')
    return report(start_response, {key: os.environ.get(key) for key in wanted})
""", modes=("daemon",))
case("os-environ-embedded", """
    import os
    wanted = ('PYTHONPATH', 'PYTHON_EGG_CACHE', 'DOCUMENT_ROOT', 'PATH_INFO')
    return report(start_response, {key: os.environ.get(key) for key in wanted})
""", modes=("embedded",))
case("os-environ-leaks-into-later", """
    import os
    os.environ['CONFORMANCE_LEAK'] = 'leaked'
    start_response('200 OK', [])
    return [b'set']
""", application_group="leak-first")
case("os-environ-leaked", "import os; return report(start_response, {'seen': os.environ.get('CONFORMANCE_LEAK')})",
     application_group="leak-second")
case("os-environ-not-in-earlier", "import os; return report(start_response, {'seen': os.environ.get('CONFORMANCE_LEAK')})")
case("working-directory", """
    import os
    mask = os.umask(0)
    os.umask(mask)
    return report(start_response, {'cwd': os.getcwd(), 'umask': mask, 'uid': os.getuid(), 'gid': os.getgid(), 'groups': os.getgroups()})
""", modes=("daemon",))
case("atexit", """
    import atexit
    atexit.register(lambda: print(NAME, 'at exit'))
    start_response('200 OK', [])
    return [b'registered']
""", application_group="atexit", server="ending", log=["at exit"], quick=True)
case("atexit-global", """
    import atexit
    atexit.register(lambda: print(NAME, 'at exit'))
    start_response('200 OK', [])
    return [b'registered']
""", application_group="%{GLOBAL}", log=["at exit"])
case("atexit-raises", """
    import atexit
    def fail():
        raise ValueError(NAME)
    atexit.register(lambda: print(NAME, 'at exit'))
    atexit.register(fail)
    start_response('200 OK', [])
    return [b'registered']
""", application_group="atexit-raises", server="ending", log=["at exit"])
case("thread-joined-at-exit", """
    import mod_wsgi, threading, time
    ending = threading.Event()
    mod_wsgi.subscribe_shutdown(lambda *event, **payload: ending.set())
    def work():
        ending.wait()
        time.sleep(0.5)
        print(NAME, 'thread done')
    threading.Thread(target=work).start()
    start_response('200 OK', [])
    return [b'started']
""", application_group="joined", server="ending", group="joining", log=["thread done"], modes=("daemon",))
case("daemon-thread", """
    import threading
    got = []
    thread = threading.Thread(target=lambda: got.append(threading.current_thread().daemon), daemon=True)
    thread.start()
    thread.join()
    return report(start_response, {'got': got, 'inherits': threading.Thread().daemon})
""")
case("recursion", """
    def deep(n):
        return n if n == 0 else deep(n - 1)
    return report(start_response, {'900': attempt(deep, 900), 'endless': attempt(deep, 10 ** 6).split(':')[0]})
""")
case("asyncio", """
    import asyncio
    async def work():
        await asyncio.sleep(0)
        return 'done'
    return report(start_response, {'run': attempt(asyncio.run, work()), 'get': attempt(asyncio.get_event_loop).split(' in thread')[0]})
""")
case("sys-exit-hooks", "import sys; return report(start_response, {'exit': attempt(sys.exit, 3), 'input': attempt(input)})")
for group in ("%{GLOBAL}", "restricted"):
    name = "restricted-" + group.strip("%{}").lower()
    case(name, """
        import signal, sys
        return report(start_response, {
                'read': attempt(lambda: sys.stdin.read()), 'write': attempt(lambda: sys.stdout.write('x')),
            'fileno': attempt(lambda: sys.stdout.fileno()), 'print': attempt(print, 'x'), 'input': attempt(input),
            'flush': attempt(lambda: sys.stdout.flush()), 'encoding': attempt(lambda: sys.stdout.encoding),
        })
    """, server="restricted", application_group=group)
case("signal-unrestricted", """
    import signal
    return report(start_response, {'set': attempt(signal.signal, signal.SIGUSR1, signal.SIG_IGN)})
""", server="restricted")
