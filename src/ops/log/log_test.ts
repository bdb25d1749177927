import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { type LogFields, LogGate, type LogLevel, PosternError } from "../../base/mod.ts";
import { createLog, fileDestination, formatFilter, type LogOptions, parseFilter } from "./mod.ts";

/** A log that writes into an array, with a clock that the test moves. */
function logInto(lines: string[], options: Partial<LogOptions> & { readonly level?: string } = {}) {
  const clock = { nowMs: Date.UTC(2026, 0, 26, 10, 30) };
  const log = createLog({
    role: "server",
    filter: parseFilter(options.level ?? "info", "test").filter,
    destination: {
      write: (line) => {
        lines.push(line);
        return true;
      },
      reopen: () => {},
      close: () => {},
    },
    format: "json",
    nowMs: () => clock.nowMs,
    ...options,
  });
  return { log, clock };
}

function record(level: LogLevel, fields: LogFields = {}, message = "text") {
  return { level, event: "uplink-lost" as const, message, fields };
}

Deno.test("a record becomes one JSON line with level, time, role, event and msg", () => {
  const lines: string[] = [];
  const { log } = logInto(lines);
  log.sink(record("warn", { attempts: 3, reason: "idle" }, "The connection ended"));
  log.close();
  assertEquals(lines.length, 1);
  assert(lines[0]?.endsWith("}\n"));
  const { time, ...rest } = JSON.parse(lines[0] ?? "");
  assertEquals(rest, {
    level: "warn",
    role: "server",
    event: "uplink-lost",
    attempts: 3,
    reason: "idle",
    msg: "The connection ended",
  });
  assert(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/.test(time));
});

Deno.test("a process with a name of its own says it in every line, before any field of that name", () => {
  const lines: string[] = [];
  const { log } = logInto(lines, { name: "edge-7" });
  log.sink(record("warn", { name: "of the record" }));
  log.close();
  const { role, name, name_ } = JSON.parse(lines[0] ?? "");
  assertEquals([role, name, name_], ["server", "edge-7", "of the record"]);
  const text: string[] = [];
  const other = logInto(text, { name: "edge-7", format: "text" }).log;
  other.sink(record("warn"));
  other.close();
  assertStringIncludes(text[0] ?? "", "WARN  edge-7 uplink-lost");
});

Deno.test("producers in other isolates learn of a changed level without being told", () => {
  const { log } = logInto([], { level: "info,uplink=debug" });
  const there = new LogGate(log.gate.buffer);
  assertEquals([there.isOn("debug", "uplink-lost"), there.isOn("debug", "stream-closed")], [true, false]);
  log.setLevel("debug,uplink=warn", "test");
  assertEquals([there.isOn("info", "uplink-lost"), there.isOn("debug", "stream-closed")], [false, true]);
  log.close();
});

Deno.test("the filter decides by level and by module, and changes at run time", () => {
  const lines: string[] = [];
  const { log } = logInto(lines, { level: "warn,uplink=trace" });
  log.sink(record("trace"));
  log.sink({ level: "info", event: "ready", message: "", fields: {} });
  assertEquals(lines.length, 1);
  log.setLevel("info", "test");
  assertEquals(log.filter(), "info");
  log.sink(record("debug"));
  log.sink({ level: "info", event: "ready", message: "", fields: {} });
  assertEquals(lines.length, 2);
  log.setLevel("off", "test");
  log.sink({ level: "fatal", event: "fatal", message: "", fields: {} });
  log.close();
  assertEquals(lines.length, 2);
});

Deno.test("a filter that cannot be read is a usage error that names its source; an unknown module only warns", () => {
  for (const text of ["loud", "info,debug", "uplink=loud", "a b=info", "uplink=info,uplink=warn", "=info"]) {
    const error = assertThrows(() => parseFilter(text, "POSTERN_LOG"), PosternError);
    assertEquals(error.exitCode, 2);
    assertStringIncludes(error.message, "POSTERN_LOG");
  }
  assertEquals(parseFilter("info,quiche=warn", "RUST_LOG").warnings.length, 1);
  assertEquals(formatFilter(parseFilter(" uplink=TRACE , Warning,log=off", "x").filter), "warn,log=off,uplink=trace");
  assertEquals(formatFilter(parseFilter("", "x").filter), "info");
});

Deno.test("secrets never reach a line, at any level", () => {
  const lines: string[] = [];
  const { log } = logInto(lines, { level: "trace" });
  log.sink(
    record("info", {
      token: "abc123",
      private_key: "abc123",
      Password: "abc123",
      text: ["-----BEGIN EC PRIVATE", "KEY-----abc123"].join(" "),
    }),
  );
  log.close();
  assert(!lines.join("").includes("abc123"));
  assertEquals(JSON.parse(lines[0] ?? "").token, "[secret]");
});

Deno.test("client addresses and routes are left out at info and shown at debug", () => {
  const fields = { remote: "192.0.2.1:9", clientAddress: "192.0.2.2", route: "svc@192.0.2.3", listenAddress: "[::1]:1" };
  const lines: string[] = [];
  const { log } = logInto(lines);
  log.sink(record("error", fields));
  assert(!lines.join("").includes("192.0.2."));
  assertStringIncludes(lines[0] ?? "", "[::1]:1");
  log.setLevel("debug", "test");
  log.sink(record("info", fields));
  log.close();
  assertEquals(JSON.parse(lines[1] ?? "").remote, "192.0.2.1:9");
});

Deno.test("hostile text cannot break a line, move a cursor or hide; long text is cut; reserved names do not collide", () => {
  for (const format of ["json", "text"] as const) {
    const lines: string[] = [];
    const { log } = logInto(lines, { format });
    log.sink(record("info", { service: "a\n\x1b[31m\u202e\u007f\u200b\ud800", level: "fatal", long: "x".repeat(5000) }, "m\r\n2"));
    log.close();
    assertEquals(lines.length, 1);
    const line = lines[0] ?? "";
    // deno-lint-ignore no-control-regex
    assert(!/[\x00-\x09\x0b-\x1f\x7f\u202e\u200b]/.test(line), line);
    assertEquals(line.indexOf("\n"), line.length - 1);
    assert(line.length < 1600);
    if (format === "json") {
      const parsed = JSON.parse(line);
      assertEquals([parsed.level, parsed.level_, parsed.msg], ["info", "fatal", "m\\u000d\\u000a2"]);
      assertEquals(parsed.service, "a\\u000a\\u001b[31m\\u202e\\u007f\\u200b\\ud800");
    }
  }
});

Deno.test("a flood of one event is sampled and counted, the others still speak", () => {
  const lines: string[] = [];
  const { log, clock } = logInto(lines, { sampling: { burst: 10, perSecond: 1 } });
  for (let i = 0; i < 1000; i++) log.sink(record("warn"));
  assertEquals(lines.length, 10);
  log.sink({ level: "info", event: "ready", message: "", fields: {} });
  log.sink({ level: "fatal", event: "uplink-lost", message: "", fields: {} });
  assertEquals(lines.length, 12);
  clock.nowMs += 1500;
  log.flush();
  const last = JSON.parse(lines.at(-1) ?? "");
  assertEquals([last.event, last.of, last.count], ["log-dropped", "uplink-lost", 990]);
  log.sink(record("warn"));
  log.close();
  assertEquals(lines.length, 14);
  assertEquals(log.statistics(), { written: 14, dropped: 990, failed: 0 });
});

Deno.test("the terminal form shows level, event, message and fields, coloured only when asked", () => {
  for (const colours of [false, true]) {
    const lines: string[] = [];
    const { log } = logInto(lines, { format: "text", colours });
    log.sink(record("warn", { attempts: 2, reason: "two words" }, "It ended."));
    log.close();
    assertEquals(lines[0]?.includes("\x1b["), colours);
    if (!colours) assertEquals(lines[0], '10:30:00.000 WARN  uplink-lost  It ended. attempts=2 reason="two words"\n');
  }
});

Deno.test("a log file is made 0600, and after it is moved a reopen goes on in a new one without losing a line", () => {
  const dir = Deno.makeTempDirSync();
  const path = `${dir}/postern.log`;
  Deno.writeTextFileSync(path, "");
  Deno.chmodSync(path, 0o644);
  const { log } = logInto([], { destination: fileDestination(path) });
  log.sink(record("info", { line: 1 }));
  Deno.renameSync(path, `${path}.1`);
  log.sink(record("info", { line: 2 }));
  log.reopen();
  log.sink(record("info", { line: 3 }));
  assertEquals(lineNumbers(`${path}.1`), [1, 2]);
  assertEquals(lineNumbers(path), [3]);
  for (const file of [path, `${path}.1`]) assertEquals((Deno.statSync(file).mode ?? 0) & 0o777, 0o600);
  log.close();
  Deno.removeSync(dir, { recursive: true });
});

Deno.test("a reopen that fails keeps the old file and says so in it", () => {
  const dir = Deno.makeTempDirSync();
  const path = `${dir}/sub/postern.log`;
  Deno.mkdirSync(`${dir}/sub`);
  const { log } = logInto([], { destination: fileDestination(path) });
  Deno.renameSync(`${dir}/sub`, `${dir}/moved`);
  log.reopen();
  log.sink(record("info", { line: 1 }));
  log.close();
  const text = Deno.readTextFileSync(`${dir}/moved/postern.log`);
  assertStringIncludes(text, "log-file-failed");
  assertStringIncludes(text, '"line":1');
  Deno.removeSync(dir, { recursive: true });
});

function lineNumbers(path: string): number[] {
  return Deno.readTextFileSync(path).trim().split("\n").map((line) => JSON.parse(line).line);
}
