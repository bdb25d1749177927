/** The laboratory of deploy/natlab: it works as it says, and whatever happens nothing of it is left. */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { needing } from "../../tools/needs.ts";
import { TemporaryFolder } from "../e2e/processes_fixture.ts";
import { runWithStubs, type Stub } from "./stub_fixture.ts";
import { ROOT, run } from "./unit_fixture.ts";

const SCRIPT = join(ROOT, "deploy", "natlab", "natlab.sh");
const NEEDS = { root: true, tools: ["ip", "iptables", "nsenter", "curl", "python3", "setsid"], files: ["dist/postern"] };
const WAIT_MS = 60_000;
/** What natlab.sh calls, doing nothing. */
const TOOLS: Readonly<Record<string, Stub>> = { ip: {}, iptables: {}, nsenter: {}, curl: {}, python3: {}, sha256sum: {} };

/** A laboratory of this test's own. */
class Lab {
  readonly name = `t${crypto.randomUUID().slice(0, 8)}`;
  readonly env: Readonly<Record<string, string>>;

  constructor(env: Readonly<Record<string, string>> = {}) {
    this.env = { NATLAB_NAME: this.name, NATLAB_MIB: "8", ...env };
  }

  get state(): string {
    return `/run/postern-${this.name}`;
  }

  async do(command: string) {
    return await run(SCRIPT, [command], { env: this.env });
  }

  /** What is left of it on the machine. */
  remains(): string[] {
    const spaces = [...Deno.readDirSync("/run/netns")].map((entry) => entry.name).filter((name) =>
      name.startsWith(`${this.name}-`)
    );
    return [...spaces, ...(existsSync(this.state) ? [this.state] : []), ...processesNaming(this.state)];
  }
}

/** The command lines in which these words stand. */
function processesNaming(words: string): string[] {
  return [...Deno.readDirSync("/proc")].flatMap(({ name }) => {
    if (!/^\d+$/.test(name)) return [];
    try {
      const line = Deno.readTextFileSync(`/proc/${name}/cmdline`).replaceAll("\0", " ");
      return line.includes(words) ? [line] : [];
    } catch {
      // It has ended meanwhile.
      return [];
    }
  });
}

async function until(what: string, isSo: () => boolean): Promise<void> {
  const deadline = performance.now() + WAIT_MS;
  while (!isSo()) {
    assert(performance.now() < deadline, `not within ${WAIT_MS} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

Deno.test(
  needing(NEEDS, "natlab.sh up, status, run and down: a file comes through two NATs as it left, and nothing is left", async () => {
    const lab = new Lab({ NAT_KIND: "symmetric" });
    try {
      const up = await lab.do("up");
      assertEquals([up.code, up.stderr], [0, ""]);
      const status = await lab.do("status");
      assertEquals(status.code, 0);
      for (const role of ["server", "connector", "agent"]) assertStringIncludes(status.stdout, `${role} is ready`);
      // The server sees the gateways, not the hosts behind them.
      assertMatch(status.stdout, /test-connector.* 203\.0\.113\.20:/);
      assertMatch(status.stdout, /test-agent.* 203\.0\.113\.10:/);
      const moved = await lab.do("run");
      assertEquals([moved.code, moved.stderr], [0, ""]);
      assertStringIncludes(moved.stdout, "the agent cannot reach 10.10.2.3 by itself\n");
      assertStringIncludes(moved.stdout, "natlab: 8388608 bytes through agent, NAT, server, NAT, connector: SHA-256 ");
      const again = await lab.do("up");
      assertEquals([again.code, again.stderr], [1, `ERROR: the laboratory '${lab.name}' is there already: natlab.sh down\n`]);
      assertEquals((await lab.do("status")).code, 0, "what refused to come up has not taken down what was there");
    } finally {
      assertEquals(await lab.do("down"), { code: 0, stdout: "natlab: down\n", stderr: "" });
    }
    assertEquals(lab.remains(), []);
    assertEquals((await lab.do("status")).code, 1);
  }),
);

Deno.test(needing(NEEDS, "natlab.sh run takes everything down when a role does not start", async () => {
  const folder = Deno.makeTempDirSync();
  try {
    // An agent that ends at once, and a health that says so.
    const program = join(folder, "postern");
    const words = `case "$1" in agent) exit 1 ;; esac\ncase "$*" in "health"*"agent.sock") kill -TERM "$PPID" ;; esac\n`;
    Deno.writeTextFileSync(program, `#!/bin/sh\n${words}exec "${join(ROOT, "dist", "postern")}" "$@"\n`, { mode: 0o755 });
    const lab = new Lab({ POSTERN: program });
    const { code, stdout } = await lab.do("run");
    assertEquals(code, 1);
    assertStringIncludes(stdout, "natlab: down\n");
    assertEquals(lab.remains(), []);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}));

Deno.test(needing(NEEDS, "natlab.sh run takes everything down at Ctrl-C", async () => {
  const lab = new Lab();
  const child = new Deno.Command("setsid", { args: [SCRIPT, "run"], env: lab.env, stdin: "null", stdout: "piped", stderr: "null" })
    .spawn();
  const output = child.output();
  await until("certificates are made", () => existsSync(join(lab.state, "pki")));
  // As a terminal does: to all of the foreground group.
  assertEquals((await run("kill", ["-INT", "--", `-${child.pid}`])).code, 0);
  const { code, stdout } = await output;
  assert(code !== 0);
  assertStringIncludes(new TextDecoder().decode(stdout), "natlab: down\n");
  await until("it is gone", () => lab.remains().length === 0);
}));

Deno.test(needing({ root: true, tools: ["setpriv"] }, "natlab.sh says what it lacks: a program, a tool, or root", async () => {
  const env = { NATLAB_NAME: "lacking", POSTERN: "/nonexistent/postern" };
  const up = async (stubs: Readonly<Record<string, Stub>>) => {
    const { code, stderr, calls } = await runWithStubs(SCRIPT, ["up"], stubs, { env });
    return [code, stderr, calls];
  };
  assertEquals(await up(TOOLS), [1, "ERROR: no program: run make build, or say where it is in POSTERN\n", []]);
  const { curl: _, ...fewer } = TOOLS;
  assertEquals(await up(fewer), [1, "ERROR: curl is not on PATH\n", []]);
  using folder = new TemporaryFolder();
  Deno.chmodSync(folder.path, 0o755);
  const script = join(folder.path, "natlab.sh");
  Deno.copyFileSync(SCRIPT, script);
  const { code, stderr } = await run("setpriv", ["--reuid=65534", "--regid=65534", "--clear-groups", script, "up"], { cwd: "/" });
  assertEquals([code, stderr], [1, "ERROR: network namespaces need root\n"]);
}));

Deno.test(needing({ root: true }, "natlab.sh takes the program of the release that it lies in", async () => {
  using folder = new TemporaryFolder();
  const script = join(folder.path, "deploy", "natlab", "natlab.sh");
  Deno.mkdirSync(join(folder.path, "deploy", "natlab"), { recursive: true });
  Deno.copyFileSync(SCRIPT, script);
  const asked = join(folder.path, "asked");
  Deno.writeTextFileSync(join(folder.path, "postern"), `#!/bin/sh\necho "$0 $1" >'${asked}'\nexit 1\n`, { mode: 0o755 });
  const lab = new Lab();
  const { code } = await runWithStubs(script, ["up"], TOOLS, { env: lab.env });
  assertEquals([code, Deno.readTextFileSync(asked)], [1, `${folder.path}/deploy/natlab/../../postern certs\n`]);
  assertEquals(lab.remains(), []);
}));

Deno.test("natlab.sh refuses a wrong command, a name that could be a path, and whoever is not root", async () => {
  for (const args of [[], ["sideways"], ["up", "down"]]) assertEquals((await run(SCRIPT, args)).code, 2, args.join(" "));
  for (const name of ["../x", "", "a b", "-x", "a".repeat(17)]) {
    const { code, stderr } = await run(SCRIPT, ["down"], { env: { NATLAB_NAME: name, NATLAB_MIB: "0" } });
    assertEquals(code, 2, name);
    assertStringIncludes(stderr, name === "" ? "NATLAB_MIB" : `ERROR: Invalid NATLAB_NAME: '${name}'`);
  }
});
