"""The kernel's side of netstack_kernel_test.ts: a TUN device in a network namespace of its own, its packets on standard input
and output (two bytes of length, then the packet), and programs that use the kernel's sockets through it.

Started as: unshare -n python3 netstack_tun.py MTU. Commands are lines of JSON on file descriptor 3's place, standard error
carries one line of JSON for each finished job. Needs root.
"""

import fcntl
import hashlib
import json
import os
import select
import socket
import struct
import subprocess
import sys
import threading
import time

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
SERVER4, SERVER6 = "10.100.0.2", "fd00::2"


def pattern(length, stream):
    block = bytes((i * 31 + stream) & 0xFF for i in range(251))
    return (block * (length // 251 + 1))[:length]


def connect(job):
    family = socket.AF_INET6 if job.get("v6") else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.settimeout(job.get("timeout", 60))
    sock.connect((SERVER6 if job.get("v6") else SERVER4, job["port"]))
    return sock


def drain(sock, slow=False):
    digest, count = hashlib.sha256(), 0
    while True:
        part = sock.recv(1000 if slow else 1 << 18)
        if not part:
            return count, digest.hexdigest()
        digest.update(part)
        count += len(part)
        if slow and count < 200_000:
            time.sleep(0.002)


def upload(job):
    """Sends, ends its direction, and reads what the other end says then."""
    sock = connect(job)
    sock.sendall(pattern(job["bytes"], 1))
    sock.shutdown(socket.SHUT_WR)
    reply = b""
    while True:
        part = sock.recv(65536)
        if not part:
            break
        reply += part
    return {"reply": reply.decode(), "sha256": hashlib.sha256(pattern(job["bytes"], 1)).hexdigest()}


def download(job):
    sock = connect(job)
    if job.get("window"):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, job["window"])
    sock.sendall(struct.pack("!I", job["bytes"]))
    count, digest = drain(sock, job.get("slow", False))
    return {"count": count, "same": digest == hashlib.sha256(pattern(job["bytes"], 2)).hexdigest()}


def echo(job):
    """Both directions at once."""
    sock = connect(job)
    data = pattern(job["bytes"], 3)
    sender = threading.Thread(target=lambda: (sock.sendall(data), sock.shutdown(socket.SHUT_WR)))
    sender.start()
    count, digest = drain(sock)
    sender.join()
    return {"count": count, "same": digest == hashlib.sha256(data).hexdigest()}


def late(job):
    """The other end ends first; we still send everything."""
    sock = connect(job)
    first, _ = drain(sock)
    sock.sendall(pattern(job["bytes"], 1))
    sock.close()
    return {"first": first}


def reset(job):
    """Ends with RST."""
    sock = connect(job)
    sock.sendall(b"x" * 100)
    time.sleep(0.2)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
    return {}


def wait(job):
    """Reads until something ends it."""
    sock = connect(job)
    sock.sendall(b"hello")
    return {"count": drain(sock)[0]}


def datagrams(job):
    family = socket.AF_INET6 if job.get("v6") else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.settimeout(5)
    sock.connect((SERVER6 if job.get("v6") else SERVER4, job["port"]))
    replies = []
    for text in job["texts"]:
        sock.send(text.encode())
        replies.append(sock.recv(2000).decode())
    return {"replies": replies}


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF


def ping(job):
    """One echo request and its reply."""
    family, protocol, kind = (socket.AF_INET6, 58, 128) if job.get("v6") else (socket.AF_INET, 1, 8)
    sock = socket.socket(family, socket.SOCK_RAW, protocol)
    sock.settimeout(5)
    body = struct.pack("!BBHHH", kind, 0, 0, 0x1234, 1) + b"echo this"
    body += b"!" * (len(body) % 2)
    if not job.get("v6"):
        # The kernel writes the checksum of ICMPv6 itself.
        body = body[:2] + struct.pack("!H", checksum(body)) + body[4:]
    sock.sendto(body, (SERVER6 if job.get("v6") else SERVER4, 0))
    while True:
        reply = sock.recv(2000)
        reply = reply if job.get("v6") else reply[20:]
        if reply[0] in (0, 129):
            return {"ok": reply[4:] == body[4:]}


def many(job):
    jobs = [dict(job, kind="echo", bytes=job["bytes"] + i) for i in range(job["count"])]
    results = [None] * len(jobs)

    def one(i):
        try:
            results[i] = echo(jobs[i])["same"]
        except OSError as error:
            results[i] = str(error)

    threads = [threading.Thread(target=one, args=(i,)) for i in range(len(jobs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {"good": sum(1 for result in results if result is True), "other": [r for r in results if r is not True][:3]}


def run(job):
    begun = time.monotonic()
    try:
        result = globals()[job["kind"]](job)
    except OSError as error:
        result = {"error": type(error).__name__}
    result["seconds"] = time.monotonic() - begun
    sys.stderr.write(json.dumps({"id": job["id"], **result}) + "\n")
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
