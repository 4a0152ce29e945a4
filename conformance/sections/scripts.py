"""e.1 to e.5: how scripts are loaded, and loaded again."""

from case import Do, get, of, rewrite, touch

case = of("scripts")
EMBEDDED, DAEMON = ("embedded",), ("daemon",)

case("identity", """
    import hashlib, sys
    MODULE = sys.modules.get(__name__)
    def application(environ, start_response):
        import os, types
        module = sys.modules[__name__]
        return report(start_response, {
            'name': __name__,
            'name is md5': __name__ == '_mod_wsgi_' + hashlib.md5(__file__.encode()).hexdigest(),
            'file': __file__,
            'in sys.modules at import': MODULE is module,
            'type': type(module) is types.ModuleType,
            'mtime type': type(__mtime__).__name__,
            'mtime right': __mtime__ == os.stat(__file__).st_mtime_ns // 1000,
            'package': repr(globals().get('__package__')),
            'spec': repr(globals().get('__spec__')),
            'loader': describe(globals().get('__loader__')),
            'cached': repr(globals().get('__cached__')),
            'doc': repr(__doc__),
            'builtins': describe(type(__builtins__)),
            'globals': sorted(k for k in globals() if k.startswith('__')),
            'code': application.__code__.co_filename == __file__,
            'main': describe(sys.modules.get('__main__')),
            'main file': repr(getattr(sys.modules.get('__main__'), '__file__', None)),
        })
""", quick=True)
case("environment", """
    import os, sys
    return report(start_response, {
        'argv': sys.argv, 'path': sys.path, 'prefix': sys.prefix, 'exec_prefix': sys.exec_prefix, 'base_prefix': sys.base_prefix,
        'executable': sys.executable, 'flags': str(sys.flags), 'dont_write_bytecode': sys.dont_write_bytecode,
        'warnoptions': sys.warnoptions, 'version': sys.version, 'encoding': sys.getfilesystemencoding(), 'errors': sys.getfilesystemencodeerrors(),
        'default encoding': sys.getdefaultencoding(), 'utf8': sys.flags.utf8_mode, 'hash': sys.flags.hash_randomization,
        'site': 'site' in sys.modules, 'switch': sys.getswitchinterval(), 'recursion': sys.getrecursionlimit(),
        'orig_argv': sys.orig_argv, 'tracebacklimit': repr(getattr(sys, 'tracebacklimit', None)),
    })
""")
case("environment-global", """
    import os, sys
    return report(start_response, {'argv': sys.argv, 'path': sys.path, 'executable': sys.executable, 'orig_argv': sys.orig_argv})
""", application_group="%{GLOBAL}")
case("own-directory-not-on-path", "return report(start_response, {'import': attempt(__import__, 'scripts_helper')})",
     files={"scripts_helper.py": "x = 1\n"})
case("loaded-once", """
    COUNT = []
    def application(environ, start_response):
        COUNT.append(1)
        return report(start_response, {'calls': len(COUNT)})
""", get(), get(), get(), log=["(Loading|Reloading) "])
case("docstring", """
'''A docstring.'''
from __future__ import annotations
def application(environ, start_response):
    body = repr((__doc__, 'annotations' in globals())).encode()
    start_response('200 OK', [('Content-Length', str(len(body)))])
    return [body]
""", plain=True)
case("coding-line", """
# -*- coding: latin-1 -*-
def application(environ, start_response):
    body = ascii('caf\u00e9').encode()
    start_response('200 OK', [('Content-Length', str(len(body)))])
    return [body]
""", plain=True)
case("other-extension", None, target="scripts-odd.name.txt",
     files={"scripts-odd.name.txt": "def application(e, s):\n    s('200 OK', [('Content-Length', '4')])\n    return [b'text']\n"})
case("no-extension", None, target="scripts-noextension",
     files={"scripts-noextension": "def application(e, s):\n    s('200 OK', [('Content-Length', '4')])\n    return [b'text']\n"})
case("empty-script", "", plain=True, log=["[Tt]arget WSGI script '[^']*' does not contain WSGI application '[^']*'"])
case("callable-missing", "other = 1\nAPPLICATION = 1", plain=True, log=["[Tt]arget WSGI script '[^']*' does not contain WSGI application '[^']*'"], quick=True)
case("callable-none", "application = None", plain=True)
case("callable-name", "def other(e, s):\n    s('200 OK', [('Content-Length', '5')])\n    return [b'other']", plain=True, config="WSGICallableObject other")
case("callable-option", "def other(e, s):\n    s('200 OK', [('Content-Length', '5')])\n    return [b'other']", plain=True, options="callable-object=other")
case("callable-from-env", "def other(e, s):\n    s('200 OK', [('Content-Length', '5')])\n    return [b'other']", plain=True,
     config="WSGICallableObject %{ENV:CALLABLE}", env={"CALLABLE": "other"})
case("callable-from-env-missing", "application = None\ndef application(e, s):\n    s('200 OK', [('Content-Length', '7')])\n    return [b'default']", plain=True,
     config="WSGICallableObject %{ENV:NO_SUCH_VARIABLE}")
case("callable-dotted", "class a:\n    b = lambda e, s: []", plain=True, config="WSGICallableObject a.b", log=["does not contain WSGI application '[^']*'"])
case("callable-in-builtins", "x = 1", plain=True, config="WSGICallableObject print", log=["does not contain WSGI application '[^']*'"])
case("callable-replaced-later", """
    def application(environ, start_response):
        global application
        application = second
        start_response('200 OK', [])
        return [b'first']
    def second(environ, start_response):
        start_response('200 OK', [])
        return [b'second']
""", get(), get())


def broken(name, app, *requests, **options):
    """A script that cannot be loaded: 500 each time, and why in the log."""
    case(name, app, *(requests or [get(), get()]), plain=True, **options)


broken("syntax-error", "def application(:")
broken("indentation-error", "def a():\nx = 1")
broken("nul-in-source", "x = 1\0")
broken("not-utf-8", None, target="scripts-latin.wsgi", files={"scripts-latin.wsgi": b"x = '\xe9'\n"})
broken("unknown-coding", "# coding: no-such-coding\n")
broken("import-error", "import no_such_module_anywhere", log="^Traceback.*")
broken("raises", "raise ValueError('scripts/raises')", log="^Traceback.*")
broken("system-exit", "import sys\nsys.exit(3)")
broken("keyboard-interrupt", "raise KeyboardInterrupt")
case("repaired", "raise ValueError('scripts/repaired')", get(label="broken"),
     rewrite("def application(e, s):\n    s('200 OK', [('Content-Length', '2')])\n    return [b'ok']"), get(label="repaired"),
     plain=True, group="reloads")
case("unreadable", "start_response('200 OK', []); return [b'readable']",
     Do(lambda server, case: (server.dir / "scripts" / case.script).chmod(0)), get(),
     Do(lambda server, case: (server.dir / "scripts" / case.script).chmod(0o644)), get())
case("removed", "start_response('200 OK', []); return [b'there']", get(),
     Do(lambda server, case: (server.dir / "scripts" / case.script).unlink()), get())

COUNTED = """
    import mod_wsgi
    COUNT = mod_wsgi.__dict__.setdefault('counts', {{}})
    COUNT[NAME] = COUNT.get(NAME, 0) + 1
    {more}
    def application(environ, start_response):
        {body}
        return report(start_response, {{'loads': COUNT[NAME], 'query': environ['QUERY_STRING']}})
"""


def reloads(name, *steps, body="pass", more="pass", **options):
    """How often a script is loaded in the same process; a new process begins with 1 again."""
    options.setdefault("application_group", "reloads")
    options.setdefault("group", "reloads")
    case(name, COUNTED.format(body=body, more=more), *steps, **options)


reloads("unchanged", get(), get())
reloads("touched", get(), touch(), get(), get(), log=["(Loading|Reloading|Forcing restart) "], quick=True)
reloads("touched-back", get(), touch(-1000), get())
reloads("touched-reloading-off", get(), touch(), get(), config="WSGIScriptReloading Off")
reloads("mtime-deleted", get("?1"), get("?2"), body="global __mtime__; globals().pop('__mtime__', None) if environ['QUERY_STRING'] == '1' else 0", modes=EMBEDDED)
reloads("mtime-changed", get("?1"), get("?2"), body="global __mtime__; __mtime__ = 1 if environ['QUERY_STRING'] == '1' else __mtime__", modes=EMBEDDED)
reloads("mtime-string", get("?1"), get("?2"), body="global __mtime__; __mtime__ = 'x' if environ['QUERY_STRING'] == '1' else __mtime__", modes=EMBEDDED)
reloads("mtime-deleted-daemon", get("?1"), get("?2"), body="global __mtime__; globals().pop('__mtime__', None) if environ['QUERY_STRING'] == '1' else 0", modes=DAEMON)
reloads("reload-required", get(), get(), more="def reload_required(path): return COUNT[NAME] < 2", modes=EMBEDDED)
reloads("reload-required-no", get(), get(), more="def reload_required(path): return False")
reloads("reload-required-raises", get(), get(), more="def reload_required(path): raise ValueError(NAME)")
reloads("reload-required-argument", get(), get("/x?q"), more="def reload_required(path): print(NAME, 'asked', repr(path))", log=["asked .*"])
reloads("reload-required-off", get(), get(), more="def reload_required(path): return True", config="WSGIScriptReloading Off")
reloads("reload-required-not-callable", get(), get(), more="reload_required = 3")
reloads("reload-required-daemon", get(), get(), more="def reload_required(path): return __import__('time').time() < STARTED + 0.5\n    import time; STARTED = time.time()", modes=DAEMON)
case("rewritten", "start_response('200 OK', []); return [b'old']", get(),
     rewrite("start_response('200 OK', []); return [b'new']"), get(), get(), group="reloads")
case("rewritten-broken", "start_response('200 OK', []); return [b'old']", get(),
     rewrite("def application(:"), get(), rewrite("start_response('200 OK', []); return [b'newer']"), get(), group="reloads")
case("rewritten-state", """
    import mod_wsgi
    KEPT = mod_wsgi.__dict__.setdefault('kept_state', [])
    def application(environ, start_response):
        KEPT.append(1)
        return report(start_response, {'kept': len(KEPT), 'own': sorted(k for k in globals() if k in ('OLD', 'NEW'))})
    OLD = 1
""", get(), rewrite("""
    import mod_wsgi
    KEPT = mod_wsgi.__dict__.setdefault('kept_state', [])
    def application(environ, start_response):
        KEPT.append(1)
        return report(start_response, {'kept': len(KEPT), 'own': sorted(k for k in globals() if k in ('OLD', 'NEW'))})
    NEW = 1
"""), get(), application_group="rewritten-state", group="reloads")

case("optimize", """
    import sys
    def documented():
        'A docstring.'
    asserted = 'no'
    try:
        assert False
    except AssertionError:
        asserted = 'yes'
    return report(start_response, {'flag': sys.flags.optimize, 'assert': asserted, 'doc': documented.__doc__, 'debug': __debug__,
                                   'bytecode': sys.dont_write_bytecode, 'warnoptions': sys.warnoptions})
""", server="restricted")
case("warning-filters", """
    import warnings
    return report(start_response, {'deprecation': attempt(warnings.warn, 'x', DeprecationWarning),
                                   'user': attempt(warnings.warn, 'y', UserWarning), 'filters': str(warnings.filters[:2])})
""", server="restricted")
case("eggs", "import os; return report(start_response, {'eggs': os.environ.get('PYTHON_EGG_CACHE')})", server="restricted")
case("python-path", """
    import sys
    import conformance_module, conformance_more
    return report(start_response, {'module': conformance_module.VALUE, 'more': conformance_more.VALUE, 'path': sys.path,
                                   'pth': sys.conformance_pth})
""", server="restricted")
case("restrict-embedded", "start_response('200 OK', []); return [b'ran']", server="unloadable", log=["Embedded mode of mod_wsgi disabled.*"])
case("case-identity", """
    import hashlib
    return report(start_response, {'lower': __name__ == '_mod_wsgi_' + hashlib.md5(__file__.lower().encode()).hexdigest(),
                                   'file': __file__, 'group': environ['mod_wsgi.application_group']})
""", get("/UPPER"), server="caseless", application_group="%{RESOURCE}", url="/scripts/UPPER")
