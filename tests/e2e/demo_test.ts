/** `postern demo` as a person runs it: what it says, what it ends with, and that nothing of it is left. */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { createSocket } from "node:dgram";
import { join, resolve } from "node:path";
import { needing } from "../../tools/needs.ts";
import { linesOf } from "../../tools/test_output.ts";
import { BINARY, TemporaryFolder } from "./processes_fixture.ts";

const ROOT = resolve(import.meta.dirname ?? ".", "..", "..");
const NEEDS = { files: ["dist/postern"] };
const DEADLINE_MS = 120_000;

/** A demonstration that runs; its folder of temporary files is its own, so that what it leaves is seen. */
class DemoRun implements AsyncDisposable {
  readonly lines: string[] = [];
  readonly process: Deno.ChildProcess;
  readonly folder = new TemporaryFolder();
  readonly #stdout: Promise<void>;
  readonly #stderr: Promise<string>;
  readonly #seen = new Map<string, () => void>();
  readonly #timer: number;

  constructor(args: readonly string[], command: readonly string[] = [BINARY], env: Readonly<Record<string, string>> = {}) {
    const [program = BINARY, ...before] = command;
    this.process = new Deno.Command(program, {
      args: [...before, "demo", ...args],
      cwd: ROOT,
      env: { TMPDIR: this.folder.path, NO_COLOR: "1", POSTERN_SERVER: "192.0.2.1:9", ...env },
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.#stdout = this.#read();
    this.#stderr = new Response(this.process.stderr).text();
    this.#timer = setTimeout(() => this.process.kill("SIGTERM"), DEADLINE_MS);
  }

  get text(): string {
    return this.lines.join("\n");
  }

  /** Resolves when a line has these words. */
  async until(words: string): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#seen.set(words, resolve);
    if (this.text.includes(words)) resolve();
    await Promise.race([promise, this.#stdout]);
    assertStringIncludes(this.text, words);
  }

  /** Waits for the end. */
  async end(): Promise<{ readonly code: number; readonly text: string; readonly stderr: string }> {
    const { code } = await this.process.status;
    clearTimeout(this.#timer);
    await this.#stdout;
    return { code, text: this.text, stderr: await this.#stderr };
  }

  /** Processes that it started: each has the folder in its environment. */
  processes(): { readonly pid: number; readonly command: string }[] {
    return [...Deno.readDirSync("/proc")].flatMap(({ name }) => {
      if (!/^\d+$/.test(name) || Number(name) === this.process.pid) return [];
      const command = readOrNothing(`/proc/${name}/cmdline`).replaceAll("\0", " ");
      return readOrNothing(`/proc/${name}/environ`).includes(this.folder.path) ? [{ pid: Number(name), command }] : [];
    });
  }

  /** Nothing is left: no process, no file. */
  assertGone(): void {
    assertEquals(this.processes(), []);
    assertEquals([...Deno.readDirSync(this.folder.path)], []);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearTimeout(this.#timer);
    for (const { pid } of this.processes()) tryKill(pid);
    tryKill(this.process.pid);
    await this.end();
    this.folder[Symbol.dispose]();
  }

  async #read(): Promise<void> {
    for await (const line of linesOf(this.process.stdout)) {
      this.lines.push(line);
      for (const [words, seen] of this.#seen) if (line.includes(words)) seen();
    }
  }
}

function readOrNothing(path: string): string {
  try {
    return Deno.readTextFileSync(path);
  } catch {
    return ""; // it ended meanwhile
  }
}

function tryKill(pid: number): void {
  try {
    Deno.kill(pid, "SIGKILL");
  } catch {
    // It is gone already.
  }
}

/** Takes a port, unless somebody has it already. */
function takeTcp(port: number): Disposable {
  try {
    return Deno.listen({ hostname: "127.0.0.1", port });
  } catch (error) {
    if (!(error instanceof Deno.errors.AddrInUse)) throw error;
    return { [Symbol.dispose]: () => {} };
  }
}

/** Likewise. */
async function takeUdp(port: number): Promise<AsyncDisposable> {
  const socket = createSocket("udp4");
  await new Promise<void>((resolve) => socket.once("listening", resolve).once("error", () => resolve()).bind(port, "127.0.0.1"));
  return { [Symbol.asyncDispose]: () => new Promise((resolve) => socket.close(() => resolve())) };
}

Deno.test(needing(NEEDS, "demo: everything is shown, exit 0, nothing is left, though the usual ports are taken", async () => {
  await using _quic = await takeUdp(4433);
  using _http = takeTcp(8080);
  await using run = new DemoRun(["--size", "8MiB"]);
  const { code, text, stderr } = await run.end();
  assertEquals([code, stderr], [0, ""], text);
  const steps = [
    ["certificates", ""],
    ["server", "listens on UDP port"],
    ["connector", "it listens nowhere"],
    ["agent", " is web, "],
    ["page", "HTTP 200"],
    ["first byte", "50 times"],
    ["round trip", "200 times"],
    ["random bytes", "8 MiB, SHA-256"],
    ["to the service", "at the service"],
    ["from the service", "at this end"],
    ["half-close", "only then came the answer"],
    ["no certificate", "it wants a client certificate"],
    ["wrong name", "denied (the certificate does not name this role and service)"],
    ["stop", "every process has ended"],
  ];
  const shown = run.lines.filter((line) => line.startsWith("  ok "));
  assertEquals(shown.map((line) => line.slice(7, 23).trim()), steps.map(([name]) => name));
  for (const [at, [, words = ""]] of steps.entries()) assertStringIncludes(shown[at] ?? "", words);
  assertMatch(text, /│ you │ ──► │ agent │ ══════► │ server │ ◄══════ │ connector │ ──► │ service │/);
  assertEquals(run.lines.at(-1), "demo: OK");
  run.assertGone();
}));

Deno.test(needing(NEEDS, "demo --json: one line of JSON with what was measured; the words go to standard error", async () => {
  await using run = new DemoRun(["--json", "--size", "2MiB"]);
  const { code, stderr } = await run.end();
  assertEquals([code, run.lines.length], [0, 1], stderr);
  const { isOk, report } = JSON.parse(run.lines[0] ?? "");
  assertEquals([isOk, report.protocol, report.toService.bytes], [true, "ztna-v2", 2 * 1024 * 1024]);
  assertEquals(report.toService.sha256, report.fromService.sha256);
  assert(report.roundTrip.p50Ms > 0 && report.roundTrip.p99Ms >= report.roundTrip.p50Ms);
  assertStringIncludes(stderr, "demo: OK\n");
  run.assertGone();
}));

Deno.test(needing(NEEDS, "demo --keep: it ends, the tunnel goes on, and the line that it prints stops everything", async () => {
  await using run = new DemoRun(["--keep", "--size", "1MiB"]);
  const { code, text } = await run.end();
  assertEquals(code, 0, text);
  const said = (name: string) => new RegExp(`^  ${name} +(.+)$`, "m").exec(text)?.[1] ?? "";
  assertEquals(run.processes().length, 4);
  const page = await fetch(/http:\S+/.exec(said("page"))?.[0] ?? "");
  assertStringIncludes(await page.text(), "You came through the tunnel.");
  for (const role of ["server", "connector", "agent"]) {
    const settings = JSON.parse(Deno.readTextFileSync(said("settings").replace(/\{.*\}/, role)));
    assertEquals(settings.ca_cert, join(said("certificates"), "ca-cert.pem"));
  }
  const status = await new Deno.Command("sh", { args: ["-c", said("status")] }).output();
  assertMatch(new TextDecoder().decode(status.stdout), /^ +\d +connector +test-connector +web data/m);
  const stopped = await new Deno.Command("sh", { args: ["-c", said("stop")] }).output();
  assertEquals(stopped.code, 0);
  for (const deadline = Date.now() + 20_000; run.processes().length > 0 && Date.now() < deadline;) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  run.assertGone();
}));

Deno.test(needing(NEEDS, "demo: a role that dies is told with its last words, exit 1, nothing is left", async () => {
  await using run = new DemoRun(["--size", "1GiB"]);
  await run.until("...  to the service");
  const server = run.processes().find(({ command }) => command.includes(" server --config "));
  assert(server !== undefined);
  Deno.kill(server.pid, "SIGKILL");
  const { code, text } = await run.end();
  assertEquals(code, 1, text);
  assertStringIncludes(text, "  FAIL to the service\ndemo: FAILED the server ended with code 137\n  last words of the server:\n");
  assertMatch(text, /info registered: Registered connector for data\n/);
  assertMatch(run.lines.at(-1) ?? "", /^ {2}hint: /);
  run.assertGone();
}));

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  Deno.test(needing(NEEDS, `demo: ${signal} in the middle ends everything`, async () => {
    await using run = new DemoRun(["--size", "1GiB"]);
    await run.until("...  to the service");
    assertEquals(run.processes().length, 4);
    run.process.kill(signal);
    const { code, text } = await run.end();
    assertEquals(code, 1);
    assertStringIncludes(text, `demo: FAILED interrupted by ${signal}\n`);
    run.assertGone();
  }));
}

Deno.test(needing(NEEDS, "demo: without the binary it starts itself by the runtime", async () => {
  await using run = new DemoRun(["--size", "1MiB"], [Deno.execPath(), "run", "-A", "--no-check", "--quiet", join(ROOT, "main.ts")]);
  const { code, text } = await run.end();
  assertEquals([code, run.lines.at(-1)], [0, "demo: OK"], text);
  run.assertGone();
}));

Deno.test(
  needing({ ...NEEDS, tools: ["script"] }, "demo: on a terminal it draws and paints, unless colours are not wanted", async () => {
    for (const noColour of ["", "1"]) {
      const typed = ["-qec", `${BINARY} demo --size 1MiB`, "/dev/null"];
      using folder = new TemporaryFolder();
      const { code, stdout } = await new Deno.Command("script", {
        args: typed,
        env: { TMPDIR: folder.path, NO_COLOR: noColour, TERM: "xterm" },
        stdin: "null",
      }).output();
      const text = new TextDecoder().decode(stdout);
      assertEquals(code, 0, text);
      assertStringIncludes(text, "\r\x1b[K");
      assertStringIncludes(text, noColour === "" ? "demo: \x1b[32m\x1b[1mOK\x1b[22m\x1b[39m" : "demo: OK");
    }
  }),
);
