/** `postern probe`: a client of the server for people and scripts. The work is in `src/diag/probe`, which is loaded when it runs. */
import type { Command } from "commander";
import type { ProbeFlags, ProbeTarget, ProbeWorld } from "../diag/probe/mod.ts";
import { type HostPort, PosternError } from "../base/mod.ts";
import type { CliContext } from "./context.ts";
import type { Platform } from "./platform.ts";
import { formatExamples } from "./role_command.ts";

export function addProbeCommand(program: Command, context: CliContext): void {
  program.command("probe").summary("Dial a server as a test client, send packets and show what comes back").description(
    "Opens one connection to a server, registers as an agent if a service is named, sends DATAGRAMs or UDP packets in them, and prints a line for everything that was seen. The log is on standard error.",
  )
    .option("--server <HOST:PORT>", "the server", "127.0.0.1:4433")
    .option("--server-name <NAME>", "the name that the server's certificate must have, if it is not the host of --server")
    .option("--pin-sha256 <PIN...>", "the keys that the server may have, as `postern certs inspect` shows them")
    .option("--ca-cert <FILE>", "certificates (PEM) of the authorities that may sign the server's")
    .option("--client-cert <FILE>", "our certificate (PEM, with its chain)")
    .option("--client-key <FILE>", "its private key (PEM)")
    .option("--no-verify-peer", "do not verify the server; for tests only")
    .option("--alpn <NAME>", "the version to speak: ztna-v1, ztna-v2, or one that is to be refused", "ztna-v1")
    .option("--service <ID>", "register as an agent of this service")
    .option("--send <TEXT>", "send this as a DATAGRAM")
    .option("--send-hex <HEX>", "send these bytes as a DATAGRAM")
    .option("--send-udp <TEXT>", "send this in a UDP packet from --src to --dst")
    .option("--src <ADDRESS:PORT>", "where UDP packets come from", "10.0.0.100:12345")
    .option("--dst <ADDRESS:PORT>", "where UDP packets go to")
    .option("--payload-size <BYTES>", "send so many bytes: a number, max, max-1 or max+1; with --dst in UDP packets")
    .option("--payload-pattern <NAME>", "of what: zeros, ones, sequential or random", "sequential")
    .option("--repeat <COUNT>", "send so often", "1")
    .option("--delay <MS>", "pause between two sends", "0")
    .option("--burst <COUNT>", "send so many as fast as it goes")
    .option("--wait <MS>", "how long to wait for answers", "2000")
    .option("--verify-echo", "compare every answer with what was sent")
    .option("--measure-rtt", "send one after the other and measure the time to each answer")
    .option("--rtt-count <COUNT>", "how many of these", "10")
    .option("--measure-handshake", "print how long the handshake took")
    .option("--query-max-size", "print what one DATAGRAM carries")
    .option("--interactive", "send every line of standard input")
    .option("--expect-fail", "be content only if the server refuses the connection")
    .addHelpText(
      "after",
      formatExamples([
        [
          "postern probe --server gw.example.com --ca-cert ca.pem --client-cert c.pem --client-key k.pem --measure-handshake",
          "is it there?",
        ],
        ["postern probe ... --service dns --send-udp hello --dst 10.100.0.1:53 --verify-echo", "one packet there and back"],
        ["postern probe ... --service dns --payload-size max --dst 10.100.0.1:53 --measure-rtt", "how long that takes"],
      ]),
    )
    .action(async (flags: ProbeFlags) => {
      context.exitCode = await probe(flags, context.platform);
    });
}

async function probe(flags: ProbeFlags, platform: Platform): Promise<number> {
  const { parseProbeFlags, runProbe } = await import("../diag/probe/mod.ts");
  const plan = parseProbeFlags(flags);
  const { world, target } = await openTarget(plan, [plan.protocol], platform);
  return await runProbe(world, plan, target, {
    line: (text) => platform.writeOut(text + "\n"),
    say: (text) => platform.writeError(text + "\n"),
    ask: plan.isInteractive ? platform.readLines() : () => Promise.resolve(null),
  });
}

/** Where a program of one connection goes, and with what it shows itself and verifies the other. */
export interface Destination {
  readonly server: HostPort;
  readonly serverName: string;
  readonly verifyPeer: boolean;
  readonly caCertPath: string | null;
  readonly clientCertPath: string | null;
  readonly clientKeyPath: string | null;
}

/** Reads the files and resolves the name. Throws a PosternError that says what is missing. */
export async function openTarget(
  destination: Destination,
  protocols: readonly string[],
  platform: Platform,
): Promise<{ readonly world: ProbeWorld; readonly target: ProbeTarget }> {
  const { server, serverName, verifyPeer, caCertPath, clientCertPath, clientKeyPath } = destination;
  const read = (path: string | null) => path === null ? null : readPem(path, platform);
  const [trustPem, certificatePem, keyPem] = await Promise.all([caCertPath, clientCertPath, clientKeyPath].map(read));
  if (verifyPeer && !trustPem) {
    throw new PosternError("no authority is named that may sign the server's certificate", {
      code: "trust",
      exitCode: 2,
      hint: "add --ca-cert FILE, or --no-verify-peer for a test",
    });
  }
  const world = await platform.openProbe();
  const [address] = await platform.resolve(server.host);
  if (address === undefined) throw new PosternError(`the name ${server.host} has no address`, { code: "resolve" });
  return {
    world,
    target: {
      address,
      port: server.port,
      protocols,
      trust: verifyPeer && trustPem ? { pem: trustPem, name: serverName } : null,
      identity: certificatePem && keyPem ? { certificateChainPem: certificatePem, privateKeyPem: keyPem } : null,
    },
  };
}

async function readPem(path: string, platform: Platform): Promise<Uint8Array> {
  try {
    return await platform.readFile(path);
  } catch (cause) {
    throw new PosternError(`cannot read ${path}`, { code: "file-unreadable", hint: "look at its name and who may read it", cause });
  }
}
