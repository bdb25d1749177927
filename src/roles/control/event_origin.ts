/** Where a security event came from: operators and alerts are told the address, the log at `info` is not. */
import type { SecurityEventInput } from "../../base/mod.ts";
import type { Connection } from "../../core/quic/mod.ts";

/** Allocates: for events only, which are rare and sampled. */
export function originOf(connection: Connection): Pick<SecurityEventInput, "remote_addr" | "tls_version"> {
  return { remote_addr: connection.address.toString(), tls_version: "TLS 1.3" };
}
