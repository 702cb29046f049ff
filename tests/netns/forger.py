#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Somebody on the network who sends good VRRPv3 adverts in the name of a node, until it is killed.

    forger.py SOURCE DESTINATION VRID ADDRESS EVERY_MS PRIORITY...

The priorities are sent in turn; the interval they claim is the longest there is.
"""
import itertools
import socket
import struct
import sys
import time

PROTOCOL = 112
LONGEST = 0x0fff


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def advert(source, destination, vrid, address, priority):
    message = struct.pack("!BBBBHH4s", 0x31, vrid, priority, 1, LONGEST, 0,
                          socket.inet_aton(address))
    pseudo = struct.pack("!4s4sBBH", socket.inet_aton(source), socket.inet_aton(destination), 0,
                         PROTOCOL, len(message))
    message = message[:6] + struct.pack("!H", checksum(pseudo + message)) + message[8:]
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0xc0, 20 + len(message), 0, 0, 255, PROTOCOL, 0,
                         socket.inet_aton(source), socket.inet_aton(destination))
    return header + message


def main():
    source, destination = sys.argv[1:3]
    vrid, address, every = int(sys.argv[3]), sys.argv[4], int(sys.argv[5]) / 1000
    raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    for priority in itertools.cycle(int(p) for p in sys.argv[6:]):
        try:
            raw.sendto(advert(source, destination, vrid, address, priority), (destination, 0))
        except OSError:
            pass  # nobody there at the moment
        time.sleep(every)


if __name__ == "__main__":
    main()
