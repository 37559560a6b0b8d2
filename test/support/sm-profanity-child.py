# Profanity in a pseudo terminal, with a home of its own, which it leaves nothing of. What it does is read from its log and
# printed, a line each: `online JID`, `resumed`, `failed`, `message BODY`; a line `send JID BODY` on the standard input is typed
# as a message once it is connected. Usage: sm-profanity-child.py HOST PORT DOMAIN USERNAME PASSWORD CA-FILE (not read)

import fcntl
import os
import pty
import re
import select
import shutil
import signal
import struct
import sys
import tempfile
import termios

host, port, domain, username, password, _ = sys.argv[1:]
jid = f"{username}@{domain}"
folder = tempfile.mkdtemp(prefix="morendo-profanity-")
log_file = f"{folder}/log"


def say(line):
    print(line, flush=True)


def write(path, text):
    os.makedirs(os.path.dirname(path))
    with open(path, "w") as file:
        file.write(text)


def start():
    write(
        f"{folder}/data/profanity/accounts",
        f"[{jid}]\nenabled=true\njid={jid}\nserver={host}\nport={port}\nresource=lib\npassword={password}\n"
        "tls.policy=trust\npresence.last=online\npresence.login=online\n",
    )
    # Seconds between attempts to connect; 30 unless told.
    write(f"{folder}/config/profanity/profrc", "[connection]\nreconnect=1\n[ui]\nsplash=false\n")
    pid, terminal = pty.fork()
    if pid == 0:
        home = {"HOME": folder, "XDG_DATA_HOME": f"{folder}/data", "XDG_CONFIG_HOME": f"{folder}/config"}
        os.environ.update(home, TERM="xterm", LC_ALL="C.UTF-8")
        os.execvp("profanity", ["profanity", "-a", jid, "-l", "DEBUG", "-f", log_file])
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 160, 0, 0))
    return pid, terminal


class Log:
    def __init__(self):
        self.read = 0
        self.rest = b""
        self.connected = False

    def look(self):
        if not os.path.exists(log_file):
            return
        with open(log_file, "rb") as file:
            file.seek(self.read)
            data = file.read()
        self.read += len(data)
        *lines, self.rest = (self.rest + data).split(b"\n")
        for line in lines:
            self.note(line.decode("utf8", "replace"))

    def note(self, line):
        message = re.search(r"RECV: <message.*<body>([^<]*)</body>", line)
        if message:
            say(f"message {message[1]}")
        elif "RECV: <enabled" in line:
            self.connected = True
            say(f"online {jid}/lib")
        elif "RECV: <resumed" in line:
            self.connected = True
            say("resumed")
        elif "RECV: <failed" in line:
            say("failed")
        elif "Lost connection" in line:
            self.connected = False


def run(terminal):
    log = Log()
    orders = b""
    while True:
        ready, _, _ = select.select([terminal, 0], [], [], 0.02)
        if terminal in ready:
            # What is on the screen does not matter, but profanity stops when nobody takes it.
            os.read(terminal, 65536)
        if 0 in ready:
            data = os.read(0, 65536)
            if not data:
                return
            orders += data
        log.look()
        while log.connected and b"\n" in orders:
            order, orders = orders.split(b"\n", 1)
            _, to, body = order.split()
            os.write(terminal, b"/msg " + to + b" " + body + b"\r")


signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
pid, terminal = start()
try:
    run(terminal)
finally:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    shutil.rmtree(folder, ignore_errors=True)
