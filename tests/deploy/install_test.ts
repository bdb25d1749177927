/** install.sh: what lies where afterwards, what it keeps, the way back, and what it says when it cannot. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { needing } from "../../tools/needs.ts";
import { TemporaryFolder } from "../e2e/processes_fixture.ts";
import { runWithStubs, type Stub, type StubRun } from "./stub_fixture.ts";
import { UNITS } from "./unit_fixture.ts";

const SCRIPT = join(UNITS, "install.sh");
/** Nothing runs yet. */
const MANAGER = {
  systemctl: { script: 'if [ "$1" = is-active ]; then exit 3; fi' },
  "systemd-sysusers": {},
  "systemd-tmpfiles": {},
  sysctl: {},
};

/** A program that says its version. */
function program(folder: string, version: string): string {
  const path = join(folder, `postern-${version}`);
  Deno.writeTextFileSync(path, `#!/bin/sh\necho "postern ${version}"\n`, { mode: 0o755 });
  return path;
}

async function install(args: readonly string[], stubs: Readonly<Record<string, Stub>> = MANAGER): Promise<StubRun> {
  return await runWithStubs(SCRIPT, args, stubs);
}

Deno.test("install.sh puts program, units and folders below --root, and keeps what the operator wrote", async () => {
  using folder = new TemporaryFolder();
  const root = join(folder.path, "root");
  const first = ["--root", root, "--binary", program(folder.path, "1.0.0")];
  const done = await install([...first, "--enable", "--with", "renewed-files", "--with", "tun", "server", "agent"]);
  assertEquals([done.code, done.stdout, done.stderr], [0, "Installed postern 1.0.0: server agent\n", ""]);
  assertEquals(done.calls, [
    `systemd-sysusers --root=${root} ${root}/etc/sysusers.d/postern.conf`,
    `systemd-tmpfiles --root=${root} --create ${root}/etc/tmpfiles.d/postern.conf`,
    `systemctl --root=${root} enable postern-server.service`,
    `systemctl --root=${root} enable postern-agent.service`,
    `systemctl --root=${root} enable postern-cert-renew.timer`,
  ]);
  const units = join(root, "etc/systemd/system");
  for (
    const [path, mode] of [
      ["usr/local/bin/postern", 0o755],
      ["usr/local/lib/postern/check-credentials.sh", 0o755],
      ["usr/local/lib/postern/install-certificate.sh", 0o755],
      ["etc/systemd/system/postern-server.service", 0o644],
      ["etc/systemd/system/postern-server.service.d/renewed-files.conf", 0o644],
      ["etc/systemd/system/postern-agent.service.d/tun.conf", 0o644],
      ["etc/systemd/system/postern-cert-renew.timer", 0o644],
      ["etc/postern/server.env", 0o644],
      ["etc/sysctl.d/60-postern.conf", 0o644],
    ] as const
  ) assertEquals((Deno.statSync(join(root, path)).mode ?? 0) & 0o777, mode, path);
  assert(!existsSync(join(units, "postern-connector.service")), "only the roles that were named");
  Deno.writeTextFileSync(join(root, "etc/postern/server.env"), "POSTERN_PORT=5000\n");
  assertEquals((await install(["--root", root, "--binary", program(folder.path, "1.1.0"), "server"])).code, 0);
  assertEquals(Deno.readTextFileSync(join(root, "etc/postern/server.env")), "POSTERN_PORT=5000\n");
  assertStringIncludes(Deno.readTextFileSync(join(root, "usr/local/bin/postern.previous")), "1.0.0");
  const back = await install(["--root", root, "--rollback"]);
  assertEquals([back.code, back.stdout], [0, "Back to postern 1.0.0\n"]);
  const again = await install(["--root", root, "--rollback"]);
  assertEquals([again.code, again.stderr], [1, `ERROR: there is no program of before: ${root}/usr/local/bin/postern.previous\n`]);
});

Deno.test("install.sh says what is wrong and changes nothing", async () => {
  using folder = new TemporaryFolder();
  const root = join(folder.path, "root");
  const broken = join(folder.path, "broken");
  Deno.writeTextFileSync(broken, "#!/bin/sh\nexit 1\n", { mode: 0o755 });
  const cases: readonly (readonly [readonly string[], number, string])[] = [
    [["--root", root], 2, "ERROR: name at least one role"],
    [["--root", root, "gateway"], 2, "ERROR: unknown word: gateway"],
    [["--root"], 2, "ERROR: --root needs a value"],
    [["--root", root, "--with", "x", "server"], 2, "ERROR: no such drop-in: x"],
    [["--root", root, "--rollback", "server"], 2, "ERROR: --rollback takes no role"],
    [["--root", root, "--binary", "/nonexistent/postern", "server"], 1, "ERROR: no file /nonexistent/postern"],
    [["--root", root, "--binary", broken, "server"], 1, `ERROR: ${broken} does not run on this machine`],
  ];
  for (const [args, code, message] of cases) {
    const result = await install(args);
    assertEquals([result.code, result.stderr.split("\n")[0], result.calls], [code, message, []]);
  }
  assert(!existsSync(root));
  const failed = await install(["--root", root, "--binary", program(folder.path, "1.0.0"), "server"], {
    ...MANAGER,
    "systemd-sysusers": { code: 1 },
  });
  assertEquals([failed.code, failed.stdout], [1, ""]);
});

Deno.test(
  needing(
    { root: true, tools: ["unshare", "mount"] },
    "install.sh on a machine: users first, then what runs is restarted",
    async () => {
      using folder = new TemporaryFolder();
      // The machine's /etc and /usr/local, for the script alone.
      for (const name of ["etc", "local"]) Deno.mkdirSync(join(folder.path, name));
      const mounts = `mount --bind ${folder.path}/etc /etc && mount --bind ${folder.path}/local /usr/local && exec "$@"`;
      const wrapper = ["/usr/bin/unshare", "--mount", "/bin/sh", "-c", `PATH=$PATH:/usr/bin:/bin; ${mounts}`, "sh"];
      const script = async (...args: string[]) => await runWithStubs(SCRIPT, args, MANAGER, { wrapper });
      const fresh = await script("--binary", program(folder.path, "1.0.0"), "--enable", "--with", "renewed-files", "server");
      // A unit that is not there cannot even be asked to stay as it is.
      const restarts = ["systemctl try-restart postern-server.service"];
      assertEquals([fresh.code, fresh.stderr, fresh.calls], [0, "", [
        "systemctl is-active --quiet postern-server",
        "systemd-sysusers /etc/sysusers.d/postern.conf",
        "systemd-tmpfiles --create /etc/tmpfiles.d/postern.conf",
        "sysctl -q -p /etc/sysctl.d/60-postern.conf",
        "systemctl daemon-reload",
        ...restarts,
        "systemctl enable --now postern-server.service",
        "systemctl enable --now postern-cert-renew.timer",
      ]]);
      const small = await runWithStubs(SCRIPT, ["--binary", program(folder.path, "1.1.0"), "server"], {
        ...MANAGER,
        sysctl: { code: 1 },
      }, { wrapper });
      assertEquals([small.code, small.stderr], [0, "The buffers of sockets could not be enlarged: see the event socket-buffers\n"]);
      assertStringIncludes(Deno.readTextFileSync(join(folder.path, "local/bin/postern")), "1.1.0");
      const back = await script("--rollback");
      assertEquals([back.code, back.stdout, back.calls], [0, "Back to postern 1.0.0\n", restarts]);
    },
  ),
);

Deno.test(
  needing(
    { root: true, tools: ["systemd-sysusers", "systemd-tmpfiles"] },
    "the service manager's tools take user and folders",
    async () => {
      using folder = new TemporaryFolder();
      const root = join(folder.path, "root");
      const { code, stderr } = await new Deno.Command(SCRIPT, {
        args: ["--root", root, "--binary", program(folder.path, "1.0.0"), "server"],
        stdin: "null",
      }).output();
      assertEquals(code, 0, new TextDecoder().decode(stderr));
      const user = /^postern:x:(\d+):(\d+):.*:\/usr\/sbin\/nologin$/m.exec(Deno.readTextFileSync(join(root, "etc/passwd")));
      const [uid, gid] = [Number(user?.[1]), Number(user?.[2])];
      const look = (path: string) => {
        const { mode, uid, gid } = Deno.statSync(join(root, path));
        return [(mode ?? 0) & 0o777, uid, gid];
      };
      assertEquals(look("etc/postern/tls"), [0o750, 0, gid]);
      assertEquals(look("etc/postern/metrics"), [0o750, 0, gid]);
      assertEquals(look("run/postern"), [0o750, uid, gid]);
    },
  ),
);
