#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A cable that delays, duplicates and so reorders: relay.py ONE OTHER DELAY_MS DUPLICATES_PERCENT

Passes every frame between two interfaces of this namespace, each copy after a random time of its
own.  Says "ready" on stdout.  Frames keep their offload state (PACKET_VNET_HDR), so that checksums
that nobody has computed yet stay the receiver's kernel's business.
"""
import heapq
import itertools
import random
import selectors
import socket
import sys
import time

ETH_P_ALL = 3
SOL_PACKET, PACKET_VNET_HDR = 263, 15
PACKET_OUTGOING = 4


def open_packet(interface):
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    sock.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    sock.bind((interface, ETH_P_ALL))
    sock.setblocking(False)
    return sock


class Relay:
    def __init__(self, one, other, delay, duplicates):
        self.ends = [open_packet(one), open_packet(other)]
        self.delay, self.duplicates = delay, duplicates
        self.queue, self.count = [], itertools.count()
        self.selector = selectors.DefaultSelector()
        for end, peer in zip(self.ends, reversed(self.ends)):
            self.selector.register(end, selectors.EVENT_READ, peer)

    def take(self, end, peer):
        try:
            while True:
                frame, where = end.recvfrom(65536)
                if where[2] == PACKET_OUTGOING:
                    continue
                for _ in range(2 if random.random() < self.duplicates else 1):
                    due = time.monotonic() + random.uniform(0, self.delay)
                    heapq.heappush(self.queue, (due, next(self.count), frame, peer))
        except BlockingIOError:
            pass

    def run(self):
        while True:
            wait = max(0, self.queue[0][0] - time.monotonic()) if self.queue else None
            for key, _ in self.selector.select(wait):
                self.take(key.fileobj, key.data)
            while self.queue and self.queue[0][0] <= time.monotonic():
                _, _, frame, peer = heapq.heappop(self.queue)
                peer.send(frame)


if __name__ == "__main__":
    relay = Relay(sys.argv[1], sys.argv[2], float(sys.argv[3]) / 1000, float(sys.argv[4]) / 100)
    print("ready", flush=True)
    relay.run()
