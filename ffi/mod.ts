/**
 * Foreign functions: the one place where native code is called.
 *
 * {@linkcode loadNative} checks and seals the library; `quiche/` makes the QUIC engine of it, `tls/` the TLS end, `certs/`
 * reads certificates, `libc/` has the system calls. Only main.ts, worker.ts and tests import this folder.
 */
export * from "./load.ts";
