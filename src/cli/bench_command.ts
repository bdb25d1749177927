/** `postern bench`: what a service gives through a server. The work is in `src/diag/bench`, which is loaded when it runs. */
import type { Command } from "commander";
import type { BenchFlags } from "../diag/bench/mod.ts";
import type { CliContext } from "./context.ts";
import type { Platform } from "./platform.ts";
import { openTarget } from "./probe_command.ts";
import { formatExamples } from "./role_command.ts";

export function addBenchCommand(program: Command, context: CliContext): void {
  program.command("bench").summary("Load a service through a server and tell its rate, loss and times").description(
    "Dials a server with an agent's certificate and loads one service for a while: UDP packets at an even rate to a service that sends them back, or TCP connections as streams. It measures the whole way, with the connector and the service.",
  )
    .requiredOption("--service <ID>", "the service to load; it should expect that")
    .requiredOption("--ca-cert <FILE>", "certificates (PEM) of the authorities that may sign the server's")
    .requiredOption("--client-cert <FILE>", "an agent's certificate (PEM, with its chain)")
    .requiredOption("--client-key <FILE>", "its private key (PEM)")
    .option("--server <HOST:PORT>", "the server", "127.0.0.1:4433")
    .option("--server-name <NAME>", "the name that the server's certificate must have, if it is not the host of --server")
    .option("--mode <NAME>", "datagrams (UDP) or streams (TCP)", "datagrams")
    .option("--dst <ADDRESS:PORT>", "where the UDP packets go to", "10.100.0.1:7")
    .option("--size <BYTES>", "of a packet's payload, 12 to 1500, or of a request, 1 to 16777216", "200")
    .option("--rate <COUNT>", "a second, all together, 1 to 100000; else 1000 packets, or each request after the last answer")
    .option("--duration <SECONDS>", "how long, 1 to 3600", "10")
    .option("--connections <COUNT>", "streams: TCP connections at one time, 1 to 256", "1")
    .option("--one-way", "streams: the service sends nothing back, and the goodput of sending is measured")
    .option("--json", "print one JSON object")
    .addHelpText(
      "after",
      formatExamples([
        [
          "postern bench --server gw.example.com --ca-cert ca.pem --client-cert c.pem --client-key k.pem --service echo",
          "1000 packets a second for 10 s",
        ],
        [
          "postern bench ... --service web --mode streams --connections 8 --size 65536 --duration 30 --json",
          "eight connections, one request after the other",
        ],
      ]),
    )
    .action(async (flags: BenchFlags) => {
      context.exitCode = await bench(flags, context.platform);
    });
}

async function bench(flags: BenchFlags, platform: Platform): Promise<number> {
  const { parseBenchFlags, runBench } = await import("../diag/bench/mod.ts");
  const plan = parseBenchFlags(flags);
  const { world, target } = await openTarget({ ...plan, verifyPeer: true }, [], platform);
  return await runBench(world, plan, target, (text) => platform.writeOut(`${text}\n`));
}
