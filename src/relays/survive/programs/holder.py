# The holder and its streamer in Python 3.4 with the standard library only; docs/survive.md describes both, and what
# they say. Descriptors 0 and 1 are those of the exec call; sys.argv[1:] is the client's command; `start` is the first
# line of descriptor 0, and its next `skip` bytes are for others.
import errno, fcntl, os, select, signal, socket, stat, struct, sys, termios, time

# Output that nobody has acknowledged: beyond it the command is not read from, so that it stops writing.
WINDOW = 2 << 20
INPUT_WINDOW = 1 << 20
PIECE = 32 << 10
# An open connection is given at least this long to say something, however short a lost one may linger.
SILENCE = 60
PREFIX = ".connect-gateway-proxy-"

now = time.monotonic


def unblock(*descriptors):
    for fd in descriptors:
        fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_NONBLOCK)


# Reads what is there: None where nothing is, b"" at the end.
def drink(fd, most=65536):
    try:
        return os.read(fd, most)
    except (BlockingIOError, InterruptedError):
        return None
    except OSError:
        return b""


# As drink, for what the exec call brings.
def drink_call(fd):
    global skip
    received = drink(fd)
    skipped = min(skip, len(received or b""))
    skip -= skipped
    # All of it was for others: that is no end.
    return received[skipped:] or None if skipped else received


# Writes what can be written, and removes it: false where nobody reads any more.
def pour(buffer, fd):
    try:
        n = os.write(fd, memoryview(buffer)[:65536])
    except (BlockingIOError, InterruptedError):
        return True
    except OSError:
        return False
    del buffer[:n]
    return True


def say(text):
    try:
        os.write(1, text.encode() + b"\n")
    except OSError:
        pass


def answer(text):
    say(text)
    os._exit(0)


VERB, NAME, turn, out_from, err_from, linger, tty, want_in, want_out, want_err = start.decode().split()
turn, linger = int(turn), int(linger)
tty, want_in, want_out, want_err = (word == "1" for word in (tty, want_in, want_out, want_err))

places = []
for place in (os.environ.get("TMPDIR"), "/dev/shm", "/tmp", "/var/tmp", "/run", os.environ.get("HOME")):
    if place and place.startswith("/") and place not in places and os.path.isdir(place):
        places.append(place)


def is_ours(folder):
    try:
        status = os.lstat(folder)
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o077


# When a living process was started: its number may be another's by now.
def birth(pid):
    try:
        with open("/proc/%s/stat" % pid, "rb") as f:
            words = f.read().rpartition(b")")[2].decode().split()
            return "" if words[0] == "Z" else words[19]
    except (OSError, IndexError):
        return ""


def remove(folder):
    try:
        for entry in os.listdir(folder):
            os.unlink(os.path.join(folder, entry))
        os.rmdir(folder)
    except OSError:
        pass


# What killed holders have left behind.
def sweep():
    if not birth("self"):
        return
    for place in places:
        try:
            entries = os.listdir(place)
        except OSError:
            continue
        for entry in entries:
            folder = os.path.join(place, entry)
            if not entry.startswith(PREFIX) or entry.endswith(NAME) or not is_ours(folder):
                continue
            try:
                with open(folder + "/pid") as f:
                    pid, born = f.read().split()
                stale = birth(pid) != born
            except (OSError, ValueError):
                stale = time.time() - os.lstat(folder).st_mtime > 60
            if stale:
                remove(folder)


# The streamer: carries bytes between the exec call and a holder that is there already.
def stream_to(folder):
    tries = 0
    while True:
        holder = socket.socket(socket.AF_UNIX)
        try:
            os.chdir(folder)
            holder.connect("socket")
            break
        except OSError as error:
            holder.close()
            tries += 1
            # It may just be starting.
            if tries > (150 if error.errno == errno.ENOENT else 10):
                answer("gone")
            time.sleep(0.02)
    to = holder.fileno()
    look = VERB == "look"
    up = bytearray(b"look\n" if look else ("join %d %s %s %d\n" % (turn, out_from, err_from, linger)).encode())
    down = bytearray()
    up_open, down_open = not look, True
    unblock(0, 1, to)
    # The last words of a holder that has ended the connection get a moment.
    until = None
    while down_open or down:
        if not up_open and not up and not look:
            break
        r, w = [], []
        if up_open and down_open and len(up) < 65536:
            r.append(0)
        if down_open and len(down) < 65536:
            r.append(to)
        if down_open and up:
            w.append(to)
        if down:
            w.append(1)
        wait = None if until is None else until - now()
        if wait is not None and wait <= 0:
            break
        r, w, _ = select.select(r, w, [], wait)
        ended = False
        if to in r:
            bytes_down = drink(to)
            down += bytes_down or b""
            ended = bytes_down == b""
        if to in w:
            ended = not pour(up, to) or ended
        if ended:
            down_open, until = False, now() + 5
        if 1 in w and not pour(down, 1):
            break
        # The exec call has been cut, or is over.
        if 0 in r:
            bytes_up = drink_call(0)
            up += bytes_up or b""
            up_open = bytes_up != b""
    os._exit(0)


for place in places:
    if is_ours(os.path.join(place, PREFIX + NAME)):
        stream_to(os.path.join(place, PREFIX + NAME))
if VERB != "start":
    answer("gone")

# The holder, from here on.


# What the exec call came with: a shell drops names that it does not like, and adds its own, as does Python.
def environment():
    try:
        with open("/proc/%d/environ" % os.getppid(), "rb") as f:
            entries = [entry.partition(b"=") for entry in f.read().split(b"\0")]
        if len(entries) > 1:
            return {key: value for key, equals, value in entries if key and equals}
    except OSError:
        pass
    return {key: value for key, value in os.environb.items() if key not in (b"PWD", b"OLDPWD", b"SHLVL", b"_")}


env = environment()
if tty:
    env[b"TERM"] = b"xterm"
master = slave = None
in_ours = out_ours = err_ours = None
child_ends = []
if tty:
    try:
        master, slave = os.openpty()
    except OSError:
        answer("plain no-pty")
else:
    null = os.open("/dev/null", os.O_RDWR)
    child_ends = [null, null, null]
    if want_in:
        child_ends[0], in_ours = os.pipe()
    if want_out:
        out_ours, child_ends[1] = os.pipe()
    if want_err:
        err_ours, child_ends[2] = os.pipe()
go_child, go = os.pipe()
failed, failed_child = os.pipe()
mask = os.umask(0o077)

# The command stays in its own folder, and waits there until all is ready; then it tells if it cannot be executed.
command = os.fork()
if command == 0:
    os.close(go)
    if not os.read(go_child, 1):
        os._exit(0)
    os.umask(mask)
    os.setsid()
    if tty:
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
        child_ends = [slave] * 3
    for fd in range(3):
        os.dup2(child_ends[fd], fd)
    # Python's own habits are not the command's.
    for name in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT):
        signal.signal(name, signal.SIG_DFL)
    try:
        os.execvpe(os.fsencode(sys.argv[1]), [os.fsencode(word) for word in sys.argv[1:]], env)
    except OSError as error:
        os.write(failed_child, str(error.errno).encode())
    os._exit(127)
for fd in set([go_child, failed_child] + child_ends + ([] if slave is None else [slave])):
    os.close(fd)


def give_up():
    os.close(go)
    os.waitpid(command, 0)


folder = listener = None
for place in places:
    candidate = os.path.join(place, PREFIX + NAME)
    try:
        os.mkdir(candidate, 0o700)
    except FileExistsError:
        if is_ours(candidate):
            # Another call of the same session was quicker.
            give_up()
            stream_to(candidate)
        continue
    except OSError:
        continue
    try:
        os.chdir(candidate)
        with open("pid", "w") as f:
            listener = socket.socket(socket.AF_UNIX)
            listener.bind("socket")
            listener.listen(8)
            f.write("%d %s\n" % (os.getpid(), birth(os.getpid())))
        folder = candidate
        break
    except OSError:
        os.chdir("/")
        remove(candidate)
if folder is None:
    give_up()
    answer("plain no-folder")


# What is left of the folder, for so long, refuses a call to start this again that comes late.
refuse = 0


def forget():
    os.chdir("/")
    if not refuse:
        return remove(folder)
    for name in ("pid", "socket"):
        try:
            os.unlink(os.path.join(folder, name))
        except OSError:
            pass


def end():
    if refuse:
        time.sleep(refuse)
        remove(folder)
    os._exit(0)


os.setsid()
say("begun")
os.write(go, b".")
os.close(go)
errno_told = os.read(failed, 16)
if errno_told:
    forget()
    os.waitpid(command, 0)
    answer("plain exec-" + errno_told.decode())
os.close(failed)


class Stream:
    def __init__(self, name, fd):
        self.name, self.fd, self.buffer, self.base, self.sent = name, fd, bytearray(), 0, 0

    def end(self):
        return self.base + len(self.buffer)

    def close(self):
        if self.fd is not None:
            os.close(self.fd)
        self.fd = None

    def skip_to(self, offset):
        if self.base < offset <= self.end():
            del self.buffer[: offset - self.base]
            self.base = offset


class Line:
    def __init__(self, fd_in, fd_out, close, drink=drink):
        self.fd_in, self.fd_out, self.close, self.drink, self.told = fd_in, fd_out, close, drink, False
        self.heard, self.to_say = bytearray(), bytearray()

    def say(self, text):
        self.to_say += text.encode() + b"\n"


streams = []
if tty or want_out:
    streams.append(Stream("out", master if tty else out_ours))
if not tty and want_err:
    streams.append(Stream("err", err_ours))


def sent(name):
    return sum(stream.sent for stream in streams if stream.name == name)


class Holder:
    def __init__(self):
        self.stdin = master if tty else in_ours
        # Input: bytes taken, those of them that are not yet written, and how many there will be.
        self.taken, self.input, self.ends_at = 0, bytearray(), None
        self.exit_code, self.heard_at = None, now()
        self.turn, self.linger = turn, linger
        # The connection to the daemon, and one that has not yet said what it wants.
        self.line = self.waiting = None
        self.bye, self.left, self.swept = None, False, False
        self.listener = listener
        # The exec call's own ends, away from where they could be taken for anything else's.
        call_in, call_out = os.dup(0), os.dup(1)
        null = os.open("/dev/null", os.O_RDWR)
        for fd in range(3):
            os.dup2(null, fd)
        os.close(null)
        self.line = Line(call_in, call_out, lambda: (os.close(call_in), os.close(call_out)), drink_call)
        self.line.say(self.hello())
        # A signal would interrupt nothing by itself: its number is written where it can be waited for.
        self.died, wakes = os.pipe()
        signal.signal(signal.SIGCHLD, lambda *_: None)
        unblock(wakes, self.died, call_in, call_out, listener.fileno())
        unblock(*(fd for fd in [in_ours] + [stream.fd for stream in streams] if fd is not None))
        signal.set_wakeup_fd(wakes)
        # It may have ended before.
        os.write(wakes, b".")

    def hello(self):
        return "hold python %d %d %d" % (self.taken, sent("out"), sent("err"))

    def hang(self):
        if self.line:
            self.line.close()
        self.line = None

    def dismiss(self):
        if self.waiting:
            self.waiting.close()
        self.waiting = None

    def end_input(self):
        if self.line and self.input:
            self.line.say("in %d" % self.taken)
        if self.stdin is not None and not tty:
            os.close(self.stdin)
        self.stdin = None
        del self.input[:]

    def hang_up(self):
        self.hang()
        self.dismiss()
        self.listener.close()
        self.listener = None
        forget()
        self.left = True
        self.end_input()
        for stream in streams:
            del stream.buffer[:]
            if tty:
                stream.close()

    def take_input(self, offset, received):
        # What is missing in between was never sent: this is no holder's daemon.
        if offset > self.taken:
            return self.hang()
        new = offset + len(received) - self.taken
        if new <= 0:
            return
        self.taken += new
        if self.stdin is None:
            self.line.say("in %d" % self.taken)
        else:
            self.input += received[-new:]

    def obey(self, word, *rest):
        if word == "got":
            for stream in streams:
                stream.skip_to(int(rest[0] if stream.name == "out" else rest[1]))
        elif word == "size":
            if tty and streams[0].fd is not None:
                fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", int(rest[1]), int(rest[0]), 0, 0))
        elif word == "beat":
            self.line.say("beat")
        elif word == "refuse":
            global refuse
            refuse = int(rest[0])
        elif word == "eof":
            self.ends_at = int(rest[0])
        elif word in ("leave", "done"):
            if word == "leave":
                self.linger = int(rest[0])
            self.bye = word
            self.line.say("bye")
        else:
            self.hang()

    def listen(self):
        while self.line and not self.bye:
            heard = self.line.heard
            at = heard.find(b"\n", 0, 100)
            if at < 0:
                return
            words = heard[:at].decode().split(" ")
            if words[0] == "in":
                end = at + 1 + int(words[2])
                # Whole, with the end of a line behind it.
                if len(heard) <= end:
                    return
                received = bytes(heard[at + 1 : end])
                del heard[: end + 1]
                self.take_input(int(words[1]), received)
            else:
                del heard[: at + 1]
                self.obey(*words)

    def speak(self):
        line = self.line
        for stream in streams:
            while len(line.to_say) < 2 * PIECE and stream.sent < stream.end():
                start = stream.sent - stream.base
                piece = stream.buffer[start : start + PIECE]
                line.say("%s %d %d" % (stream.name, stream.sent, len(piece)))
                line.to_say += piece
                stream.sent += len(piece)
        if self.exit_code is None or line.told:
            return
        if any(stream.fd is not None or stream.sent < stream.end() for stream in streams):
            return
        line.told = True
        line.say("exit %d %d %d" % (self.exit_code, sent("out"), sent("err")))

    # Whoever has knocked takes over, or only looks.
    def admit(self):
        waiting = self.waiting
        at = waiting.heard.find(b"\n", 0, 100)
        if at < 0:
            return
        words = waiting.heard[:at].decode().split(" ")
        del waiting.heard[: at + 1]
        if words[0] != "join" or int(words[1]) < self.turn:
            left = self.linger if self.line else self.heard_at + self.linger - now()
            waiting.say("look %d" % left if words[0] == "look" else "taken")
            pour(waiting.to_say, waiting.fd_out)
            return self.dismiss()
        if self.line and not self.line.to_say:
            self.line.say("taken")
            pour(self.line.to_say, self.line.fd_out)
        self.hang()
        self.turn, self.linger, self.heard_at = int(words[1]), int(words[4]), now()
        for stream in streams:
            stream.skip_to(int(words[2] if stream.name == "out" else words[3]))
            stream.sent = stream.base
        self.line, self.waiting = waiting, None
        waiting.say(self.hello())

    def reap(self):
        pid, status = os.waitpid(command, os.WNOHANG)
        if pid != command:
            return
        self.exit_code = 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
        self.end_input()
        if tty and streams[0].fd is not None:
            # Its terminal has been hung up: what it has left behind may hold it open, and can write no more.
            while True:
                received = drink(master)
                if not received:
                    break
                streams[0].buffer += received
            streams[0].close()

    def step(self):
        self.listen()
        if self.stdin is not None and not self.input and not tty:
            if self.ends_at is not None and self.ends_at <= self.taken:
                self.end_input()
        if self.line and not self.bye:
            self.speak()
        if self.bye and not (self.line and self.line.to_say):
            self.hang()
            if self.bye == "done":
                forget()
                end()
            self.bye = None
        if self.left and self.exit_code is not None and not any(stream.fd is not None for stream in streams):
            end()
        wait = None
        if not self.left:
            patience = max(self.linger, SILENCE) if self.line else self.linger
            wait = self.heard_at + patience - now()
            if wait <= 0:
                return self.hang_up()
        line, waiting = self.line, self.waiting
        r, w = [self.died], []
        if self.listener:
            r.append(self.listener)
        if waiting:
            r.append(waiting.fd_in)
        if line and not self.bye and len(self.input) < INPUT_WINDOW:
            r.append(line.fd_in)
        if line and line.to_say:
            w.append(line.fd_out)
        if self.stdin is not None and self.input:
            w.append(self.stdin)
        r += [stream.fd for stream in streams if stream.fd is not None and len(stream.buffer) < WINDOW]
        r, w, _ = select.select(r, w, [], wait)
        for stream in streams:
            if stream.fd in r:
                received = drink(stream.fd)
                if received == b"":
                    stream.close()
                elif received and not self.left:
                    stream.buffer += received
        if self.died in r:
            drink(self.died)
            if self.exit_code is None:
                self.reap()
        if self.stdin is not None and self.stdin in w:
            before = len(self.input)
            if not pour(self.input, self.stdin):
                self.end_input()
            elif self.line and len(self.input) < before:
                self.line.say("in %d" % (self.taken - len(self.input)))
        if line and line.fd_out in w and not pour(line.to_say, line.fd_out):
            self.hang()
        if self.line and line and line.fd_in in r:
            self.heard_at = now()
            received = line.drink(line.fd_in)
            if received == b"" and not self.bye:
                self.hang()
            line.heard += received or b""
        if waiting and waiting.fd_in in r:
            received = drink(waiting.fd_in, 4096)
            if received == b"":
                self.dismiss()
            else:
                waiting.heard += received or b""
                self.admit()
        if self.listener and self.listener in r:
            try:
                guest, _ = self.listener.accept()
            except OSError:
                return
            guest.setblocking(False)
            self.dismiss()
            self.waiting = Line(guest.fileno(), guest.fileno(), guest.close)
        if not self.swept:
            self.swept = True
            sweep()


holder = Holder()
while True:
    holder.step()
