/**
 * `postern doctor`: what stands between this machine and a service. In the order in which a connection needs it: `own_files` (our
 * certificate, key, token, authorities), `way` to each server (its name, and by `reach` UDP and the path), the handshake, `trust` (the
 * server's certificate and the clocks), `asked_services` (what the server decides). Each says what it found as `finding` has it;
 * `doctor` is the order.
 */
export { type DoctorOptions, type DoctorWorld, examine } from "./doctor.ts";
export { type Finding, type FindingLevel, Findings } from "./finding.ts";
