/** Certificates and keys on their way from the disk to the data plane. */
import type { RoleMaterial } from "../../config/mod.ts";
import type { TlsMaterial } from "./messages.ts";

/** The material as it crosses to the data plane. */
export function tlsOf({ identity, trustPem }: RoleMaterial): TlsMaterial {
  return { certificatePem: identity?.certificateChainPem ?? null, keyPem: identity?.privateKeyPem ?? null, trustPem };
}
