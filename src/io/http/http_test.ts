import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import fc from "fast-check";
import { exchange, statusesOf, withHttp } from "../../../tests/e2e/ops_fixture.ts";
import { checkHead } from "./request_head.ts";
import { DEFAULT_HTTP_LIMITS, HttpClient, type HttpHandler, type HttpLimits, jsonResponse, textResponse } from "./mod.ts";

const QUICK: HttpLimits = { ...DEFAULT_HTTP_LIMITS, requestMs: 300, idleMs: 300, writeMs: 300 };

/** Answers with what it understood. */
const echo: HttpHandler = (request) =>
  jsonResponse({
    method: request.method,
    path: request.path,
    query: [...request.query],
    headers: Object.fromEntries(request.headers),
    body: new TextDecoder().decode(request.body),
  });

Deno.test("a request is understood and answered; the connection stays open for the next", async () => {
  await withHttp(echo, QUICK, async ({ path, ends }) => {
    const answer = await exchange(
      path,
      "GET /a?x=1&y=%20z HTTP/1.1\r\nHost: h\r\nA: 1\r\na: 2\r\n\r\nPOST /b HTTP/1.1\r\nhost:h\r\ncontent-length: 3\r\n\r\nxyz",
    );
    assertEquals(statusesOf(answer), [200, 200]);
    const bodies = answer.split("\r\n").filter((line) => line.startsWith("{")).map((line) => JSON.parse(line.split("\n")[0] ?? ""));
    assertEquals(bodies[0], {
      method: "GET",
      path: "/a",
      query: [["x", "1"], ["y", " z"]],
      headers: { host: "h", a: "1, 2" },
      body: "",
    });
    assertEquals([bodies[1].method, bodies[1].body], ["POST", "xyz"]);
    assertEquals(ends, ["closed"]);
  });
});

Deno.test("HEAD has the head only; HTTP/1.0 and 'connection: close' end the connection", async () => {
  await withHttp(echo, QUICK, async ({ path }) => {
    const head = await exchange(path, "HEAD / HTTP/1.1\r\nhost: h\r\n\r\n");
    assertEquals(head.split("\r\n\r\n")[1], "");
    assertStringIncludes(head, "content-length: ");
    for (const text of ["GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n"]) {
      const answer = await exchange(path, text, { keepOpen: true });
      assertEquals(statusesOf(answer), [200]);
      assertStringIncludes(answer, "connection: close");
    }
  });
});

const REFUSALS: readonly (readonly [string, string, number])[] = [
  ["bare LF", "GET / HTTP/1.1\nhost: h\n\n\r\n\r\n", 400],
  ["bare LF between headers", "GET / HTTP/1.1\r\nhost: h\na: b\r\n\r\n", 400],
  ["space before the colon", "GET / HTTP/1.1\r\nhost : h\r\n\r\n", 400],
  ["folded line", "GET / HTTP/1.1\r\nhost: h\r\na: b\r\n c\r\n\r\n", 400],
  ["no host", "GET / HTTP/1.1\r\n\r\n", 400],
  ["host with a space", "GET / HTTP/1.1\r\nhost: h h\r\n\r\n", 400],
  ["two hosts", "GET / HTTP/1.1\r\nhost: h\r\nhost: h\r\n\r\n", 400],
  ["two lengths", "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\nx", 400],
  ["length list", "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 1, 1\r\n\r\nx", 400],
  ["signed length", "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: +1\r\n\r\nx", 400],
  ["hexadecimal length", "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 0x1\r\n\r\nx", 400],
  ["length with zeros", "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 01\r\n\r\nx", 400],
  ["transfer coding", "POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 501],
  [
    "transfer coding and length",
    "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 4\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    400,
  ],
  ["expectation", "POST / HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\ncontent-length: 1\r\n\r\n", 417],
  ["absolute form", "GET http://h/ HTTP/1.1\r\nhost: h\r\n\r\n", 400],
  ["fragment", "GET /#a HTTP/1.1\r\nhost: h\r\n\r\n", 400],
  ["NUL in a header", "GET / HTTP/1.1\r\nhost: h\r\na: b\0c\r\n\r\n", 400],
  ["CR in a header", "GET / HTTP/1.1\r\nhost: h\r\na: b\rc\r\n\r\n", 400],
  ["byte over 127", "GET / HTTP/1.1\r\nhost: h\r\na: \u00e9\r\n\r\n", 400],
  ["unknown method", "FROB / HTTP/1.1\r\nhost: h\r\n\r\n", 405],
  ["lower-case method", "get / HTTP/1.1\r\nhost: h\r\n\r\n", 400],
  ["HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400],
  ["HTTP/1.2", "GET / HTTP/1.2\r\nhost: h\r\n\r\n", 505],
  ["body over the limit", "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 65537\r\n\r\n", 413],
  ["long target", `GET /${"a".repeat(3000)} HTTP/1.1\r\nhost: h\r\n\r\n`, 414],
  ["head over the limit", `GET / HTTP/1.1\r\nhost: h\r\na: ${"b".repeat(9000)}\r\n\r\n`, 431],
  ["many headers", `GET / HTTP/1.1\r\nhost: h\r\n${"a: b\r\n".repeat(80)}\r\n`, 431],
  ["cut in the head", "GET / HTTP/1.1\r\nhost", 400],
  ["cut in the body", "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\n\r\nab", 400],
  ["TLS client hello", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400],
];

for (const [name, text, status] of REFUSALS) {
  Deno.test(`refused with ${status} and closed: ${name}`, async () => {
    await withHttp(echo, QUICK, async ({ path, ends }) => {
      const answer = await exchange(path, text + "GET /smuggled HTTP/1.1\r\nhost: h\r\n\r\n".repeat(text.includes("cut") ? 0 : 1));
      const cut = name.startsWith("cut") ? await exchange(path, text) : answer;
      assertEquals(statusesOf(cut), [status], cut);
      assertStringIncludes(cut, '{"error":{"code":"');
      assertStringIncludes(cut, "connection: close");
      assert(!cut.includes("smuggled"));
      assert(ends.includes("refused"));
    });
  });
}

Deno.test("eight requests may be sent ahead, the ninth ends the connection", async () => {
  await withHttp(echo, QUICK, async ({ path }) => {
    const one = "GET / HTTP/1.1\r\nhost: h\r\n\r\n";
    assertEquals(statusesOf(await exchange(path, one.repeat(8))), Array(8).fill(200));
    assertEquals(statusesOf(await exchange(path, one.repeat(20))), [...Array(8).fill(200), 429]);
  });
});

Deno.test("silent, slow and unreading clients are dropped at their deadline and delay nobody", async () => {
  const large = new Uint8Array(8_000_000);
  const handler: HttpHandler = (request) =>
    request.path === "/large" ? { status: 200, headers: {}, body: large } : textResponse("ok");
  await withHttp(handler, QUICK, async ({ path, ends }) => {
    const started = performance.now();
    const silent = exchange(path, "", { keepOpen: true });
    const half = exchange(path, "GET / HTTP/1.1\r\nho", { keepOpen: true });
    const unreading = await Deno.connect({ transport: "unix", path });
    await unreading.write(new TextEncoder().encode("GET /large HTTP/1.1\r\nhost: h\r\n\r\n"));
    const prompt = await exchange(path, "GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n", { keepOpen: true });
    assertEquals(statusesOf(prompt), [200]);
    assert(performance.now() - started < 250, "an idle neighbour delayed a request");
    assertEquals([await silent, await half], ["", ""]);
    while (ends.filter((end) => end === "timeout").length < 3) await new Promise((resolve) => setTimeout(resolve, 20));
    assert(performance.now() - started < 3_000);
    unreading.close();
  });
});

Deno.test("a handler that throws is answered with 500 without its words, and the next request works", async () => {
  const handler: HttpHandler = (request) => {
    if (request.path === "/bad") throw new Error("inner words");
    return textResponse("ok");
  };
  await withHttp(handler, QUICK, async ({ path, failures }) => {
    const answer = await exchange(path, "GET /bad HTTP/1.1\r\nhost: h\r\n\r\nGET / HTTP/1.1\r\nhost: h\r\n\r\n");
    assertEquals(statusesOf(answer), [500, 200]);
    assert(!answer.includes("inner words"));
    assertEquals(failures.length, 1);
  });
});

Deno.test("a streamed answer arrives in pieces, and stops when the client leaves", async () => {
  let stopped = false;
  const handler: HttpHandler = (_request, signal) => ({
    status: 200,
    headers: { "content-type": "text/plain" },
    body: (async function* () {
      try {
        for (let i = 0; !signal.aborted && i < 1000; i++) {
          yield new TextEncoder().encode(`${i}\n`);
          await new Promise((resolve) => setTimeout(resolve, 5));
        }
      } finally {
        stopped = true;
      }
    })(),
  });
  await withHttp(handler, QUICK, async ({ path }) => {
    const client = await HttpClient.connect(path);
    let text = "";
    const followed = client.follow({ method: "GET", target: "/" }, (piece) => text += new TextDecoder().decode(piece));
    while (!text.includes("20\n")) await new Promise((resolve) => setTimeout(resolve, 5));
    client[Symbol.dispose]();
    await followed.catch(() => {});
    while (!stopped) await new Promise((resolve) => setTimeout(resolve, 5));
  });
});

Deno.test("the client of our own commands reads whole answers and keeps its connection", async () => {
  await withHttp(echo, QUICK, async ({ path }) => {
    using client = await HttpClient.connect(path);
    for (let i = 0; i < 3; i++) {
      const answer = await client.request({ method: "POST", target: `/n?i=${i}`, body: new TextEncoder().encode("abc") });
      assertEquals(answer.status, 200);
      assertEquals(JSON.parse(new TextDecoder().decode(answer.body)).body, "abc");
    }
  });
});

Deno.test("any bytes give a verdict on a head, and an accepted one has exactly one meaning", () => {
  const piece = fc.constantFrom(
    "GET / HTTP/1.1",
    "\r\n",
    "\n",
    "host: h",
    "content-length: 3",
    "Content-Length:3",
    " ",
    ":",
    "\0",
    "é",
    "transfer-encoding: chunked",
    "a",
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
      const text = pieces.join("") + "\r\n\r\n";
      const bytes = Uint8Array.from(text, (character) => character.charCodeAt(0));
      const verdict = checkHead(bytes, DEFAULT_HTTP_LIMITS);
      if (verdict.kind !== "ok") return;
      assert(!/[^\r]\n|\0|^transfer-encoding:/m.test(text));
      assert((text.match(/^content-length:/gim) ?? []).length <= 1);
    }),
    { numRuns: 2000 },
  );
});
