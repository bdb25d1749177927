/** Streams arrive whole, whatever happens to the packets that carry them: the patches of ffi/native/patches at work. */
import { assertEquals } from "@std/assert";
import { connectedPair, library, type QuicPair } from "./quic_pair.ts";

const STREAM = 0n;
/** One whose number takes eight bytes in every frame. */
const HIGH_STREAM = 1n << 30n;
/** Probe timeouts that are waited for; the first one is due after some ten milliseconds. */
const TIMEOUTS_MAX = 4;

/** A stream as an application uses it, at one end. */
function endOf(pair: QuicPair, side: "client" | "server", stream = STREAM) {
  const conn = pair[side];
  const { memory, address } = pair.scratch(1024);
  return {
    send(text: string, fin: boolean): void {
      new TextEncoder().encodeInto(text, memory);
      const sent = library.quiche_conn_stream_send(conn, stream, address, BigInt(text.length), fin, address + 512n);
      assertEquals(sent, text.length);
    },
    /** What there is to read now, with `|` for the end. */
    read(): string {
      let text = "";
      for (;;) {
        const count = library.quiche_conn_stream_recv(conn, stream, address, 500n, address + 512n, address + 520n);
        if (count < 0) return text;
        text += new TextDecoder().decode(memory.subarray(0, count));
        if (memory[512] !== 0) return text + "|";
      }
    },
  };
}

Deno.test("stream: an end arrives that was written before the acknowledgement of what stands before it", async () => {
  using pair = await connectedPair();
  const client = endOf(pair, "client"), server = endOf(pair, "server");
  client.send("ask", true);
  pair.run();
  assertEquals(server.read(), "ask|");
  server.send("answer", false);
  pair.carry("server");
  assertEquals(client.read(), "answer");
  // The end waits to be sent while the acknowledgement of "answer" comes in.
  server.send("", true);
  pair.carry("client");
  pair.run();
  assertEquals(client.read(), "|");
});

/** What `reader` gets when `sender` sends again what was lost. */
async function readAfterTimeouts(pair: QuicPair, sender: "client" | "server", reader: ReturnType<typeof endOf>): Promise<string> {
  let got = reader.read();
  for (let i = 0; got === "" && i < TIMEOUTS_MAX; i++) {
    await new Promise((resolve) => setTimeout(resolve, library.quiche_conn_timeout_as_millis(pair[sender]) + 1));
    library.quiche_conn_on_timeout(pair[sender]);
    pair.run();
    got = reader.read();
  }
  return got;
}

Deno.test("stream: a lost end is sent again, also when the other direction has ended meanwhile", async () => {
  using pair = await connectedPair();
  const client = endOf(pair, "client"), server = endOf(pair, "server");
  client.send("ask", false);
  pair.run();
  assertEquals(server.read(), "ask");
  server.send("answer", false);
  pair.run();
  assertEquals(client.read(), "answer");
  server.send("", true);
  assertEquals(pair.carry("server", true), 1);
  client.send("", true);
  pair.carry("client");
  assertEquals(server.read(), "|");
  pair.run();
  assertEquals(await readAfterTimeouts(pair, "server", client), "|");
});

/** Sends each letter in a packet of its own. */
function sendApart(pair: QuicPair, end: ReturnType<typeof endOf>, letters: string): void {
  for (const letter of letters) {
    end.send(letter, false);
    assertEquals(pair.carry("client"), 1);
  }
}

Deno.test("stream: an end arrives that was written while bytes before it wait to be sent again", async () => {
  using pair = await connectedPair();
  const client = endOf(pair, "client"), server = endOf(pair, "server");
  client.send("a", false);
  assertEquals(pair.carry("client", true), 1);
  // Three packets further "a" counts as lost.
  sendApart(pair, client, "bcd");
  pair.carry("server");
  client.send("", true);
  pair.run();
  assertEquals(server.read(), "abcd|");
});

Deno.test("stream: an end arrives that was lost together with bytes further ahead", async () => {
  using pair = await connectedPair();
  const client = endOf(pair, "client"), server = endOf(pair, "server"), other = endOf(pair, "client", 4n);
  client.send("a", false);
  assertEquals(pair.carry("client", true), 1);
  sendApart(pair, client, "b");
  client.send("", true);
  assertEquals(pair.carry("client", true), 1);
  sendApart(pair, other, "xyz");
  pair.run();
  assertEquals(server.read(), "ab|");
});

Deno.test("stream: an end arrives with bytes that are repeated although they were read", async () => {
  using pair = await connectedPair();
  const client = endOf(pair, "client"), server = endOf(pair, "server");
  client.send("a", false);
  pair.carry("client");
  assertEquals(server.read(), "a");
  // That it was read is lost on its way, and so is the end alone: both are sent again as one.
  pair.carry("server", true);
  client.send("", true);
  assertEquals(pair.carry("client", true), 1);
  assertEquals(await readAfterTimeouts(pair, "client", server), "|");
  pair.run();
  assertEquals(server.read(), "");
});

Deno.test("stream: what is left of a packet may be too little for a frame's header, and the stream goes on in the next one", async () => {
  using pair = await connectedPair({ streamsMax: HIGH_STREAM });
  const client = endOf(pair, "client", HIGH_STREAM), server = endOf(pair, "server", HIGH_STREAM);
  const part = "x".repeat(500);
  // Far enough for the offset to take four bytes: with them a header has fifteen.
  for (let n = 0; n < 40; n++) {
    client.send(part, false);
    pair.run();
    assertEquals(server.read(), part);
  }
  client.send(part, true);
  for (let bytesMax = 20; bytesMax < 80; bytesMax++) pair.carry("client", false, bytesMax);
  pair.run();
  assertEquals(server.read(), part + "|");
});
