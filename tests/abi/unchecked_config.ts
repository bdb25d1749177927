/**
 * A client's configuration through the interface of quiche itself, which looks at nothing: for clients that present what our own
 * library does not even load. Such a client verifies nobody.
 */
import { loadNative } from "../../ffi/load.ts";
import type { Issued } from "../pki/mod.ts";

const QUIC_V1 = 1;
const quiche = Deno.dlopen(loadNative().path, {
  quiche_config_new: { parameters: ["u32"], result: "usize" },
  quiche_config_load_cert_chain_from_pem_file: { parameters: ["usize", "buffer"], result: "i32" },
  quiche_config_load_priv_key_from_pem_file: { parameters: ["usize", "buffer"], result: "i32" },
  quiche_config_verify_peer: { parameters: ["usize", "bool"], result: "void" },
}).symbols;

/** Throws when even quiche does not take the material. */
export function createUncheckedConfig({ certificatePem, privateKeyPem }: Pick<Issued, "certificatePem" | "privateKeyPem">): bigint {
  const config = quiche.quiche_config_new(QUIC_V1);
  const folder = Deno.makeTempDirSync({ prefix: "unchecked-" });
  try {
    const file = (name: string, bytes: Uint8Array) => {
      Deno.writeFileSync(`${folder}/${name}`, bytes, { mode: 0o600 });
      return new TextEncoder().encode(`${folder}/${name}\0`);
    };
    const failed = quiche.quiche_config_load_cert_chain_from_pem_file(config, file("cert.pem", certificatePem)) ||
      quiche.quiche_config_load_priv_key_from_pem_file(config, file("key.pem", privateKeyPem));
    if (failed !== 0) throw new Error(`quiche does not load the material: ${failed}`);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
  quiche.quiche_config_verify_peer(config, false);
  return config;
}
