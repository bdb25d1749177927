/** `postern health tls --connect HOST:PORT`: what a TLS server negotiates and shows. Exit code 1 when the handshake fails. */
import { messageOf, parseHostPort, PosternError, usageError } from "../../base/mod.ts";
import { type CertificateSummary, runtimeStream, StreamClosed, TlsStream } from "../../io/http/mod.ts";
import { escapeText } from "../log/mod.ts";
import { type CommandInput, type CommandPlatform, textOption } from "./command.ts";

const TIMEOUT_MS = 10_000;
/** How long a server may take to refuse us after its side of the handshake is done (RFC 8446 §4.4.2.4). */
const REFUSAL_MS = 300;
const DAY_MS = 86_400_000;

export async function checkTls(input: CommandInput, platform: CommandPlatform): Promise<number> {
  const text = textOption(input, "connect");
  if (text === undefined) throw usageError("health tls needs --connect HOST:PORT");
  const target = parseHostPort(text);
  if (!target.ok) throw usageError(`--connect ${JSON.stringify(text)}: ${target.why}`);
  const { host, port } = target.value;
  using context = await contextOf(input, platform);
  const isVerified = textOption(input, "caCert") !== undefined;
  const connection = await connect(host, port);
  const end = context.createEnd(isVerified ? textOption(input, "serverName") ?? host : null);
  const stream = new TlsStream(runtimeStream(connection), end);
  const timer = setTimeout(() => stream.close(), TIMEOUT_MS);
  try {
    await stream.handshake();
    const { version, cipher, group, protocol } = end.description();
    // Without an authority nothing is verified; what the server showed is shown all the same.
    const certificate = end.peerCertificate() ?? end.verifyError()?.offered ?? null;
    const refused = await refusal(stream);
    const report = { host, port, version, cipher, group, protocol, verified: isVerified, refused, ...describe(certificate) };
    if (input.options["json"] === true) platform.writeOut(JSON.stringify(report) + "\n");
    else for (const [name, value] of Object.entries(report)) platform.writeOut(`${name.padEnd(12)} ${escapeText(String(value))}\n`);
    return refused === "" ? 0 : 1;
  } catch (error) {
    if (!(error instanceof StreamClosed)) throw error;
    const why = stream.isClosed ? "no answer in time" : end.verifyError()?.reason ?? (end.failure() || error.message);
    throw new PosternError(`TLS with ${text} failed: ${why}`, {
      code: "tls",
      hint: "openssl s_client shows the server's side",
      cause: error,
    });
  } finally {
    clearTimeout(timer);
    stream.close();
  }
}

/** Why the server turned us away right after the handshake; "" when it did not. */
async function refusal(stream: TlsStream): Promise<string> {
  let timer: number | undefined;
  const patience = new Promise<string>((resolve) => timer = setTimeout(() => resolve(""), REFUSAL_MS));
  const answer = stream.read(new Uint8Array(1)).then(() => "", (error) => stream.isClosed ? "" : messageOf(error));
  try {
    return await Promise.race([answer, patience]);
  } finally {
    clearTimeout(timer);
  }
}

async function contextOf(input: CommandInput, platform: CommandPlatform) {
  const [ca, cert, key] = ["caCert", "clientCert", "clientKey"].map((name) => textOption(input, name));
  if ((cert === undefined) !== (key === undefined)) throw usageError("--client-cert and --client-key belong together");
  const trustPem = ca === undefined ? null : await platform.readFile(ca);
  const identity = cert === undefined || key === undefined ? null : {
    certificateChainPem: await platform.readFile(cert),
    privateKeyPem: await platform.readFile(key),
  };
  return platform.createTlsContext({
    side: "client",
    identity,
    verify: trustPem === null ? { kind: "off" } : { kind: "require", trustPem, crlPem: null },
    toleratesStaleCrl: false,
    protocols: [],
  });
}

async function connect(hostname: string, port: number): Promise<Deno.TcpConn> {
  try {
    return await Deno.connect({ hostname, port });
  } catch (cause) {
    throw new PosternError(`cannot connect to ${hostname}, port ${port}: ${messageOf(cause)}`, {
      code: "connect",
      hint: "is it listening?",
      cause,
    });
  }
}

function describe(certificate: CertificateSummary | null): Record<string, string | number> {
  if (certificate === null) return {};
  const { subject, issuer, serial, fingerprint, dnsNames, ipAddresses, uris, notAfterMs } = certificate;
  return {
    subject,
    issuer,
    names: [...dnsNames, ...ipAddresses, ...uris].join(" "),
    serial,
    fingerprint,
    not_after: new Date(notAfterMs).toISOString(),
    days_left: Math.floor((notAfterMs - Date.now()) / DAY_MS),
  };
}
