#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What a client of the virtual address sees.

    prober.py ADDRESS PORT FILE          a new connection every 2 ms
    prober.py --hold ADDRESS PORT FILE   one connection, a line there and back every 10 ms

Appends to FILE, times in CLOCK_BOOTTIME ns:
    answer TIME NODE PID TERM START      (of a connection, at the moment its answer was read)
    error  TIME ERRNO
    echo   TIME                          (--hold: a line came back)
    lost   TIME WHY                      (--hold: the connection is dead)
Connections are attempted side by side: one that hangs does not delay the next, so that the first
answer after an outage is seen within about 2 ms.
"""
import errno
import selectors
import socket
import struct
import sys
import time

INTERVAL = 0.002
TIMEOUT = 0.25
LINGER_RESET = struct.pack("ii", 1, 0)  # close with RST: leaves no TIME_WAIT behind


def now_ns():
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class Prober:
    def __init__(self, address, port, out):
        self.target = (address, port)
        self.out = out
        self.selector = selectors.DefaultSelector()
        self.open = {}  # socket -> time by which it must have answered

    def record(self, *words):
        self.out.write(" ".join(str(w) for w in words) + "\n")

    def start(self):
        family = socket.AF_INET6 if ":" in self.target[0] else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RESET)
        code = sock.connect_ex(self.target)
        if code not in (0, errno.EINPROGRESS):
            sock.close()
            self.record("error", now_ns(), errno.errorcode.get(code, code))
            return
        self.open[sock] = time.monotonic() + TIMEOUT
        self.selector.register(sock, selectors.EVENT_READ)

    def finish(self, sock):
        self.selector.unregister(sock)
        self.open.pop(sock, None)
        sock.close()

    def read(self, sock):
        try:
            words = sock.recv(256).decode().split()
            if len(words) == 4:
                self.record("answer", now_ns(), *words)
            else:
                self.record("error", now_ns(), "short")
        except OSError as e:
            self.record("error", now_ns(), errno.errorcode.get(e.errno, e.errno))
        self.finish(sock)

    def expire(self, now):
        for sock in [s for s, limit in self.open.items() if limit <= now]:
            self.finish(sock)

    def run(self):
        due = time.monotonic()
        while True:
            now = time.monotonic()
            if now >= due:
                self.start()
                due = max(due + INTERVAL, now)
            self.expire(now)
            for key, _ in self.selector.select(max(0, due - time.monotonic())):
                self.read(key.fileobj)


def hold(address, port, out):
    """Keep one connection busy; a silence of 20 s counts as its loss."""
    def record(*words):
        out.write(" ".join(str(w) for w in words) + "\n")

    try:
        with socket.create_connection((address, port), timeout=20) as sock:
            stream = sock.makefile("rwb", buffering=0)
            record("answer", now_ns(), stream.readline().decode().strip())
            while True:
                stream.write(b"still there?\n")
                if not stream.readline():
                    raise ConnectionError("closed by the peer")
                record("echo", now_ns())
                time.sleep(0.01)
    except OSError as e:
        record("lost", now_ns(), e)


def main(argv):
    holding = argv[:1] == ["--hold"]
    address, port, path = argv[1:] if holding else argv
    with open(path, "a", buffering=1, encoding="utf-8") as out:
        if holding:
            hold(address, int(port), out)
        else:
            Prober(address, int(port), out).run()


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except KeyboardInterrupt:
        pass
