/** What reloads of a role leave in counters and events: of its identity, and of what a connector shows to agents directly. */
import { assertEquals } from "@std/assert";
import { type CertificateStatus, metricCells, type SecurityEventInput } from "../base/mod.ts";
import { OPS_METRICS } from "./metrics/mod.ts";
import { RoleReloads } from "./role_reloads.ts";

const shown = (purpose: string, serial: string): CertificateStatus => ({
  purpose,
  path: "/c.pem",
  subject: `CN=${purpose}`,
  issuer: "CN=ca",
  serial,
  notBeforeMs: 0,
  notAfterMs: 1,
  isSelfSigned: false,
  isRevoked: null,
});

Deno.test("a reload counts the certificates that are others now, and tells of all; one that is refused changes nothing", () => {
  let certificates = [shown("identity", "01"), shown("ca", "02"), shown("p2p", "03")];
  const events: SecurityEventInput[] = [];
  const counters = metricCells(OPS_METRICS);
  const reloads = new RoleReloads({ certificates: () => certificates, counters, record: (event) => events.push(event) });
  const counts = () =>
    (["reloads", "reloadFailures", "rotationsIdentity", "rotationsP2p", "rotationFailuresIdentity"] as const).map((name) =>
      counters.cells[counters.index[name]]
    );
  reloads.note("");
  assertEquals(counts(), [1, 0, 0, 0, 0]);
  certificates = [shown("identity", "01"), shown("ca", "07"), shown("p2p", "04")];
  reloads.note("");
  assertEquals(counts(), [2, 0, 0, 1, 0]);
  reloads.note("No certificate in /c.pem");
  assertEquals(counts(), [2, 1, 0, 1, 1]);
  certificates = [shown("identity", "05")];
  reloads.note("");
  assertEquals(counts(), [3, 1, 1, 1, 1]);
  assertEquals(events.map(({ event_type, details }) => [event_type, details["purpose"], details["serial"] ?? details["error"]]), [
    ["certificate_reloaded", "identity", "01"],
    ["certificate_reloaded", "p2p", "03"],
    ["certificate_reloaded", "identity", "01"],
    ["certificate_reloaded", "p2p", "04"],
    ["certificate_reload_failed", "identity", "No certificate in /c.pem"],
    ["certificate_reloaded", "identity", "05"],
  ]);
});
