/** The manual's first tunnel and its recipe for certificates: what is written there is run as it stands there, and does what it says. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { join } from "node:path";
import { readManual } from "../../tools/manual_fixture.ts";
import { needing } from "../../tools/needs.ts";
import { NAT_NEEDS, SERVER_ADDRESS, SmallInternet } from "../e2e/nat_fixture.ts";
import { TemporaryFolder } from "../e2e/processes_fixture.ts";
import type { Namespace } from "../e2e/tun_fixture.ts";
import { ROOT, run } from "./unit_fixture.ts";

const WAIT_MS = 60_000;

function section(heading: string): string {
  const manual = readManual();
  const at = manual.indexOf(`\n${heading}\n`);
  assert(at >= 0, `the manual has no ${heading}`);
  const end = manual.slice(at + 2).search(/\n##+ /);
  return manual.slice(at, end < 0 ? undefined : at + 2 + end);
}

/** The one block of commands of a section in which these words stand. */
function block(text: string, words: string): string {
  const blocks = [...text.matchAll(/^( *)```sh\n([^]*?)^ *```$/gm)].map(([, indent = "", body = ""]) =>
    body.replaceAll(new RegExp(`^${indent}`, "gm"), "")
  );
  const found = blocks.filter((body) => body.includes(words));
  assertEquals(found.length, 1, words);
  return found[0] ?? "";
}

/** A machine of the guide: a network, a folder with its files and no others, a terminal. */
class Machine implements AsyncDisposable {
  readonly #folder: string;
  readonly #network: Namespace;
  readonly #running: Deno.ChildProcess[] = [];

  constructor(folder: string, network: Namespace) {
    this.#folder = folder;
    this.#network = network;
    Deno.mkdirSync(join(folder, "bin"), { recursive: true });
    Deno.symlinkSync(join(ROOT, "dist", "postern"), join(folder, "bin", "postern"));
    Deno.writeTextFileSync(join(folder, "hosts"), `127.0.0.1 localhost\n${SERVER_ADDRESS} gw.example.com\n`);
  }

  /** Runs commands to their end. */
  async type(commands: string) {
    const { code, stdout, stderr } = await this.#command(commands).output();
    return { code, stdout: new TextDecoder().decode(stdout), stderr: new TextDecoder().decode(stderr) };
  }

  /** Leaves commands running, as in a terminal of their own. */
  leave(commands: string): void {
    const child = this.#command(`exec >>log 2>&1\n${commands}`).spawn();
    this.#running.push(child);
  }

  /** Tries commands until they succeed. Returns what they said then. */
  async until(commands: string): Promise<string> {
    const deadline = performance.now() + WAIT_MS;
    for (;;) {
      const { code, stdout, stderr } = await this.type(commands);
      if (code === 0) return stdout;
      const log = await Deno.readTextFile(join(this.#folder, "log")).catch(() => "");
      assert(performance.now() < deadline, `${commands}\n${stdout}${stderr}\n${log.slice(-2000)}`);
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#running) {
      // All of its terminal; it may have ended by itself.
      await run("kill", ["-KILL", "--", `-${child.pid}`]);
      await child.output();
    }
  }

  #command(commands: string): Deno.Command {
    const environment = [`PATH=${this.#folder}/bin:/usr/local/bin:/usr/bin:/bin`, `HOME=${this.#folder}`, "NO_COLOR=1"];
    const shell = [...environment, `XDG_RUNTIME_DIR=${this.#folder}/run`, "bash", "-euc", commands];
    // Names are looked up in a file that only this machine sees.
    const names = 'mount --bind "$0/hosts" /etc/hosts && cd "$0" && exec env -i "$@"';
    return this.#network.command("setsid", "unshare", "--mount", "sh", "-c", names, this.#folder, ...shell);
  }
}

const NEEDS = { ...NAT_NEEDS, tools: [...NAT_NEEDS.tools, "bash", "setsid", "mount"] };

Deno.test(
  needing(NEEDS, "the first tunnel: three machines with the files and the commands of the manual, and nothing else", async () => {
    const guide = section("## The first tunnel, on three machines");
    using folder = new TemporaryFolder();
    await using internet = await SmallInternet.open();
    const [inside] = await internet.hosts("restricted", 1), [desk] = await internet.hosts("symmetric", 1);
    assert(inside !== undefined && desk !== undefined);
    await using server = new Machine(join(folder.path, "server"), internet.server);
    await using connector = new Machine(join(folder.path, "connector"), inside);
    await using agent = new Machine(join(folder.path, "agent"), desk);
    const made = await agent.type(block(guide, "postern certs init"));
    assertEquals(made.code, 0, made.stderr);
    const rows = [...guide.matchAll(/^ *\| ([^|]+?) +\| (`[^|]+`) +\|$/gm)].map(([, machine, files = ""]) => ({ machine, files }));
    assertEquals(rows.map(({ machine }) => machine), ["in the midst", "in the private network", "yours"]);
    rows.forEach(({ files }, i) => {
      for (const [, file = ""] of files.matchAll(/`([^`]+)`/g)) {
        const to = join(folder.path, ["server", "connector", "agent"][i] ?? "", file);
        Deno.copyFileSync(join(folder.path, "agent", "pki", file), to);
      }
    });
    Deno.removeSync(join(folder.path, "agent", "pki"), { recursive: true });

    server.leave(block(guide, "postern server"));
    await server.until("postern health");
    const service = /`(python3 -m http\.server [^`]+)`/.exec(guide.replaceAll(/\n */g, " "))?.[1] ?? "";
    connector.leave(`${service} &\n${block(guide, "postern connector")}`);
    await connector.until("postern health");
    agent.leave(block(guide, "postern agent"));
    await agent.until("postern health");
    const said = await agent.until(block(guide, "curl"));
    assertStringIncludes(said, "Directory listing for /");
    assertStringIncludes(said, "agent is ready");
    assert(!said.includes("FAIL"), said);
    for (const [machine, role] of [[server, "server"], [connector, "connector"]] as const) {
      assertStringIncludes(await machine.until("postern status"), `${role} is ready`);
    }
  }),
);

const OPENSSL = { tools: ["bash", "openssl"], files: ["dist/postern"] };

Deno.test(needing(OPENSSL, "the recipe for clients' certificates makes one that fits, with the names that it says", async () => {
  using folder = new TemporaryFolder();
  Deno.symlinkSync(join(ROOT, "dist", "postern"), join(folder.path, "postern"));
  const recipe = block(section("### Getting certificates"), "openssl req -x509");
  const env = { PATH: `${folder.path}:${Deno.env.get("PATH") ?? ""}`, NO_COLOR: "1" };
  const { code, stdout, stderr } = await run("bash", ["-euo", "pipefail", "-c", recipe], { cwd: folder.path, env });
  assertEquals(code, 0, stdout + stderr);
  const shown = await run("postern", ["certs", "inspect", "client.crt"], { cwd: folder.path, env });
  assertStringIncludes(shown.stdout, "agent.web.ztna");
  assertEquals((Deno.statSync(join(folder.path, "client.key")).mode ?? 0) & 0o077, 0);
}));
