# How the kernel schedules the threads that run requests.

use WsgiTest;

run_wsgi_tests();

__DATA__

=== TEST 1: request threads work through what there is
--- app
import os

def application(environ, start_response):
    start_response('200 OK', [])
    return [b'batch' if os.sched_getscheduler(0) == os.SCHED_BATCH else b'another policy']
--- request eval
["GET /", "GET /"]
--- response_body eval
["batch", "batch"]
