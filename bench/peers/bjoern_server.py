"""Runs bjoern: one thread in each process, as many processes as every server has."""

import os
import signal
import sys

import bjoern

sys.path.insert(0, "@applications@")

from @application@ import application  # noqa: E402

bjoern.listen(application, "unix:@dir@/socket", listen_backlog=1024)
children = []
for number in range(@processes@):
    child = os.fork()
    if child == 0:
        bjoern.run()
        os._exit(0)
    children.append(child)
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, lambda *_: [os.kill(child, signal.SIGTERM) for child in children])
for child in children:
    os.waitpid(child, 0)
