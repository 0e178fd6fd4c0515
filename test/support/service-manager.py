"""Plays systemd for one program: holds listening sockets and the notify socket, passes both on, says what it hears.

Usage: service-manager.py PORTS NOTIFY_SOCKET COMMAND...   PORTS: how many loopback sockets to open.
Standard output, a line each: "port N" per socket, "notify K=V" per field, "started PID", "exited CODE".
Standard input, a line each: "start", "stop" (SIGTERM), "quit".
"""

import ctypes
import os
import signal
import socket
import sys
import threading

count, notify_path, command = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
out_lock = threading.Lock()


def say(text):
    with out_lock:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()


listeners = []
for _ in range(count):
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(4096)
    listeners.append(listener)
    say("port %d" % listener.getsockname()[1])

notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
notify.bind(notify_path)


def hear():
    while True:
        # Without room for it the kernel closes the descriptor of a BARRIER at once, which is its answer.
        for field in notify.recv(65536).decode().split("\n"):
            if field and field != "BARRIER=1":
                say("notify " + field)


threading.Thread(target=hear, daemon=True).start()
child = 0


def reap(pid):
    _, status = os.waitpid(pid, 0)
    say("exited %d" % os.waitstatus_to_exitcode(status))


for line in sys.stdin:
    word = line.strip()
    if word == "start":
        child = os.fork()
        if child == 0:
            # PR_SET_PDEATHSIG: a test that is killed leaves no daemon behind.
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)
            # Out of the way first: a target may be another one's source.
            fds = [os.dup(listener.fileno()) for listener in listeners]
            high = [os.dup2(fd, 100 + index) for index, fd in enumerate(fds)]
            for index, fd in enumerate(high):
                os.dup2(fd, 3 + index)
                os.set_inheritable(3 + index, True)
            os.closerange(3 + len(high), 200)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            env = dict(
                os.environ,
                LISTEN_PID=str(os.getpid()),
                LISTEN_FDS=str(count),
                LISTEN_FDNAMES=":".join(["hub"] + ["membership"] * (count - 1)),
                NOTIFY_SOCKET=notify_path,
            )
            os.execvpe(command[0], command, env)
        say("started %d" % child)
        threading.Thread(target=reap, args=(child,), daemon=True).start()
    elif word == "stop":
        os.kill(child, signal.SIGTERM)
    elif word == "quit":
        break
