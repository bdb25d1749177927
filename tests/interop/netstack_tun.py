"""The kernel's side of netstack_kernel_test.ts: a TUN device in a network namespace of its own, its packets on standard input
and output (two bytes of length, then the packet), and the programs of kernel_programs.py on the kernel's sockets there.

Started as: unshare -n python3 netstack_tun.py MTU. Commands are lines of JSON on file descriptor 3's place, standard error
carries one line of JSON for each finished job. Needs root.
"""

import fcntl
import json
import os
import select
import struct
import subprocess
import sys

from kernel_programs import perform

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000


def run(job):
    sys.stderr.write(json.dumps({"id": job["id"], **perform(job)}) + "\n")
    sys.stderr.flush()


def start(job):
    """Each job is a process of its own, so that the packets never wait for it."""
    if os.fork() == 0:
        try:
            run(job)
        finally:
            os._exit(0)


def main():
    mtu = int(sys.argv[1])
    tun = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH", b"tun0", IFF_TUN | IFF_NO_PI))
    for command in (
        "link set lo up",
        "addr add 100.64.0.1/32 dev tun0",
        "-6 addr add fd00::1/128 dev tun0 nodad",
        f"link set tun0 mtu {max(mtu, 1280)} up",
        f"route add 10.100.0.0/24 dev tun0 mtu {mtu}",
        "-6 route add fd00::2/128 dev tun0",
    ):
        subprocess.run(["ip", *command.split()], check=True)
    buffered = b""
    while True:
        readable, _, _ = select.select([tun, 0], [], [])
        if tun in readable:
            packet = os.read(tun, 65536)
            os.write(1, struct.pack("!H", len(packet)) + packet)
        if 0 in readable:
            part = os.read(0, 1 << 18)
            if not part:
                return
            buffered += part
            at = 0
            while len(buffered) - at >= 2:
                (length,) = struct.unpack_from("!H", buffered, at)
                # A length of 0: a job follows, with its own length.
                header = 4 if length == 0 else 2
                if length == 0:
                    if len(buffered) - at < 4:
                        break
                    (length,) = struct.unpack_from("!H", buffered, at + 2)
                if len(buffered) - at < header + length:
                    break
                body = buffered[at + header : at + header + length]
                at += header + length
                if header == 4:
                    start(json.loads(body))
                else:
                    os.write(tun, body)
            buffered = buffered[at:]


main()
