/**
 * The two ends of small requests, as processes of their own so that they disturb nothing that is measured.
 *
 *   round_trip.ts serve                        listens on a free port, prints it, sends everything back
 *   round_trip.ts ask PORT KIND COUNT          asks one after the other; prints each time in microseconds, as one line of JSON
 *
 * KIND `kept`: all on one connection. `new`: a connection for each, which is part of the time.
 */
const REQUEST_BYTES = 128;
/** Asked before anything is measured: code is compiled and paths are open then. */
const WARM_UP = 20;

async function serve(): Promise<void> {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  console.log(listener.addr.port);
  for await (const connection of listener) {
    connection.setNoDelay(true);
    connection.readable.pipeTo(connection.writable).catch(() => {});
  }
}

async function connect(port: number): Promise<Deno.TcpConn> {
  const connection = await Deno.connect({ hostname: "127.0.0.1", port });
  connection.setNoDelay(true);
  return connection;
}

async function askOne(connection: Deno.TcpConn, request: Uint8Array, answer: Uint8Array<ArrayBuffer>): Promise<void> {
  await connection.write(request);
  for (let got = 0; got < answer.length;) {
    const count = await connection.read(answer.subarray(got));
    if (count === null) throw new Error("the connection ended before the answer");
    got += count;
  }
}

async function ask(port: number, kind: string, count: number): Promise<void> {
  const request = new Uint8Array(REQUEST_BYTES).fill(0x71), answer = new Uint8Array(REQUEST_BYTES);
  const kept = kind === "kept" ? await connect(port) : null;
  const times: number[] = [];
  for (let i = -WARM_UP; i < count; i++) {
    const begun = performance.now();
    const connection = kept ?? await connect(port);
    await askOne(connection, request, answer);
    if (i >= 0) times.push(Math.round((performance.now() - begun) * 1_000));
    if (kept === null) connection.close();
  }
  kept?.close();
  console.log(JSON.stringify(times));
}

const [role, port = "", kind = "", count = ""] = Deno.args;
if (role === "serve") await serve();
else if (role === "ask") await ask(Number(port), kind, Number(count));
