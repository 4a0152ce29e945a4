"""Runs bjoern: one thread in each process, as many processes as every server has.

bjoern_server.py [ADDRESS PORT]: without these on the unix socket that nginx knows.
"""

import os
import signal
import sys

import bjoern

sys.path.insert(0, "@applications@")

from @application@ import application  # noqa: E402

where = (sys.argv[1], int(sys.argv[2])) if sys.argv[1:] else ("unix:@dir@/socket",)
bjoern.listen(application, *where, listen_backlog=1024)
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
