/**
 * Bytes to values and back: everything that Postern says or understands on the wire. Pure; a decoder is total (its result
 * says "malformed" and why, nothing throws), an encoder writes into a given buffer and returns the length.
 *
 * `frame` tells what a QUIC DATAGRAM is; `registration` and `qad` are its rare kinds. `stream_open` and
 * `stream_proof` (with its `token`) are how a stream begins; `signal` and `control` what peers say to find a direct path. docs/WIRE.md is the
 * specification; comments cite its clauses.
 *
 * `socks5` and `http_connect` are what local programs say to an agent's proxy.
 *
 * `ip`, `tcp`, `udp` and `icmp` are the packets inside; `checksum` and `rewrite` serve whoever changes one in passing. Their
 * decoders fill a header object that the caller keeps and return "ok" or what is wrong, for no packet may cost an allocation.
 *
 * `dns` is the one question that an agent answers itself: where a service is.
 */
export * from "./checksum.ts";
export * from "./codes.ts";
export * from "./control.ts";
export * from "./detour.ts";
export * from "./dns.ts";
export * from "./frame.ts";
export * from "./http_connect.ts";
export * from "./icmp.ts";
export * from "./ip.ts";
export * from "./malformed.ts";
export * from "./qad.ts";
export * from "./registration.ts";
export * from "./rewrite.ts";
export * from "./signal.ts";
export * from "./socks5.ts";
export * from "./stream_open.ts";
export * from "./stream_proof.ts";
export * from "./tcp.ts";
export * from "./token.ts";
export * from "./udp.ts";
