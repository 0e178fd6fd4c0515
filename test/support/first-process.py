"""Runs a command as a container's first process would see it: what the command leaves behind comes here when it is orphaned.

A container's first process mostly hears the end of nothing but its own children, so that each of these would stay as a zombie.
Their names are added to the file that the first argument names.
"""

import ctypes
import os
import sys

PR_SET_CHILD_SUBREAPER = 36
names, command = sys.argv[1], sys.argv[2:]
ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
child = os.fork()
if child == 0:
    os.execv(command[0], command)
_, status = os.waitpid(child, 0)
while True:
    try:
        orphan = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT).si_pid
    except ChildProcessError:
        break
    with open(f"/proc/{orphan}/comm") as comm, open(names, "a") as file:
        file.write(comm.read())
    os.waitpid(orphan, 0)
sys.exit(os.waitstatus_to_exitcode(status))
