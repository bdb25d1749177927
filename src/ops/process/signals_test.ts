import { assertEquals } from "@std/assert";
import { listenForSignals } from "./mod.ts";

Deno.test("SIGHUP asks for a reload, SIGUSR1 for the log alone", async () => {
  const asked: string[] = [];
  const stop = listenForSignals({ reload: () => asked.push("reload"), reopenLog: () => asked.push("reopen") });
  const until = async (count: number) => {
    while (asked.length < count) await new Promise((resolve) => setTimeout(resolve, 5));
  };
  Deno.kill(Deno.pid, "SIGHUP");
  await until(1);
  Deno.kill(Deno.pid, "SIGUSR1");
  await until(2);
  Deno.kill(Deno.pid, "SIGHUP");
  await until(3);
  stop();
  assertEquals(asked, ["reload", "reopen", "reload"]);
});
