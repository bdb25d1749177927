/** What status pages say of the sockets that connections go by. */
import type { SocketStatus } from "../../base/mod.ts";
import { formatEndpoint, type UdpSocket } from "../../io/mod.ts";

export function socketReports(sockets: Iterable<UdpSocket>): SocketStatus[] {
  return Array.from(sockets, (socket) => ({
    address: formatEndpoint(socket.bound),
    bufferWantedBytes: socket.wantedBufferBytes,
    // The kernel reports twice what it grants, for its own bookkeeping (socket(7)).
    receiveBufferBytes: socket.grantedReceiveBytes / 2,
    sendBufferBytes: socket.grantedSendBytes / 2,
    sendsTrains: !socket.gsoOff,
    receivesTrains: socket.takesTrains,
  }));
}
