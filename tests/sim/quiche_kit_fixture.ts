/** quiche for simulated worlds: the product's own engine over simulated system calls. It reads the real clock, so its worlds do, too. */
import { createArena, createCertificateReader, createQuicheEngine, ENGINE_SCRATCH_BYTES, loadNative } from "../../ffi/mod.ts";
import type { Arena } from "../../src/core/quic/mod.ts";
import type { TlsMaterial } from "../../src/roles/control/mod.ts";
import { createAuthority } from "../pki/mod.ts";
import type { SimEngineKit } from "./sim_plane_fixture.ts";
import { SERVER_NAME } from "./tunnel_plans_fixture.ts";

/** Worlds share nothing but memory that nobody uses any more. */
export function quicheKit(): SimEngineKit {
  const idle: Arena[] = [];
  const { path } = loadNative();
  const reader = createCertificateReader(path);
  return {
    takeArena(bytes) {
      const at = idle.findIndex((arena) => arena.bytes.length === bytes);
      return at >= 0 ? idle.splice(at, 1)[0] as Arena : createArena(bytes);
    },
    giveArena: (arena) => void idle.push(arena),
    createEngine: ({ arena, layout }) =>
      createQuicheEngine(path, arena, layout.reserve(ENGINE_SCRATCH_BYTES), (der) => reader.summarize(der)),
  };
}

/** Certificates that fit together, by who shows them. */
export type GatewayMaterial = Readonly<Record<"server" | "connector" | "agent", TlsMaterial>>;

export async function quicheMaterial(): Promise<GatewayMaterial> {
  const authority = await createAuthority();
  const tls = async (commonName: string, dns: readonly string[]): Promise<TlsMaterial> => {
    const { certificatePem, privateKeyPem } = await authority.issue({ commonName, dns });
    return { certificatePem, keyPem: privateKeyPem, trustPem: authority.certificatePem };
  };
  return {
    server: await tls("server", [SERVER_NAME]),
    connector: await tls("connector", ["connector.web.ztna"]),
    agent: await tls("agent", ["agent.web.ztna"]),
  };
}
