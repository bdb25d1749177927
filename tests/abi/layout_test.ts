import { assert, assertEquals } from "@std/assert";
import { loadNative } from "../../ffi/load.ts";
import { PATH_STATS, RECV_INFO, SEND_INFO, STATS } from "../../ffi/quiche/layout.ts";
import { QUICHE_SYMBOLS } from "../../ffi/quiche/symbols.ts";
import { takeText } from "../../ffi/text.ts";
import { MACHINE } from "../../src/io/native_machine.ts";
import { connectedPair } from "./quic_pair.ts";

const library = Deno.dlopen(loadNative().path, QUICHE_SYMBOLS).symbols;

/** The library's own layout: `struct` → size, `struct.field` → offset. */
function nativeLayout(): Map<string, number> {
  const bytes = new Uint8Array(16_384);
  const length = library.postern_layout(BigInt(Deno.UnsafePointer.value(Deno.UnsafePointer.of(bytes))), BigInt(bytes.length));
  const lines = takeText((out) => {
    out?.set(bytes.subarray(0, length));
    return length;
  }).trim().split("\n");
  return new Map(lines.map((line) => [line.split(" ")[0] ?? "", Number(line.split(" ")[1])]));
}

const layout = nativeLayout();
const snake = (name: string) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

for (
  const [struct, table] of Object.entries({ recv_info: RECV_INFO, send_info: SEND_INFO, stats: STATS, path_stats: PATH_STATS })
) {
  Deno.test(`the offsets of quiche_${struct} are the library's`, () => {
    const { size, ...fields } = table;
    assertEquals(size, layout.get(`quiche_${struct}`));
    const native = [...layout].filter(([name]) => name.startsWith(`quiche_${struct}.`));
    const ours = Object.entries(fields).map(([name, offset]) => [`quiche_${struct}.${snake(name)}`, offset]);
    assertEquals<unknown>(ours, native);
  });
}

Deno.test("the structs of the system calls have the sizes that this code base writes", () => {
  const sizes = {
    sockaddr_in: 16,
    sockaddr_in6: 28,
    sockaddr_un: 110,
    sockaddr_storage: 128,
    iovec: 16,
    msghdr: 56,
    mmsghdr: 64,
    cmsghdr: 16,
    epoll_event: MACHINE.epollEventBytes,
    ucred: 12,
    linger: 8,
  };
  for (const [name, size] of Object.entries(sizes)) assertEquals(layout.get(name), size, name);
});

Deno.test("the fields of the system calls' structs lie where this code base writes", () => {
  const offsets = {
    "msghdr.msg_name": 0,
    "msghdr.msg_namelen": 8,
    "msghdr.msg_iov": 16,
    "msghdr.msg_iovlen": 24,
    "msghdr.msg_control": 32,
    "msghdr.msg_controllen": 40,
    "msghdr.msg_flags": 48,
    "mmsghdr.msg_len": 56,
    "iovec.iov_base": 0,
    "iovec.iov_len": 8,
    "cmsghdr.cmsg_len": 0,
    "cmsghdr.cmsg_level": 8,
    "cmsghdr.cmsg_type": 12,
    "epoll_event.events": 0,
    "epoll_event.u64": MACHINE.epollTokenAt,
    "sockaddr_in.sin_port": 2,
    "sockaddr_in.sin_addr": 4,
    "sockaddr_in6.sin6_port": 2,
    "sockaddr_in6.sin6_flowinfo": 4,
    "sockaddr_in6.sin6_addr": 8,
    "sockaddr_in6.sin6_scope_id": 24,
  };
  for (const [name, offset] of Object.entries(offsets)) assertEquals(layout.get(name), offset, name);
});

Deno.test("quiche writes its statistics up to the end of our structs and not beyond", async () => {
  using pair = await connectedPair();
  const { memory, address } = pair.scratch(1024);
  const written = (call: (out: bigint) => void): number => {
    // A byte counts as written when two different fillings end up the same.
    memory.fill(0x55);
    call(address);
    const first = memory.slice();
    memory.fill(0xaa);
    call(address);
    return memory.findLastIndex((byte, index) => byte === first[index]) + 1;
  };
  const stats = written((out) => library.quiche_conn_stats(pair.client, out));
  assertEquals(stats, STATS.txBufferedInconsistent + 1);
  assertEquals(STATS.size, Math.ceil(stats / 8) * 8);
  const path = written((out) => assertEquals(library.quiche_conn_path_stats(pair.client, 0n, out), 0));
  assertEquals(path, PATH_STATS.size);
});

Deno.test("the statistics of a fresh connection are where the tables say", async () => {
  using pair = await connectedPair();
  const { memory, address } = pair.scratch(1024);
  const view = new DataView(memory.buffer, memory.byteOffset);
  const at = (offset: number) => Number(view.getBigUint64(offset, true));
  library.quiche_conn_stats(pair.client, address);
  // A datagram may carry several packets (RFC 9000 §12.2).
  assert(at(STATS.sent) >= pair.datagramsFrom.client && at(STATS.sent) < 20);
  assert(at(STATS.recv) >= pair.datagramsFrom.server && at(STATS.recv) < 20);
  assertEquals(at(STATS.lost), 0);
  // Packets for keys that are already gone count on the way, not in the statistics.
  assert(at(STATS.recvBytes) > 1000 && at(STATS.recvBytes) <= pair.bytesFrom.server);
  assert(at(STATS.sentBytes) > 1200 && at(STATS.sentBytes) <= pair.bytesFrom.client);
  assertEquals(at(STATS.pathsCount), 1);
  library.quiche_conn_path_stats(pair.client, 0n, address);
  assertEquals(view.getUint16(PATH_STATS.localAddr, true), 2);
  assertEquals(view.getUint32(PATH_STATS.localAddrLen, true), 16);
  assertEquals(memory[PATH_STATS.active], 1);
  assert(at(PATH_STATS.rtt) > 0 && at(PATH_STATS.rtt) < 5e9);
  assert(at(PATH_STATS.cwnd) > 10_000 && at(PATH_STATS.cwnd) < 1e6);
  assertEquals(at(PATH_STATS.pmtu), 1350);
});
