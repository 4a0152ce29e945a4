"""Global settings of the servers. Each profile is a run of servers of its own; most cases are in `main`."""

PROFILES = {
    "main": {
        "groups": ["main threads=4", "single threads=1", "multi threads=3 processes=1", "reloads threads=2"],
    },
    # What depends on how processes end, or on a process in which nothing else has run. Only the
    # main interpreter for some: once a thread of mod_wsgi's has served a sub-interpreter, it runs
    # requests for the main interpreter there as well.
    "ending": {"groups": ["main threads=4", "joining threads=2"]},
    "global": {"groups": ["main threads=4", "single threads=1", "multi threads=3 processes=1"]},
    # The settings that are for a whole server.
    "restricted": {
        "config": [
            "WSGIRestrictStdin On",
            "WSGIRestrictStdout On",
            "WSGIRestrictSignal Off",
            "WSGIDontWriteBytecode On",
            "WSGIPythonOptimize 2",
            "WSGIPythonWarnings error::DeprecationWarning",
            "WSGIPythonWarnings ignore::UserWarning",
            "WSGIPythonEggs {dir}/eggs",
            "WSGIPythonPath {dir}/library",
        ],
        "groups": ["main threads=4 python-path={dir}/library"],
        "files": {
            "eggs/x": "",
            "library/conformance_module.py": "VALUE = 'from the library'\n",
            "library/more.pth": "{dir}/more\nimport sys; sys.conformance_pth = 1\n",
            "more/conformance_more.py": "VALUE = 'by way of a pth'\n",
        },
    },
    "unloadable": {"config": ["WSGIRestrictEmbedded On"], "groups": ["main threads=4"]},
    # What makes mod_wsgi crash.
    "crashing": {"groups": ["main threads=4"]},
    # Recording is for the whole process.
    "metrics": {"config": ["WSGIServerMetrics On"], "groups": ["main threads=4 server-metrics=On"]},
    "caseless": {"config": ["WSGICaseSensitivity Off"], "groups": ["main threads=4"]},
}
