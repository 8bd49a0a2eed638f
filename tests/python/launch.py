"""Runs a command as the child of a small process and reports its peak resident memory.

    python -S -E launch.py REPORT COMMAND…

The kernel counts in a child's peak what its parent held at the fork; under pytest with numpy loaded that is
hundreds of MB. This process holds about 10 MB.
"""

import os
import signal
import sys

report, command = sys.argv[1], sys.argv[2:]
child = os.fork()
if child == 0:
    os.execvp(command[0], command)
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda number, frame: os.kill(child, number))
while True:
    try:
        _, status, usage = os.wait4(child, 0)
        break
    except InterruptedError:
        continue
with open(report, "w") as file:
    file.write(str(usage.ru_maxrss * 1024))
code = os.waitstatus_to_exitcode(status)
os._exit(code if code >= 0 else 128 - code)
