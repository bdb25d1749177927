/** The runtime's own TCP connections in the form that everything here takes. */
import type { ByteStream } from "./stream.ts";

/** A connection of the runtime as a {@linkcode ByteStream}: for clients, which have no need of our sockets. */
export function runtimeStream(connection: Deno.TcpConn): ByteStream {
  let isClosed = false;
  return {
    read: async (into) => {
      try {
        return await connection.read(into) ?? 0;
      } catch (error) {
        // Reset: refused as well, only less politely.
        if (error instanceof Deno.errors.ConnectionReset) return 0;
        throw error;
      }
    },
    write: async (bytes) => {
      for (let at = 0; at < bytes.length;) at += await connection.write(bytes.subarray(at));
    },
    closeWrite: () => connection.closeWrite(),
    close: () => {
      if (!isClosed) connection.close();
      isClosed = true;
    },
    get isClosed() {
      return isClosed;
    },
  };
}
