/** How a test speaks with `packet_agent.ts`: what it is told, and what it says. */
import { join } from "node:path";
import type { CertificateFiles } from "./pki_fixture.ts";
import { createHash } from "node:crypto";

/** Whom the agent connects to, and as whom. */
export interface AgentTarget {
  readonly server: string;
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
  readonly service: string;
  /** Packets are wrapped as ROUTED. */
  readonly isRouted?: boolean;
  /** The local port of its first session or flow. */
  readonly firstPort?: number;
}

export type PacketCommand =
  | {
    readonly do: "tcp";
    /** Inner address and port. */
    readonly to: string;
    /** Bytes of {@linkcode patternOf}. */
    readonly send?: number;
    /** After the last byte: FIN (the default), RST, or FIN only after the other end's. */
    readonly end?: "fin" | "rst" | "open";
    /** Nothing is sent before the other end's FIN. */
    readonly afterFin?: boolean;
  }
  /** Begins so many sessions at once and says how many were opened and how many refused; then ends them. */
  | {
    readonly do: "many";
    readonly to: string;
    readonly count: number;
    /** From so many addresses in turn; default: one. */
    readonly sources?: number;
    /** They stay open so long before they end. */
    readonly holdMs?: number;
  }
  | {
    readonly do: "udp";
    readonly to: string;
    readonly payloads: readonly string[];
    readonly replies?: number;
    readonly ms?: number;
  }
  | { readonly do: "raw"; readonly hex: string; readonly packets?: number; readonly ms?: number };

/** The fields of the command's kind. */
export interface PacketResult {
  readonly isOpen?: boolean;
  readonly openMs?: number;
  readonly sent?: number;
  readonly received?: number;
  readonly sha256?: string;
  readonly end?: string | null;
  readonly ms?: number;
  /** The largest packet that came so far. */
  readonly largest?: number;
  readonly opened?: number;
  readonly replies?: readonly string[];
  readonly refused?: number;
  /** Datagrams from addresses that were never asked. */
  readonly strays?: number;
  readonly packets?: readonly string[];
}

/** `length` bytes in which every place has its own neighbourhood, so that a hole or a repetition shows. */
export function patternOf(length: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i++) bytes[i] = (Math.imul(i, 2654435761) >>> 13) & 0xff;
  return bytes;
}

export function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** Runs the agent with these commands and returns one result for each. */
export async function runPacketAgent(
  target: Omit<AgentTarget, "cert" | "key"> & { readonly files: CertificateFiles },
  commands: readonly PacketCommand[],
): Promise<PacketResult[]> {
  const { files, ...rest } = target;
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "-A",
      "--no-check",
      "--quiet",
      join(import.meta.dirname ?? ".", "packet_agent.ts"),
      JSON.stringify({ ...rest, cert: files.cert, key: files.key }),
      ...commands.map((command) => JSON.stringify(command)),
    ],
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  });
  const { code, stdout, stderr } = await child.output();
  if (code !== 0) throw new Error(`the agent ended with ${code}: ${new TextDecoder().decode(stderr)}`);
  return new TextDecoder().decode(stdout).trim().split("\n").map((line) => JSON.parse(line) as PacketResult);
}
