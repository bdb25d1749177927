/** The status page: one screen that says what a role is doing and what is wrong, most important first. Pure. */
import type { CertificateJson, ConnectionJson, FlowJson, PeerJson, StatusJson } from "../admin/mod.ts";
import { escapeText } from "../log/mod.ts";
import { formatBytes, formatDuration, table } from "./layout.ts";

/** The whole page, each line ending in a line feed. */
export function statusPage(status: StatusJson): string {
  const { role, name, version, pid, phase } = status;
  const title = name === role ? role : `${role} ${escapeText(name)}`;
  let page = `${title} is ${phase}, up ${
    formatDuration(status.uptime)
  } (version ${version}, pid ${pid}, log ${status.log_level})\n`;
  for (const reason of status.reasons) page += `  ! ${escapeText(reason)}\n`;
  for (const { protocol, address } of status.listeners) page += `  listening   ${escapeText(protocol)} ${escapeText(address)}\n`;
  page += socketLines(status);
  for (const uplink of status.uplinks) page += `  uplink      ${uplinkLine(uplink)}\n`;
  page += section("Servers", serversTable(status));
  const { bytes_per_second, datagrams_per_second } = status.throughput;
  page += `  throughput  ${formatBytes(bytes_per_second)}/s, ${datagrams_per_second} datagrams/s, ${status.flows_total} flows\n`;
  page += section("Services", servicesTable(status));
  page += section(`Peers (${status.peers_total})`, peersTable(status.peers));
  page += section(`Scrapers (${status.connections.length})`, connectionsTable(status.connections));
  page += section("Limits in use", limitsTable(status));
  page += section("Dropped", table(["REASON", "COUNT"], dropRows(status)));
  page += section("Certificates", certificatesTable(status.certificates));
  return page;
}

/** What the kernel does for each UDP socket, and how its connections find out what a path takes. */
function socketLines({ sockets, congestion_control }: StatusJson): string {
  return sockets.map(({ address, buffer_wanted, receive_buffer, send_buffer, sends_trains, receives_trains }) => {
    const buffers = `${formatBytes(receive_buffer)} in, ${formatBytes(send_buffer)} out of ${formatBytes(buffer_wanted)}`;
    const offloads = `GSO ${sends_trains ? "on" : "off"}, GRO ${receives_trains ? "on" : "off"}`;
    return `  socket      ${address}, buffers ${buffers}, ${offloads}, ${congestion_control}\n`;
  }).join("");
}

export function peersTable(peers: readonly PeerJson[]): string {
  const rows = peers.map((peer) => [
    peer.id,
    peer.role,
    peer.common_name === "" ? "-" : peer.common_name,
    peer.services.join(" ") || "-",
    peer.remote_addr,
    `${peer.protocol} ${peer.group}`.trim(),
    formatDuration(peer.duration),
    formatBytes(peer.bytes_received),
    formatBytes(peer.bytes_sent),
    peer.rtt_ms === null ? "-" : `${peer.rtt_ms.toFixed(1)} ms`,
  ]);
  return table(["ID", "ROLE", "NAME", "SERVICES", "FROM", "PROTOCOL", "FOR", "RECEIVED", "SENT", "RTT"], rows);
}

function connectionsTable(connections: readonly ConnectionJson[]): string {
  const rows = connections.map((connection) => [
    connection.common_name === "" ? "-" : connection.common_name,
    connection.remote_addr,
    `${connection.tls_version} ${connection.cipher_suite}`,
    formatDuration(connection.duration),
    formatDuration(connection.idle_duration),
    formatBytes(connection.bytes_received),
    formatBytes(connection.bytes_sent),
    String(connection.requests),
  ]);
  return table(["NAME", "FROM", "PROTOCOL", "FOR", "IDLE", "RECEIVED", "SENT", "REQUESTS"], rows);
}

export function flowsTable(flows: readonly FlowJson[]): string {
  const who = (name: string, id: string) => name === "" ? "-" : id === "" ? name : `${name}#${id}`;
  const rows = flows.map((flow) => [
    flow.service,
    flow.protocol,
    flow.state,
    who(flow.agent, flow.agent_id),
    who(flow.connector, flow.connector_id),
    flow.source || "-",
    flow.destination || "-",
    formatDuration(flow.duration),
    formatBytes(flow.bytes_to_service),
    formatBytes(flow.bytes_from_service),
  ]);
  return table(["SERVICE", "PROTOCOL", "STATE", "AGENT", "CONNECTOR", "SOURCE", "DESTINATION", "FOR", "UP", "DOWN"], rows);
}

/** Where there is a choice. All uplinks share it. */
function serversTable({ uplinks: [first, ...others] }: StatusJson): string {
  if (first === undefined || first.servers.length < 2) return "";
  const rows = first.servers.map((server, at) => {
    const isUsed = [first, ...others].some(({ servers }) => servers[at]?.current === true);
    return [
      escapeText(server.server),
      server.health,
      isUsed ? "yes" : "-",
      String(server.failures),
      escapeText(server.last_error) || "-",
    ];
  });
  return table(["SERVER", "HEALTH", "USED", "FAILURES", "LAST ERROR"], rows);
}

/** Bounds of which a tenth or more is used. */
function limitsTable({ limits }: StatusJson): string {
  const near = limits.filter(({ used, max }) => used * 10 >= max);
  return table(["LIMIT", "USED", "OF"], near.map(({ name, used, max }) => [name, String(used), String(max)]));
}

function servicesTable({ services }: StatusJson): string {
  const hasRoutes = services.some(({ route }) => route !== undefined);
  const rows = services.map(({ id, state, why, connectors, agents, endpoint, route }) => [
    id,
    why === "" ? state : `${state} (${why})`,
    String(connectors),
    String(agents),
    endpoint || "-",
    ...(hasRoutes ? [route ?? "-"] : []),
  ]);
  return table(["SERVICE", "STATE", "CONNECTORS", "AGENTS", "ENDPOINT", ...(hasRoutes ? ["ROUTE"] : [])], rows);
}

function certificatesTable(certificates: readonly CertificateJson[]): string {
  const rows = certificates.map((certificate) => [
    certificate.role,
    certificate.subject,
    certificate.not_after ?? "-",
    daysText(certificate.days_left) + (certificate.revoked === true ? ", revoked" : ""),
  ]);
  return table(["PURPOSE", "SUBJECT", "ENDS", "LEFT"], rows);
}

function daysText(days: number): string {
  if (days < 0) return "ended";
  return `${days} ${days === 1 ? "day" : "days"}`;
}

function dropRows({ drops }: StatusJson): string[][] {
  return drops.filter(({ count }) => count > 0).map(({ reason, count }) => [reason, String(count)]);
}

function uplinkLine(uplink: StatusJson["uplinks"][number]): string {
  const server = escapeText(uplink.server);
  if (uplink.state === "connected") {
    return `${server} connected, ${uplink.protocol}${uplink.rtt_ms === null ? "" : `, ${uplink.rtt_ms.toFixed(1)} ms`}`;
  }
  return `${server} ${uplink.state}, attempt ${uplink.attempts}${
    uplink.last_error === "" ? "" : `: ${escapeText(uplink.last_error)}`
  }`;
}

function section(title: string, body: string): string {
  return body === "" ? "" : `${title}\n${body}`;
}
