/**
 * Services for tests in a network namespace, as a process that runs there: HTTP on TCP and an echo on UDP, on free ports of 127.0.0.1,
 * which it prints as a line of JSON. `GET /BYTES` gives so many zero bytes, `POST` the number that came.
 */
import { createSocket } from "node:dgram";

const udp = createSocket("udp4", (bytes, from) => udp.send(bytes, from.port, from.address));
await new Promise<void>((resolve) => udp.bind(0, "127.0.0.1", resolve));
const http = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, async (request) => {
  if (request.method === "POST") return new Response(`${(await request.arrayBuffer()).byteLength}`);
  return new Response(new Uint8Array(Number(new URL(request.url).pathname.slice(1))));
});
console.log(JSON.stringify({ http: http.addr.port, echo: udp.address().port }));
