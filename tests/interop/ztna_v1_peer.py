"""A ztna-v1 agent or connector on aioquic, written from docs/WIRE.md and from nothing else of this repository.

It does what it is told by JSON lines on its standard input and says what it sees as JSON lines on its standard output. What it
decides by itself is only what the protocol asks of a peer: to verify the server, and (after `answer`) to send UDP packets back.

    {"do": "datagram", "hex": "1003776562"}
    {"do": "udp", "source": "100.64.0.1:40000", "destination": "10.0.0.1:53", "payload": "hello", "service": "web"}
    {"do": "answer", "prefix": "re: "}
    {"do": "stream", "hex": "54...", "fin": true}           a new stream; or with "stream": 0 more on an old one
    {"do": "move", "renews": false}       goes on from another port; with "renews" also with another connection ID, as who moves by intent
    {"do": "close"}
"""

import argparse
import asyncio
import ipaddress
import json
import socket
import ssl
import struct
import sys

from aioquic.asyncio import QuicConnectionProtocol, connect
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import (
    ConnectionTerminated,
    DatagramFrameReceived,
    HandshakeCompleted,
    StopSendingReceived,
    StreamDataReceived,
    StreamReset,
)

UDP = 17


def say(event: str, **fields: object) -> None:
    print(json.dumps({"event": event, **fields}), flush=True)


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def udp_packet(source: tuple[str, int], destination: tuple[str, int], payload: bytes) -> bytes:
    """An IPv4 packet with a UDP datagram: TTL 64, DF, all checksums set (WIRE 5.6)."""
    addresses = ipaddress.IPv4Address(source[0]).packed + ipaddress.IPv4Address(destination[0]).packed
    length = 8 + len(payload)
    udp = struct.pack(">HHHH", source[1], destination[1], length, 0) + payload
    pseudo = addresses + struct.pack(">BBH", 0, UDP, length)
    udp = udp[:6] + struct.pack(">H", checksum(pseudo + udp) or 0xFFFF) + udp[8:]
    header = struct.pack(">BBHHHBBH", 0x45, 0, 20 + length, 0, 0x4000, 64, UDP, 0) + addresses
    return header[:10] + struct.pack(">H", checksum(header)) + header[12:] + udp


def parse_udp(packet: bytes) -> dict[str, object] | None:
    """What a UDP packet says, and whether its checksums are right; None for anything else."""
    if len(packet) < 28 or packet[0] != 0x45 or packet[9] != UDP or struct.unpack(">H", packet[2:4])[0] != len(packet):
        return None
    source_port, destination_port, length, sum_ = struct.unpack(">HHHH", packet[20:28])
    pseudo = packet[12:20] + struct.pack(">BBH", 0, UDP, length)
    return {
        "source": (str(ipaddress.IPv4Address(packet[12:16])), source_port),
        "destination": (str(ipaddress.IPv4Address(packet[16:20])), destination_port),
        "payload": packet[28:],
        "sound": checksum(packet[:20]) == 0 and (sum_ == 0 or checksum(pseudo + packet[20:]) == 0),
    }


def endpoint(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host, int(port)


class Peer(QuicConnectionProtocol):
    prefix: bytes | None = None

    def quic_event_received(self, event: object) -> None:
        if isinstance(event, HandshakeCompleted):
            say("connected", alpn=event.alpn_protocol, port=self._transport.get_extra_info("sockname")[1])
        elif isinstance(event, DatagramFrameReceived):
            self.datagram(event.data)
        elif isinstance(event, StreamDataReceived):
            say("stream", stream=event.stream_id, hex=event.data.hex(), fin=event.end_stream)
        elif isinstance(event, StreamReset):
            say("reset", stream=event.stream_id, code=event.error_code)
        elif isinstance(event, StopSendingReceived):
            say("stop", stream=event.stream_id, code=event.error_code)
        elif isinstance(event, ConnectionTerminated):
            say("closed", code=event.error_code, reason=event.reason_phrase, application=event.frame_type is None)

    async def move(self, renews: bool) -> None:
        """What is on its way to the old port is lost, as behind a NAT that forgot it."""
        old = self._transport
        sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind(("::", 0, 0, 0))
        await asyncio.get_running_loop().create_datagram_endpoint(lambda: self, sock=sock)
        old.close()
        used = self._quic._peer_cid.cid
        if renews:
            self.change_connection_id()
        say("moved", port=sock.getsockname()[1], renewed=self._quic._peer_cid.cid != used)

    def datagram(self, data: bytes) -> None:
        udp = parse_udp(data)
        if udp is None:
            say("datagram", hex=data.hex())
            return
        say(
            "udp",
            hex=data.hex(),
            source="%s:%d" % udp["source"],
            destination="%s:%d" % udp["destination"],
            payload=udp["payload"].decode("latin-1"),
            sound=udp["sound"],
        )
        if self.prefix is not None:
            self.send(udp_packet(udp["destination"], udp["source"], self.prefix + udp["payload"]))

    def send(self, data: bytes) -> None:
        self._quic.send_datagram_frame(data)
        self.transmit()

    def obey(self, command: dict[str, object]) -> None:
        match command["do"]:
            case "datagram":
                self.send(bytes.fromhex(command["hex"]))
            case "udp":
                packet = udp_packet(endpoint(command["source"]), endpoint(command["destination"]), command["payload"].encode())
                service = command.get("service", "").encode()
                self.send(b"\x2f" + bytes([len(service)]) + service + packet if service else packet)
            case "answer":
                self.prefix = command["prefix"].encode()
            case "stream":
                stream = command.get("stream")
                stream = self._quic.get_next_available_stream_id() if stream is None else stream
                self._quic.send_stream_data(stream, bytes.fromhex(command["hex"]), command.get("fin", False))
                self.transmit()
            case other:
                raise ValueError(f"cannot do {other}")


def configuration(arguments: argparse.Namespace) -> QuicConfiguration:
    made = QuicConfiguration(
        is_client=True,
        alpn_protocols=arguments.alpn,
        max_datagram_frame_size=65536,
        idle_timeout=30.0,
        server_name=arguments.server_name,
        verify_mode=ssl.CERT_REQUIRED,
    )
    made.load_verify_locations(arguments.ca)
    if arguments.cert is not None:
        made.load_cert_chain(arguments.cert, arguments.key)
    return made


async def run(arguments: argparse.Namespace) -> None:
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    host, port = endpoint(arguments.server)
    async with connect(host, port, configuration=configuration(arguments), create_protocol=Peer) as peer:
        while line := await lines.readline():
            command = json.loads(line)
            if command["do"] == "close":
                break
            if command["do"] == "move":
                await peer.move(command.get("renews", False))
            else:
                peer.obey(command)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--server", required=True)
    parser.add_argument("--server-name", default="ztna-server")
    parser.add_argument("--ca", required=True)
    parser.add_argument("--cert")
    parser.add_argument("--key")
    parser.add_argument("--alpn", action="append", default=[])
    try:
        asyncio.run(run(parser.parse_args()))
    except ConnectionError:
        pass  # the end was said already


main()
