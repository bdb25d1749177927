/**
 * Who may send next. {@linkcode FairQueues} keeps what waits for a busy connection, by who sent it, and hands it out by deficit round
 * robin: each sender has its share of the bytes, whatever the others send.
 */
export * from "./fair_queue.ts";
export * from "./packet_store.ts";
