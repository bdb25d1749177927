/** Databases behind a connector, spoken to by their own clients through an agent's ports as if they were here. */
import { assertEquals, assertStringIncludes } from "@std/assert";
import { createHash } from "node:crypto";
import { needing } from "../../tools/needs.ts";
import { linesOf } from "../../tools/test_output.ts";
import { DATABASE_NEEDS, psql, redis, startPostgres, startRedis } from "./database_fixture.ts";
import { Gateway } from "./gateway_fixture.ts";
import { closedPort } from "./tcp_fixture.ts";

const ROWS = 100_000;
const VALUE_BYTES = 4 * 1024 * 1024;

const utf8 = (text: string) => new TextEncoder().encode(text);
const md5 = (text: string) => createHash("md5").update(text).digest("hex");

Deno.test(needing(DATABASE_NEEDS, "psql and redis-cli work at services as they do at a database here", async (t) => {
  const [db, cache] = [closedPort(), closedPort()];
  await using _postgres = await startPostgres(db);
  await using _redis = await startRedis(cache);
  await using gateway = await Gateway.start({ services: { db, cache } });
  const ask = async (...args: Parameters<typeof psql> extends [number, ...infer Rest] ? Rest : never) => {
    const { code, out, said } = await psql(gateway.portOf("db"), ...args);
    assertEquals(code, 0, said);
    return out.trim();
  };
  const call = async (...args: Parameters<typeof redis> extends [number, ...infer Rest] ? Rest : never) => {
    const { code, out, said } = await redis(gateway.portOf("cache"), ...args);
    assertEquals(code, 0, said + out.slice(0, 500));
    return out.trim();
  };

  await t.step("psql: logs in by password, copies rows in and out, and they are the same", async () => {
    const rows = Array.from({ length: ROWS }, (_, i) => `${i}\trow ${i} of many\n`).join("");
    await ask(["-c", "create table t (id int primary key, text text)"]);
    await ask(["-c", "copy t from stdin"], utf8(rows));
    assertEquals(await ask(["-c", "select count(*), sum(id) from t"]), `${ROWS}|${ROWS * (ROWS - 1) / 2}`);
    const { out } = await psql(gateway.portOf("db"), ["-c", "copy (select * from t order by id) to stdout"]);
    assertEquals([out.length, md5(out)], [rows.length, md5(rows)]);
  });
  await t.step("psql: several at once, an error, and one that is told of what another did", async () => {
    const sums = await Promise.all([1, 2, 3, 4].map((n) => ask(["-c", `select sum(id) from t where id % 4 = ${n - 1}`])));
    assertEquals(sums.reduce((sum, text) => sum + Number(text), 0), ROWS * (ROWS - 1) / 2);
    const wrong = await psql(gateway.portOf("db"), ["-c", "select 1/0"]);
    assertEquals(wrong.code, 1);
    assertStringIncludes(wrong.said, "division by zero");
    const heard = await ask(["-c", "listen news", "-c", "notify news, 'it came'", "-c", "select 1"]);
    assertStringIncludes(heard, 'Asynchronous notification "news" with payload "it came" received');
  });
  await t.step("redis-cli: a large value there and back, and many commands in one go", async () => {
    const value = new Uint8Array(VALUE_BYTES).map((_, i) => 97 + (i * 31 + (i >> 8)) % 26);
    assertEquals(await call(["-x", "set", "large"], value), "OK");
    assertEquals(md5(await call(["get", "large"])), md5(new TextDecoder().decode(value)));
    const commands = Array.from({ length: 20_000 }, (_, i) => `SET key:${i} ${i}\r\n`).join("");
    assertStringIncludes(await call(["--pipe"], utf8(commands)), "errors: 0, replies: 20000");
    assertEquals(await call(["dbsize"]), "20001");
  });
  await t.step("redis-cli: who subscribes hears what another publishes, in order", async () => {
    const args = ["-h", "127.0.0.1", "-p", `${gateway.portOf("cache")}`, "subscribe", "news"];
    const child = new Deno.Command("redis-cli", { args, stdin: "null", stdout: "piped", stderr: "null" }).spawn();
    const lines = linesOf(child.stdout);
    const next = async (count: number) => {
      const taken: string[] = [];
      while (taken.length < count) taken.push((await lines.next()).value ?? "(the end)");
      return taken;
    };
    try {
      assertEquals(await next(3), ["subscribe", "news", "1"]);
      for (const text of ["one", "two", "three"]) {
        assertEquals(await call(["publish", "news", text]), "1");
        assertEquals(await next(3), ["message", "news", text]);
      }
    } finally {
      child.kill("SIGKILL");
      await child.status;
      await lines.return(undefined);
    }
  });
}));
