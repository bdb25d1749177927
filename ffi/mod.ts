/**
 * Foreign functions: the one place where native code is called.
 *
 * {@linkcode loadNative} checks and seals the library; `quiche/` makes the QUIC engine of it, `tls/` the TLS end, `certs/`
 * reads certificates, `libc/` has the system calls. Only main.ts, worker.ts and tests import this folder.
 */
export * from "./certs/mod.ts";
export { addressOf, createArena } from "./address.ts";
export * from "./certs/mod.ts";
export { createDeviceCalls } from "./libc/device.ts";
export { createLibc, LIBC_SCRATCH_BYTES } from "./libc/libc.ts";
export * from "./load.ts";
export { createQuicheEngine, ENGINE_SCRATCH_BYTES } from "./quiche/engine.ts";
export * from "./tls/mod.ts";
