import { assertEquals } from "@std/assert";
import { AF_INET, AF_INET6, SOCKADDR_SLOT_BYTES } from "../../io/mod.ts";
import { ClientTable, copyAddress, type UdpClient } from "./client_table.ts";

const view = new DataView(new ArrayBuffer(8 * SOCKADDR_SLOT_BYTES));

/** Writes an address at the slot with this number. */
function slot(number: number, family: number, port: number, last: number): number {
  const at = number * SOCKADDR_SLOT_BYTES;
  for (let i = 0; i < SOCKADDR_SLOT_BYTES; i++) view.setUint8(at + i, 0);
  view.setUint16(at, family, true);
  view.setUint16(at + 2, port);
  view.setUint8(at + (family === AF_INET ? 7 : 23), last);
  return at;
}

const clientAt = (at: number): UdpClient => ({ address: copyAddress(view, at), nextClient: null });

Deno.test("every address and port is a client of its own, in both families, and is found where it lies", () => {
  const table = new ClientTable<UdpClient>(7);
  const slots = [
    slot(0, AF_INET, 1000, 1),
    slot(1, AF_INET, 1001, 1),
    slot(2, AF_INET, 1000, 2),
    slot(3, AF_INET6, 1000, 1),
    slot(4, AF_INET6, 1000, 2),
  ];
  const clients = slots.map(clientAt);
  for (const client of clients) table.add(client);
  assertEquals(table.size, 5);
  slots.forEach((at, i) => assertEquals(table.find(view, at) === clients[i], true, `slot ${i}`));
  assertEquals(table.find(view, slot(5, AF_INET, 1002, 1)), null);
  // What the kernel leaves behind an IPv4 address is no part of it.
  view.setUint8(slot(6, AF_INET, 1000, 1) + 12, 0xff);
  assertEquals(table.find(view, 6 * SOCKADDR_SLOT_BYTES) === clients[0], true);
});

Deno.test("thousands of clients live beside each other, whichever of them goes first", () => {
  const flat = new DataView(new ArrayBuffer(SOCKADDR_SLOT_BYTES));
  const wanted = Array.from({ length: 4_000 }, (_, i) => i);
  const table = new ClientTable<UdpClient>(0);
  const clients = wanted.map((i) => {
    flat.setUint16(0, AF_INET, true);
    flat.setUint16(2, i);
    flat.setUint32(4, Math.imul(i, 2_654_435_761) >>> 0);
    return { address: copyAddress(flat, 0), nextClient: null };
  });
  for (const client of clients) table.add(client);
  for (const client of clients.filter((_, i) => i % 3 !== 0)) table.remove(client);
  clients.forEach((client, i) => assertEquals(table.find(client.address, 0) === client, i % 3 === 0));
  for (const client of clients) table.remove(client);
  assertEquals([table.size, table.find(clients[0]?.address ?? flat, 0)], [0, null]);
});
