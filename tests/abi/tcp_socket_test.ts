/** TCP sockets of the reactor over the real C library: what the kernel's edges say, and that they say it only once. */
import { assert, assertEquals } from "@std/assert";
import { createArena, createLibc, LIBC_SCRATCH_BYTES } from "../../ffi/mod.ts";
import {
  ArenaLayout,
  Reactor,
  readSockaddr,
  SOCKADDR_SLOT_BYTES,
  TCP_AGAIN,
  TCP_END,
  TcpSocket,
  writeSockaddr,
} from "../../src/io/mod.ts";

const AF_INET = 2, STREAM = 1, SOCKADDR_IN_BYTES = 16;
const TURNS_MAX = 20;

const arena = createArena(64 * 1024);
const layout = new ArenaLayout(arena);
const libc = createLibc(arena, layout.reserve(LIBC_SCRATCH_BYTES));

Deno.test("a backend that has spoken and ended before the connect is noticed: its bytes and its end are read", () => {
  const reactor = new Reactor(libc, layout, () => performance.now());
  const slot = layout.reserve(SOCKADDR_SLOT_BYTES), chunk = layout.reserve(1024);
  const listener = libc.socket(AF_INET, STREAM);
  writeSockaddr(arena, slot, { address: "127.0.0.1", port: 0 });
  assert(libc.bind(listener, slot, SOCKADDR_IN_BYTES) === 0 && libc.listen(listener, 1) === 0);
  libc.getsockname(listener, slot);
  assert(readSockaddr(arena, slot)?.port !== 0);

  const heard: number[] = [];
  const read = () => {
    if (typeof socket === "number") return;
    while (socket.isReadable && heard.at(-1) !== TCP_END) {
      const count = socket.read(chunk, 1024);
      if (count === TCP_AGAIN) return;
      heard.push(count);
    }
  };
  const socket = TcpSocket.connect(reactor, slot, { onConnected: read, onReady: read, onError: (errno) => heard.push(-errno) });
  assert(typeof socket !== "number");
  // All of it happens before the reactor's first look.
  const peer = libc.accept(listener, slot);
  assert(peer >= 0);
  assertEquals(libc.send(peer, chunk, 3), 3);
  libc.close(peer);
  for (let i = 0; i < TURNS_MAX && heard.at(-1) !== TCP_END; i++) {
    reactor.again();
    reactor.turn();
  }
  assertEquals(heard, [3, TCP_END]);
  socket.close();
  libc.close(listener);
});
