/**
 * Bytes to values and back: everything that Postern says or understands on the wire. Pure; a decoder is total (its result
 * says "malformed" and why, nothing throws), an encoder writes into a given buffer and returns the length.
 *
 * `frame` tells what a QUIC DATAGRAM is; `registration`, `qad` and `control` are its rare kinds. `stream_open` and
 * `stream_proof` are how a stream begins; `signal` and `binding` what peers say to find a direct path. docs/WIRE.md is the
 * specification; comments cite its clauses.
 */
export * from "./codes.ts";
export * from "./frame.ts";
export * from "./malformed.ts";
export * from "./qad.ts";
export * from "./registration.ts";
export * from "./stream_open.ts";
