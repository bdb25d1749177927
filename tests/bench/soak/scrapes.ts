/**
 * 100,000 scrapes on kept connections and 10,000 aborted handshakes at the server's metrics listener, while datagrams at an even pace
 * and whole TCP transfers go through the same server: every scrape is answered, no datagram and no byte is lost, memory and descriptors
 * stay where they were.
 */
import { join } from "node:path";
import { Gateway } from "../../e2e/gateway_fixture.ts";
import type { RoleProcess } from "../../e2e/processes_fixture.ts";
import { abortMany, scrapeMany } from "../../e2e/scrape_fixture.ts";
import { Backend, hashToEnd, sleep, writePattern } from "../../e2e/tcp_fixture.ts";
import { scriptCommand } from "../children.ts";
import { ProcessWatch } from "./process_watch.ts";
import type { Soak, SoakRun } from "./soak.ts";

const SCRAPES = 100_000, ABORTS = 10_000, CONNECTIONS = 10;
const DATAGRAMS_PER_SECOND = 1_000;
/** One transfer there and back, again and again with a pause. */
const TRANSFER_BYTES = 1024 * 1024, TRANSFER_PAUSE_MS = 250;
const WARM_SHARE = 0.05;
/** More than any run takes. */
const FOREVER_SECONDS = "7200";
/** Ended connections are cleaned up by then. */
const SETTLE_MS = 2_000;

export const scrapes: Soak = {
  name: "scrapes",
  usual: "3 min",
  about: "100,000 scrapes and 10,000 aborted handshakes beside relayed traffic: nothing is lost, nothing grows",
  run: soakScrapes,
};

async function soakScrapes(run: SoakRun): Promise<void> {
  const count = Math.ceil(SCRAPES * run.scale), aborts = Math.ceil(ABORTS * run.scale);
  await using backend = new Backend(async (connection) => {
    await connection.readable.pipeTo(connection.writable).catch(() => {});
  });
  await using gateway = await Gateway.empty();
  const metrics = join(gateway.pki.folder, "metrics");
  const file = (name: string) => join(metrics, name);
  const server = await gateway.startServer(
    ...["--metrics-addr", "[::1]:0", "--metrics-cert", file("server.crt"), "--metrics-key", file("server.key")],
    ...["--metrics-ca", file("ca.crt")],
  );
  const issued = (role: "agent" | "connector") =>
    gateway.pki.issue(`soak-${role}`, { dns: [`${role}.echo.ztna`], eku: ["clientAuth"] });
  await gateway.startConnector({ echo: backend.port }, await issued("connector"));
  await gateway.startAgent(["echo"], await issued("agent"));
  const port = await metricsPort(server);
  const identity = { certificatePem: Deno.readFileSync(file("client.crt")), privateKeyPem: Deno.readFileSync(file("client.key")) };

  run.say("warming up");
  await Promise.all([
    scrapeMany(port, identity, Math.ceil(count * WARM_SHARE), CONNECTIONS),
    abortMany(port, Math.ceil(aborts * WARM_SHARE)),
  ]);
  await sleep(SETTLE_MS);
  using watch = new ProcessWatch("server", server);
  const datagrams = new DatagramTraffic(gateway), transfers = new Transfers(gateway);
  let scraped = 0, aborted = 0;
  const telling = setInterval(() => {
    run.say(`${scraped} scrapes, ${aborted} aborted handshakes, ${transfers.done} transfers; ${watch.now}`);
  }, 15_000);
  try {
    const [{ tookMs }] = await Promise.all([
      scrapeMany(port, identity, count, CONNECTIONS, () => scraped++),
      abortMany(port, aborts, () => aborted++),
    ]);
    run.figure("scrape, median", tookMs[tookMs.length >> 1] ?? NaN, "ms");
    run.figure("scrape, 99 of 100", tookMs[Math.floor(tookMs.length * 0.99)] ?? NaN, "ms");
  } finally {
    clearInterval(telling);
    await Promise.all([datagrams.end(run), transfers.end(run)]);
  }
  run.check("every scrape is answered", scraped === count, `${scraped} of ${count}`);
  run.check("handshakes are given up", aborted === aborts, `${aborted} of ${aborts}`);
  await sleep(SETTLE_MS);
  watch.report(run);
  run.check("the server still runs", !server.hasEnded, server.hasEnded ? server.tail() : "it does");
}

async function metricsPort(role: RoleProcess): Promise<number> {
  for (let from = 0;; from++) {
    const line = await role.until("metrics-listening", {}, { from });
    from = role.lines.indexOf(line as typeof role.lines[number]);
    const port = /Listening on IPv6 \[::1\]:(\d+)/.exec(line.msg)?.[1];
    if (port !== undefined) return Number(port);
  }
}

/** Datagrams from an agent to a connector of their own through the server, at an even pace. */
class DatagramTraffic {
  readonly #child: Deno.ChildProcess;
  readonly #report: Promise<{ readonly sent: number; readonly received: number; readonly seconds: number }>;

  constructor(gateway: Gateway) {
    const args = ["--relay", gateway.serverAddress, "--pki", gateway.pki.folder, "--seconds", FOREVER_SECONDS];
    const child = scriptCommand("./load/datagrams.ts", [...args, "--per-second", `${DATAGRAMS_PER_SECOND}`], "piped").spawn();
    this.#child = child;
    this.#report = (async () => {
      const [out, problem, { code }] = await Promise.all([
        new Response(child.stdout).text(),
        new Response(child.stderr).text(),
        child.status,
      ]);
      if (code !== 0) throw new Error(`the datagrams ended with ${code}: ${problem}`);
      return JSON.parse(out.trim().split("\n").at(-1) ?? "{}");
    })();
    // It is asked at the end; that it failed before is no unheard failure.
    this.#report.catch(() => {});
  }

  async end(run: SoakRun): Promise<void> {
    const writer = this.#child.stdin.getWriter();
    await writer.write(new TextEncoder().encode("\n")).catch(() => {});
    await writer.close().catch(() => {});
    const { sent, received, seconds } = await this.#report;
    run.figure("datagrams", sent, `in ${seconds.toFixed(0)} s`);
    run.check("no datagram is lost", sent > 0 && received === sent, `${received} of ${sent} arrived`);
  }
}

/** Whole TCP transfers through agent, server and connector, and back. */
class Transfers {
  done = 0;
  readonly #wrong: string[] = [];
  readonly #running: Promise<void>;
  #isStopped = false;

  constructor(gateway: Gateway) {
    this.#running = this.#run(gateway);
    this.#running.catch(() => {});
  }

  async end(run: SoakRun): Promise<void> {
    this.#isStopped = true;
    await this.#running;
    run.figure("transfers of 1 MiB there and back", this.done, "");
    run.check("no byte is lost", this.done > 0 && this.#wrong.length === 0, this.#wrong[0] ?? `${this.done} transfers are whole`);
  }

  async #run(gateway: Gateway): Promise<void> {
    for (let seed = 1; !this.#isStopped; seed++) {
      using client = await gateway.connect("echo");
      const sending = writePattern(client, seed, TRANSFER_BYTES).then(async (sha256) => {
        await client.closeWrite();
        return sha256;
      });
      const [sent, got] = await Promise.all([sending, hashToEnd(client)]);
      if (got.sha256 !== sent) this.#wrong.push(`transfer ${seed}: ${got.count} of ${TRANSFER_BYTES} bytes and ${got.end}`);
      this.done++;
      await sleep(TRANSFER_PAUSE_MS);
    }
  }
}
