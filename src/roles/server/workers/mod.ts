/**
 * A server on several cores: connections are spread over workers, and worker 0 decides about all of them.
 *
 *   peer ⇄ `carrier` (another worker) ⇄ `link`: two rings ⇄ `remote_connections`, `remote_engine` (worker 0) ⇄ datapath.ts
 */
export { CarrierPlane } from "./carrier.ts";
export { type OwnEndpoint, RemoteConnections } from "./remote_connections.ts";
export { RemoteEngine } from "./remote_engine.ts";
