/**
 * `postern probe`: a client of the server for people and scripts. `options.ts` reads what is wanted, `connection.ts` is the QUIC
 * connection (`turning.ts` keeps it going), `payload.ts` what is sent on it, `probe.ts` does it and prints one line for each thing that was seen.
 */
export { ProbeConnection, type ProbeTarget, type ProbeWorld, ROLE_TRANSPORT } from "./connection.ts";
export { turnUntil } from "./turning.ts";
export { parseProbeFlags, type ProbeFlags, type ProbePlan } from "./options.ts";
export { runProbe } from "./probe.ts";
export { udpPacketOf, udpPayloadOf } from "./payload.ts";
