"""Programs that use the kernel's sockets: what the tests let run in a network namespace, at the other end of a TUN device.

Each takes a job, a dictionary: `kind` names the function, `port` and, unless the other end is the one of netstack_tun.py, `to`
the destination. Called as `kernel_programs.py JSON` it runs one job and prints its result as JSON.
"""

import hashlib
import json
import socket
import struct
import sys
import threading
import time

SERVER4, SERVER6 = "10.100.0.2", "fd00::2"


def host(job):
    return job.get("to") or (SERVER6 if job.get("v6") else SERVER4)


def family(job):
    return socket.AF_INET6 if ":" in host(job) else socket.AF_INET


def pattern(length, stream):
    block = bytes((i * 31 + stream) & 0xFF for i in range(251))
    return (block * (length // 251 + 1))[:length]


def connect(job):
    sock = socket.socket(family(job), socket.SOCK_STREAM)
    sock.settimeout(job.get("timeout", 60))
    if "source" in job:
        sock.bind((job["source"], 0))
    sock.connect((host(job), job["port"]))
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
    data = pattern(job["bytes"], 1)
    sock.sendall(data)
    sock.close()
    return {"first": first, "sha256": hashlib.sha256(data).hexdigest()}


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
    sock = socket.socket(family(job), socket.SOCK_DGRAM)
    sock.settimeout(5)
    sock.connect((host(job), job["port"]))
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
    with echo_socket(job) as sock:
        return {"ok": ping_once(sock, job, 1)}


def pings(job):
    """So many echo requests, one after the other with a pause; the milliseconds that each took."""
    times = []
    with echo_socket(job) as sock:
        for i in range(job["count"]):
            begun = time.monotonic()
            ping_once(sock, job, i + 1)
            times.append(1000 * (time.monotonic() - begun))
            time.sleep(job.get("pause", 0.05))
    return {"ms": sorted(times)}


def echo_socket(job):
    sock = socket.socket(family(job), socket.SOCK_RAW, 58 if job.get("v6") else 1)
    sock.settimeout(job.get("timeout", 5))
    return sock


def ping_once(sock, job, number):
    body = struct.pack("!BBHHH", 128 if job.get("v6") else 8, 0, 0, 0x1234, number) + b"echo this!"
    if not job.get("v6"):
        # The kernel writes the checksum of ICMPv6 itself.
        body = body[:2] + struct.pack("!H", checksum(body)) + body[4:]
    sock.sendto(body, (host(job), 0))
    while True:
        reply = sock.recv(2000)
        reply = reply if job.get("v6") else reply[20:]
        if reply[0] in (0, 129) and reply[4:] == body[4:]:
            return True


def spread(job, i):
    """Job number i of several: from the next of the sources, where the job names some."""
    sources = job.get("sources")
    return dict(job, source=sources[i % len(sources)]) if sources else job


def at_once(jobs, one):
    """What `one` says about each job, all of them at the same time; the name of the error where one failed."""
    results = [None] * len(jobs)

    def run(i):
        try:
            results[i] = one(jobs[i])
        except OSError as error:
            results[i] = type(error).__name__

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(jobs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def many(job):
    """So many connections at once, each with a few bytes more than the one before."""
    jobs = [dict(spread(job, i), bytes=job["bytes"] + i) for i in range(job["count"])]
    results = at_once(jobs, lambda one: echo(one)["same"])
    return {"good": sum(1 for result in results if result is True), "other": [r for r in results if r is not True][:3]}


def attempts(job):
    """So many connects at once, and how each ended."""

    def attempt(one):
        connect(one).close()
        return "connected"

    return {"ends": at_once([spread(job, i) for i in range(job["count"])], attempt)}


def cycle(job, is_reset):
    """Sends a hundred bytes and has them back; ends by RST or in good order."""
    with connect(job) as sock:
        sock.sendall(b"x" * 100)
        if not is_reset:
            sock.shutdown(socket.SHUT_WR)
            return drain(sock)[0] == 100
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return len(sock.recv(100)) > 0


def cycles(job):
    """One short connection after the other, every third ended by RST."""
    good, bad = 0, []
    for i in range(job["count"]):
        try:
            good += cycle(spread(job, i), i % 3 == 2)
        except OSError as error:
            bad.append(f"{i}: {error}")
    return {"good": good, "bad": bad[:3]}


def perform(job):
    begun = time.monotonic()
    try:
        result = globals()[job["kind"]](job)
    except OSError as error:
        result = {"error": type(error).__name__, "words": str(error)}
    result["seconds"] = time.monotonic() - begun
    return result


if __name__ == "__main__":
    print(json.dumps(perform(json.loads(sys.argv[1]))))
