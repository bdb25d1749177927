/** The units of deploy/systemd: what the service manager's own checkers say of them, and what they must contain. */
import { assert, assertEquals } from "@std/assert";
import { join } from "node:path";
import { needing } from "../../tools/needs.ts";
import { copyUnits, readUnit, run, unitFiles, UNITS, values } from "./unit_fixture.ts";

const ROLES = ["server", "connector", "agent"] as const;

Deno.test(needing({ tools: ["systemd-analyze"] }, "systemd-analyze verify has nothing to say about any unit", async () => {
  const folder = Deno.makeTempDirSync();
  try {
    for (const program of ["bin/postern", "lib/postern/check-credentials.sh"]) {
      Deno.mkdirSync(join(folder, program, ".."), { recursive: true });
      Deno.writeTextFileSync(join(folder, program), "#!/bin/sh\n", { mode: 0o755 });
    }
    const units = join(folder, "units");
    Deno.mkdirSync(units);
    const paths = copyUnits(units, folder);
    assert(paths.length >= ROLES.length);
    assertEquals(await run("systemd-analyze", ["verify", "--man=no", ...paths]), { code: 0, stdout: "", stderr: "" });
    // What it has to say about a unit with a mistake.
    const wrong = join(units, "wrong.service");
    Deno.writeTextFileSync(wrong, Deno.readTextFileSync(paths[0] ?? "").replace("RestartSec=", "RestartSeconds="));
    assert((await run("systemd-analyze", ["verify", "--man=no", wrong])).stderr.includes("RestartSeconds"));
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}));

for (const name of unitFiles(".service")) {
  Deno.test(needing({ tools: ["systemd-analyze"] }, `systemd-analyze rates the exposure of ${name} at 2.0 or less`, async () => {
    const args = ["security", "--offline=true", "--threshold=20", "--no-pager", join(UNITS, name)];
    const { code, stdout } = await run("systemd-analyze", args);
    assertEquals(code, 0, stdout);
  }));
}

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
      "Service.RestrictAddressFamilies": ["AF_UNIX AF_INET AF_INET6"],
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
