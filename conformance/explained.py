"""The differences that are meant to be, and why.

A row says which facts differ (`fact`), in which cases, perhaps in which mode and with which values of
ours and of theirs. Facts and cases are patterns as of a shell, several with ` | ` between; values are
regular expressions for the whole value. A row that no difference fits is an error.
"Decisions" is the last table of docs/conformance.md.
"""

from facts import Explained as Row

# Values of one server, not of the application's interface.
THE_SERVER = [
    Row("value SERVER_SOFTWARE | value apache.version | value description | value version | value mpm_name | value build_date",
        "The server is nginx, and the module apache describes it.", ours=r"(?!.*6, 0, 5).*"),
    Row("value mod_wsgi.version | value version",
        "The release of mod_wsgi whose behaviour is followed; compared is with its newest one.",
        ours=r"tuple\(6, 0, 5\)", theirs=r"tuple\(6, 1, \d\)"),
    Row("value wsgi.version", "Decisions: (1, 1), as the notes of mod_wsgi 3.0 say.", ours=r"tuple\(1, 1\)"),
    Row("value SERVER_ADMIN", "nginx has no ServerAdmin.", theirs=r"'\[no address given\]'"),
    Row("value mod_wsgi.connection_id", "nginx always has a connection's number, Apache only where something asked for it.",
        ours="<str, digits>"),
]

# How the servers themselves read requests and write responses, before or after the application.
NGINX = [
    Row("status", "nginx reads requests by rules of its own.",
        case="dispatch/transfer-encoding-* | dispatch/http-2.0 | dispatch/only-newlines | dispatch/options-star | "
             "dispatch/connect | dispatch/uri-too-long | environ/method-lower | environ/method-trace | environ/path-nul | "
             "environ/header-folded | environ/header-control | input/chunked-and-length | input/chunked-1.0 | "
             "input/chunked-huge-size | input/continue-odd-expectation"),
    Row("log exceptions", "nginx refuses a chunk that is too large before the application is called.", case="input/chunked-huge-size"),
    Row("status | log some* | log rest* | log then*", "wsgi_request_buffering is on: an application is not called for a body that does not arrive whole.",
        case="input/broken-[!s]* | input/broken-short", ours=""),
    Row("status", "For nginx a client that stops sending in the middle of a body has gone, so nothing is answered.",
        case="input/broken-streamed-*", ours=""),
    Row("value HTTP_HOST | value REQUEST_URI", "nginx leaves the scheme and host of an absolute request target out.",
        case="environ/path-absolute-uri"),
    Row("value HTTP_COOKIE", "nginx joins Cookie headers with '; ', as RFC 6265 and HTTP/2 have it.", ours=r"'a=1; b=2'"),
    Row("interim", "wsgi_request_buffering is on: nginx reads the body before it passes the request on, so it asks for it.",
        mode="embedded", ours="HTTP/1.1 100 Continue", theirs=""),
    Row("framing", "Apache counts a response that is complete, and empty, before its header has left.",
        ours="chunked", theirs="length 0", mode="embedded"),
    Row("header accept-ranges", "Files of wsgi.file_wrapper are sent by nginx, which offers ranges of them.",
        case="output/file*", ours="bytes", theirs=""),
    Row("status", "Files of wsgi.file_wrapper are sent by nginx, with ranges, in daemon mode as well.",
        case="output/file-range", mode="daemon", ours="HTTP/1.1 206 Partial Content"),
    Row("header *", "Apache joins some repeated headers; here all stay apart, as the application gave them.",
        theirs=r"[^\n]*,[^\n]*", ours=r".*\n.*"),
    Row("header content-type", "Apache writes media types in lower case.", mode="daemon", case="start_response/content-type-odd"),
    Row("connection | *status", "Whether a connection is kept is between nginx and its client; the application's Connection header is dropped.",
        case="connection/close-by-application"),
    Row("log before.*", "nginx's log gets blanks for control characters, where Apache's gets escapes.",
        case="logging/errors-c*"),
    Row("log raw.*", "What is written to descriptor 2 gets a time and a level here, as every line.", mode="daemon",
        theirs="raw: raw"),
    Row("value SSL_SERVER_* | value SSL_VERSION_* | value SSL_SECURE_RENEG",
        "nginx has variables for what the client shows, none for these; wsgi_param can set them.", ours=""),
    Row("value utf8 | value flags", "nginx gives its workers no LANG, which turns Python's UTF-8 mode on.", mode="embedded"),
]

# mod_wsgi is known to be wrong there (its own issues; section l of the reference).
DEFECTS = [
    Row("complete", "A response that breaks off is shown to be cut; mod_wsgi's daemon mode makes it look complete, "
                    "as does what follows write() in embedded mode.", ours="no",
        case="output/raise-* | output/*-after-error | output/*-in-iteration | output/bad-item-later | "
             "output/file-after-write | output/file-length-too-long | module/events-exception-later | "
             "connection/pipeline-short-body | connection/pipeline-cut-body"),
    Row("body | beyond the last response", "mod_wsgi appends Apache's error page to a body that has begun with write().",
        theirs=r".*(<error page>|</html>\n)", mode="embedded"),
    Row("connection | *status | framing | body", "mod_wsgi's daemon mode hangs when an application answers before it has read a large body.",
        case="connection/duplex-* | connection/large-answer-unread-body", mode="daemon"),
    Row("connection | *status | body | log exceptions", "mod_wsgi goes on with the next request after a body that was too short or was cut.",
        case="connection/pipeline-short-body | connection/pipeline-cut-body"),
    Row("body", "A file that is shorter than announced is followed by other bytes.", case="output/file-length-too-long"),
    Row("*", "A file that stands behind its end is an empty body; mod_wsgi fails.", case="output/file-position-past"),
    Row("status | log exceptions", "An application cannot send interim responses; mod_wsgi sends garbage.",
        case="start_response/status-1*"),
    Row("status", "'200 Error' is mod_wsgi's own mark for a failure in daemon mode.", case="start_response/status-200-error",
        mode="daemon"),
    Row("complete | body", "A Transfer-Encoding header of the application is dropped; mod_wsgi sends a corrupt response.",
        case="start_response/transfer-encoding-header"),
    Row("status | header status", "A Status header of the application is dropped; in mod_wsgi's daemon mode it becomes the status.",
        case="start_response/status-header"),
    Row("connection | status | complete | body | log exceptions", "mod_wsgi crashes when it is to raise what is no exception.",
        case="start_response/exc-info-*-after-commit"),
    Row("value FOO | value foo | value path_info | value PATH_INFO | value script_name | value SCRIPT_NAME",
        "Apache's variables are one when they differ in case only, under the name that was set first.",
        case="environ/setenv | environ/setenv-collision-case"),
    Row("value 1 input.read(2 ?? 40)", "mod_wsgi allocates what read() is asked for before it reads.", theirs="MemoryError: "),
    Row("value 3 type(input)()", "mod_wsgi lets an application make an input of its own, which has no request."),
    Row("log exceptions", "mod_wsgi complains of file-like objects without a close() of their own.",
        case="output/file-*", theirs=r".*has no attribute 'close'"),
    Row("log exceptions | *status", "A NUL in a script is reported like any syntax error.", case="scripts/nul-in-source"),
    Row("log ^Traceback.*", "Exceptions are logged with their traceback.", theirs=""),
    Row("log thread done", "mod_wsgi does not wait for the threads of a sub-interpreter when it ends.",
        case="interpreters/thread-joined-at-exit", theirs=""),
    Row("value thread | value main thread | value daemon | value inherits",
        "A request's thread is never a main thread; mod_wsgi's is when it is the first to import threading.",
        case="interpreters/*"),
]

# Decisions of this project.
DECISIONS = [
    Row("status", "Decisions: a missing callable is answered with 500 in both modes.", mode="embedded",
        theirs="HTTP/1.1 404 Not Found", case="scripts/empty-script | scripts/callable-* | dispatch-script/callable-missing"),
    Row("value cwd", "Decisions: the working directory is the home directory of the user."),
    Row("value wsgi.errors | value errors | value sys.__stderr__ | value * stream.*",
        "The log streams are of types of their own. They write as Python's text streams do, and cannot read.",
        case="environ/all* | environ/types | environ/group-from-env | logging/streams"),
    Row("value write | log after close", "Closing a log stream does nothing.", case="logging/streams-close"),
    Row("log write .*", "One text for every way in which a client can leave.", theirs=r".*failed to write response data.*"),
    Row("value orig_argv", "sys.orig_argv is like sys.argv.", ours=r"\['mod_wsgi'\]", theirs=r"\[\]"),
    Row("header location", "Decisions: 200 with a path in Location leads there inside the server, in both modes.",
        mode="embedded", case="start_response/location-internal"),
    Row("*status | log exceptions", "A version that does not load leaves the processes in service that have the one before.",
        mode="daemon", case="scripts/rewritten-broken"),
    Row("log (Loading|Reloading|Forcing restart) ", "A new process loads all that the process before it had loaded.",
        mode="daemon", case="scripts/touched"),
    Row("log raw.*", "What is written to descriptor 2 gets a time and a level here, as every line.", mode="embedded",
        ours="error: raw"),
    Row("*value process process_group", "Each process tells its group here.", ours="str", case="module/server-metrics"),
    Row("value threads_per_process", "The module apache describes the process it is in, here also in daemon processes.",
        mode="daemon", case="module/apache"),
    Row("*value request_finished keys | *value request_finished application_start",
        "The end of a request tells all its times; mod_wsgi leaves out when the application was called.", case="module/events*"),
    Row("*value request_finished input_reads", "Counted are the reads from the connection, which are the server's own.",
        mode="daemon", case="module/events-post", ours="2", theirs="3"),
    Row("log exceptions", "The reason why a script cannot be read is in the line that says so.",
        case="scripts/unreadable | dispatch-script/missing"),
    Row("log exceptions", "What is wrong with the result of a function is one line, and no exception.",
        case="dispatch-script/*-int | dispatch-script/*-false | dispatch-script/*-list | dispatch-script/*-wide", ours=""),
]

EXPLAINED = THE_SERVER + NGINX + DEFECTS + DECISIONS
