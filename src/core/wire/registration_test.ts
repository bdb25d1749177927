import { assertEquals } from "@std/assert";
import { fromHex } from "../../base/mod.ts";
import { decodeRegistration, decodeRegistrationReply } from "./registration.ts";

const register = (hex: string, legacy = false) => {
  const bytes = fromHex(hex) ?? new Uint8Array();
  return decodeRegistration(bytes, 0, bytes.length, { legacy });
};

Deno.test("a whole frame with a bad id is answered, a cut frame is not", () => {
  assertEquals(register("1001ff"), { kind: "invalid-id", role: "agent", why: "not-utf8" });
  assertEquals(register("1101ff"), { kind: "invalid-id", role: "connector", why: "not-utf8" });
  assertEquals(register("1000"), { kind: "invalid-id", role: "agent", why: "empty" });
  assertEquals(register("1003576562"), { kind: "invalid-id", role: "agent", why: "service-id" });
  assertEquals(register("10"), { kind: "malformed", why: "truncated" });
  assertEquals(register("1004737663"), { kind: "malformed", why: "truncated" });
  assertEquals(register(""), { kind: "malformed", why: "truncated" });
  assertEquals(register("120473766331"), { kind: "malformed", why: "first-byte" });
});

Deno.test("a byte order mark is part of the id, so two byte strings never become one service", () => {
  assertEquals(register("100161"), { kind: "register", role: "agent", service: "a" });
  assertEquals(register("1004efbbbf61", true), { kind: "register", role: "agent", service: "\ufeffa" });
});

Deno.test("a frame is read only from its own range", () => {
  const bytes = fromHex("ff100473766331ff") ?? new Uint8Array();
  assertEquals(decodeRegistration(bytes, 1, 6), { kind: "register", role: "agent", service: "svc1" });
  assertEquals(decodeRegistration(bytes, 1, 5), { kind: "malformed", why: "truncated" });
});

Deno.test("every status byte of a NACK is a refusal, zero is none", () => {
  for (let status = 0; status < 256; status++) {
    const reply = decodeRegistrationReply(Uint8Array.of(0x13, status, 1, 0x61), 0, 4);
    const names = ["", "invalid", "not-authorised", "taken", "rate-limited", "withdrawn"];
    if (status === 0) assertEquals(reply, { kind: "malformed", why: "unknown-code" });
    else assertEquals(reply, { kind: "nack", status: (names[status] ?? "unknown") as "unknown", statusByte: status, service: "a" });
  }
});
