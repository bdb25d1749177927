import { assertEquals, assertStringIncludes } from "@std/assert";
import { datagramSocket, native } from "../../../tests/e2e/ops_fixture.ts";
import { openNotifier } from "./mod.ts";

Deno.test("the service manager hears READY, RELOADING with the monotonic time, STATUS and STOPPING", async () => {
  const folder = Deno.makeTempDirSync();
  const path = `${folder}/notify`;
  const { next, close } = datagramSocket(path);
  const notifier = openNotifier(native, (name) => name === "NOTIFY_SOCKET" ? path : undefined, () => {});
  notifier.ready("serving\n2 services");
  assertEquals(await next(), `READY=1\nSTATUS=serving 2 services\nMAINPID=${Deno.pid}`);
  const before = native.monotonicUsec();
  notifier.reloading();
  const [first, second = ""] = (await next()).split("\n");
  assertEquals(first, "RELOADING=1");
  const usec = Number(second.replace("MONOTONIC_USEC=", ""));
  assertEquals(usec >= before && usec <= native.monotonicUsec(), true, second);
  notifier.status("x");
  assertEquals(await next(), "STATUS=x");
  notifier.stopping();
  assertEquals(await next(), "STOPPING=1");
  notifier.close();
  close();
  Deno.removeSync(folder, { recursive: true });
});

Deno.test("the watchdog is fed at half its time, and not by a process that finds itself stuck", async () => {
  const folder = Deno.makeTempDirSync();
  const path = `${folder}/notify`;
  const { next, close } = datagramSocket(path);
  const environment: Record<string, string> = { NOTIFY_SOCKET: path, WATCHDOG_USEC: "100000", WATCHDOG_PID: String(Deno.pid) };
  let isAlive = true;
  const notifier = openNotifier(native, (name) => environment[name], () => {});
  const started = performance.now();
  notifier.startWatchdog(() => Promise.resolve(isAlive));
  assertEquals([await next(), await next()], ["WATCHDOG=1", "WATCHDOG=1"]);
  const elapsed = performance.now() - started;
  assertEquals(elapsed > 80 && elapsed < 1000, true, String(elapsed));
  isAlive = false;
  await new Promise((resolve) => setTimeout(resolve, 120));
  notifier.status("end");
  assertEquals(await next(), "STATUS=end");
  notifier.close();
  close();
  Deno.removeSync(folder, { recursive: true });
});

Deno.test("without a manager nothing happens, and one that cannot be reached is reported once", () => {
  const failures: string[] = [];
  const silent = openNotifier(native, () => undefined, (why) => failures.push(why));
  silent.ready("x");
  silent.startWatchdog(() => Promise.resolve(true));
  assertEquals(failures, []);
  const lost = openNotifier(
    native,
    (name) => name === "NOTIFY_SOCKET" ? "/nonexistent/notify" : undefined,
    (why) => failures.push(why),
  );
  lost.ready("x");
  lost.stopping();
  assertEquals(failures.length, 1);
  assertStringIncludes(failures[0] ?? "", "/nonexistent/notify");
});
