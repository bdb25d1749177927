/**
 * The two ends of a bulk transfer, as processes of their own so that they disturb nothing that is measured.
 *
 *   blast.ts sink                             listens on a free port, prints it, swallows, answers each end with the count
 *   blast.ts source PORT BYTES CONNECTIONS    sends BYTES over so many connections, waits for the counts, prints the seconds
 */
const CHUNK_BYTES = 256 * 1024;

async function sink(): Promise<void> {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  console.log(listener.addr.port);
  for await (const connection of listener) swallow(connection).catch(() => connection.close());
}

async function swallow(connection: Deno.TcpConn): Promise<void> {
  const buffer = new Uint8Array(CHUNK_BYTES);
  let total = 0;
  for (let count = await connection.read(buffer); count !== null; count = await connection.read(buffer)) total += count;
  const answer = new Uint8Array(8);
  new DataView(answer.buffer).setFloat64(0, total);
  await connection.write(answer);
  connection.close();
}

async function source(port: number, bytes: number, connections: number): Promise<void> {
  const sockets = await Promise.all(Array.from({ length: connections }, () => Deno.connect({ hostname: "127.0.0.1", port })));
  const begin = performance.now();
  const counts = await Promise.all(sockets.map((socket) => push(socket, Math.ceil(bytes / connections))));
  const seconds = (performance.now() - begin) / 1000;
  console.log(JSON.stringify({ seconds, bytes: counts.reduce((sum, count) => sum + count, 0) }));
}

async function push(socket: Deno.TcpConn, bytes: number): Promise<number> {
  const chunk = new Uint8Array(CHUNK_BYTES).fill(0x61);
  for (let rest = bytes; rest > 0;) rest -= await socket.write(rest < chunk.length ? chunk.subarray(0, rest) : chunk);
  await socket.closeWrite();
  const answer = new Uint8Array(8);
  let got = 0;
  while (got < 8) {
    const count = await socket.read(answer.subarray(got));
    if (count === null) throw new Error("the transfer ended without an answer");
    got += count;
  }
  socket.close();
  const received = new DataView(answer.buffer).getFloat64(0);
  if (received !== bytes) throw new Error(`${received} of ${bytes} bytes arrived`);
  return received;
}

const [role, ...rest] = Deno.args;
if (role === "sink") await sink();
else if (role === "source") {
  const [port = 0, bytes = 0, connections = 1] = rest.map(Number);
  await source(port, bytes, connections);
  Deno.exit(0);
}
