/** The units of deploy/systemd: what the service manager's own checkers say of them, and what they must contain. */
import { assertEquals, assertStringIncludes } from "@std/assert";
import { dirname, join } from "node:path";
import { needing } from "../../tools/needs.ts";
import { copyUnits, readUnit, run, unitFiles, UNITS, values } from "./unit_fixture.ts";

const ROLES = ["server", "connector", "agent"] as const;

/** Copies of the units with all their drop-ins. */
async function withUnits(use: (paths: readonly string[]) => Promise<void>): Promise<void> {
  const folder = Deno.makeTempDirSync();
  try {
    await use(copyUnits(folder));
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

Deno.test(
  needing({ tools: ["systemd-analyze"] }, "systemd-analyze verify has nothing to say about units and drop-ins", async () => {
    await withUnits(async (paths) => {
      assertEquals(paths.length, unitFiles(".service", ".timer").length);
      assertEquals(await run("systemd-analyze", ["verify", "--man=no", ...paths]), { code: 0, stdout: "", stderr: "" });
      // What it has to say about a mistake, in a unit and in a drop-in.
      for (const file of [paths[0] ?? "", `${(paths[0] ?? "")}.d/wrong.conf`]) {
        Deno.mkdirSync(dirname(file), { recursive: true });
        Deno.writeTextFileSync(file, "[Service]\nRestartSeconds=5\n", { append: true });
        const { stderr } = await run("systemd-analyze", ["verify", "--man=no", paths[0] ?? ""]);
        assertStringIncludes(stderr, file);
      }
    });
  }),
);

Deno.test(needing({ tools: ["systemd-analyze"] }, "drop-ins leave the exposure of their units at 2.0 or less", async () => {
  await withUnits(async (paths) => {
    const { code, stdout } = await run("systemd-analyze", [
      "security",
      "--offline=true",
      "--threshold=20",
      ...paths.filter((path) => path.endsWith(".service")),
    ]);
    assertEquals(code, 0, stdout);
    assertStringIncludes(stdout, "CAP_NET_ADMIN");
  });
}));

for (const name of unitFiles(".service")) {
  Deno.test(needing({ tools: ["systemd-analyze"] }, `systemd-analyze rates the exposure of ${name} at 2.0 or less`, async () => {
    const args = ["security", "--offline=true", "--threshold=20", "--no-pager", join(UNITS, name)];
    const { code, stdout } = await run("systemd-analyze", args);
    assertEquals(code, 0, stdout);
  }));
}

Deno.test("the certificate is renewed twice a day at times of the machine's own, and the server reads it without ending", () => {
  const service = readUnit(join(UNITS, "postern-cert-renew.service"));
  const hook = "/usr/local/lib/postern/install-certificate.sh && systemctl kill -s SIGHUP postern-server";
  assertEquals(values(service, "Service.Type"), ["oneshot"]);
  assertEquals(values(service, "Service.ExecStart"), [`/usr/bin/certbot renew --quiet --deploy-hook "${hook}"`]);
  const timer = readUnit(join(UNITS, "postern-cert-renew.timer"));
  assertEquals(values(timer, "Timer.OnCalendar"), ["*-*-* 00,12:00:00"]);
  assertEquals(values(timer, "Timer.RandomizedDelaySec"), ["3600"]);
  assertEquals(values(timer, "Timer.Persistent"), ["true"]);
});

Deno.test("the three roles are limited alike, but for what clients need of the network", () => {
  const limits = ROLES.map((role) => {
    const text = Deno.readTextFileSync(join(UNITS, `postern-${role}.service`));
    return text.slice(text.indexOf("# What it may reach")).replace(/# AF_NETLINK.*\n/, "").replace(" AF_NETLINK", "");
  });
  assertEquals(limits[1], limits[0]);
  assertEquals(limits[2], limits[0]);
});

for (const role of ROLES) {
  Deno.test(`postern-${role}.service is what other parts rely on`, () => {
    const unit = readUnit(join(UNITS, `postern-${role}.service`));
    const expected: Readonly<Record<string, readonly string[]>> = {
      "Service.Type": ["notify"],
      "Service.Restart": ["on-failure"],
      "Service.RestartSec": ["5"],
      "Service.KillSignal": ["SIGTERM"],
      "Service.TimeoutStopSec": ["10"],
      "Service.Environment": [
        "POSTERN_METRICS_CERT=/etc/postern/metrics/server.crt",
        "POSTERN_METRICS_KEY=/etc/postern/metrics/server.key",
        "POSTERN_METRICS_CA=/etc/postern/metrics/ca.crt",
      ],
      "Service.PrivateTmp": ["yes"],
      "Service.NoNewPrivileges": ["yes"],
      // The addresses of the machine, which direct connections need, come through AF_NETLINK.
      "Service.RestrictAddressFamilies": [`AF_UNIX AF_INET AF_INET6${role === "server" ? "" : " AF_NETLINK"}`],
      "Service.ProtectSystem": ["strict"],
      "Service.ProtectHome": ["yes"],
      "Service.CapabilityBoundingSet": [""],
      "Install.WantedBy": ["multi-user.target"],
      // The JavaScript engine makes code at run time.
      "Service.MemoryDenyWriteExecute": [],
    };
    for (const [name, wanted] of Object.entries(expected)) assertEquals(values(unit, name), wanted, name);
  });
}
