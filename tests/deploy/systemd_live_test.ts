/** The units under a real service manager, process 1 of namespaces of its own: what only it can say of them. */
import { assertEquals, assertMatch } from "@std/assert";
import { join } from "node:path";
import { missing } from "../../tools/needs.ts";
import { TemporaryFolder } from "../e2e/processes_fixture.ts";
import { ROOT } from "./unit_fixture.ts";

const TOOLS = ["unshare", "mount", "chroot", "find", "ip", "socat", "systemctl", "systemd-sysusers", "systemd-tmpfiles"];
const MINUTES_MAX = 6;
const NAME = "a machine with systemd: install, tunnel, reload, watchdog, renewal";

/** Runs a script of this folder there; what it printed. The manager is ended when it takes too long. */
async function underManager(folder: string, script: string): Promise<string> {
  const args = [join(ROOT, "tests", "deploy", "systemd_live_boot.sh"), folder, ROOT, `tests/deploy/${script}`];
  const signal = AbortSignal.timeout(MINUTES_MAX * 60_000);
  const { stdout, stderr } = await new Deno.Command("bash", { args, stdin: "null", signal }).output();
  const said = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes)).join("");
  const text = (name: string) => {
    try {
      return Deno.readTextFileSync(join(folder, name));
    } catch {
      return "";
    }
  };
  return [said, text("output"), ...["server", "connector", "agent"].map((role) => text(`${role}.log`).slice(-3000))].join("\n");
}

const NEEDED = { root: true, tools: TOOLS, files: ["dist/postern", "/lib/systemd/systemd"] };

/** Why there can be no service manager here, or undefined when there can: it is tried. */
async function lackOfManager(): Promise<string | undefined> {
  const lack = missing(NEEDED);
  if (lack !== undefined) return lack;
  using folder = new TemporaryFolder();
  const said = await underManager(folder.path, "systemd_live_smoke.sh");
  return said.includes("the script runs") ? undefined : `a service manager in namespaces: ${said.trim().split("\n").at(-1) ?? ""}`;
}

const lack = await lackOfManager();
Deno.test({
  name: lack === undefined ? NAME : `${NAME} [needs ${lack}]`,
  ignore: lack !== undefined,
  fn: async () => {
    using folder = new TemporaryFolder();
    const said = await underManager(folder.path, "systemd_live_scenario.sh");
    const lines = Deno.readTextFileSync(join(folder.path, "notes")).trim().split("\n");
    const notes = new Map(lines.map((line) => [line.split(" ")[0] ?? "", line.slice(line.indexOf(" ") + 1).trim()]));
    const done = ["install", "start-server", "start-connector", "start-agent", "tunnel", "reload-server", "reload-connector"];
    const further = [
      "reload-agent",
      "watchdog",
      "killed",
      "tunnel-again",
      "wrong-settings",
      "install-renewed",
      "first-certificate",
    ];
    for (const step of [...done, ...further, "renew", "served", "renewed", "stop"]) {
      assertEquals(notes.get(step), "0", `${step}\n${said}`);
    }
    assertEquals([notes.get("reload-changed"), notes.get("early-renewed")], ["1", "1"], said);
    assertMatch(notes.get("limits") ?? "", /^CapEff: 0+ CapBnd: 0+ NoNewPrivs: 1 Seccomp: 2$/);
    assertEquals(notes.get("user"), "postern");
    assertEquals(notes.get("wrong-settings-restarts"), "0", said);
    assertEquals(notes.get("same-process"), "yes", "the renewal ended the server");
    assertEquals(notes.get("result"), "success success", said);
    if (notes.get("tun") === "none") return;
    // CAP_NET_ADMIN is the thirteenth.
    assertEquals([notes.get("tun"), notes.get("tun-limits")], ["0", "CapBnd: 0000000000001000"], said);
  },
});
