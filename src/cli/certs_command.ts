/** `postern certs ...`: makes a development set, looks into certificates, checks that they fit. The work is in `src/platform/certs`. */

import type { Command } from "commander";
import { messageOf, parseServiceId, PosternError, quoteForShell, usageError } from "../base/mod.ts";
import { parseServerName, publicKeyDigest } from "../config/mod.ts";
import type { AlternativeName, CreatedCertificate, Finding } from "../platform/certs/mod.ts";
import type { CliContext } from "./context.ts";
import type { Platform } from "./platform.ts";
import { paintFor } from "./report.ts";
import { formatExamples } from "./role_command.ts";
import { formatTable } from "./table.ts";

export const DEFAULT_PKI_DIRECTORY = "certs";
export const DEFAULT_PKI_SERVICE = "test-service";
export const DEFAULT_PKI_DAYS = 365;
const PKI_DAYS_MAX = 3650;

/** Adds `certs` and its commands. Their libraries are heavy and are loaded when one of them runs. */
export function addCertsCommands(program: Command, context: CliContext): void {
  const certs = program.command("certs").summary("Make, look into and check certificates").description(
    "Certificates: a development set, what stands in them, and whether they fit together.",
  ).addHelpText(
    "after",
    formatExamples([["postern certs init", "a set for trying things out"], [
      "postern certs inspect certs/server-cert.pem",
      "names, validity, key",
    ]]),
  );
  certs.command("init").alias("generate").summary("Make an authority and certificates for trying things out")
    .description(
      "Makes a development PKI: an authority, certificates for the server, for an agent and for a connector of one service, and a set for the metrics listener. Keys have mode 0600. Not for production: the authority's key lies beside the rest.",
    )
    .argument("[dir]", "where the files go", DEFAULT_PKI_DIRECTORY)
    .option("--service <NAME>", "the service that agent and connector may use", DEFAULT_PKI_SERVICE)
    .option("--name <NAME>", "a further DNS name or IP address of the server (repeatable)", collect)
    .option("--days <N>", "how long the certificates are valid", String(DEFAULT_PKI_DAYS))
    .option("--force", "replace files that are there already", false)
    .addHelpText(
      "after",
      formatExamples([
        ["postern certs init", `a set in ${DEFAULT_PKI_DIRECTORY}/ for the service ${DEFAULT_PKI_SERVICE}`],
        ["postern certs init pki --service web --name gw.example.com --name 203.0.113.5", "for a real name and address"],
      ]),
    )
    .action(async (directory: string, options: InitOptions) => await init(directory, options, context.platform));
  certs.command("inspect").summary("Show what stands in certificates").description(
    "Shows subject, names, validity, key and fingerprints of every certificate in a PEM file.",
  )
    .argument("<pem>", "a PEM file")
    .option("--json", "print JSON", false)
    .addHelpText(
      "after",
      formatExamples([["postern certs inspect certs/server-cert.pem", "for a person"], [
        "postern certs inspect --json chain.pem",
        "for a script",
      ]]),
    )
    .action(async (path: string, options: { readonly json: boolean }) => await inspect(path, options.json, context.platform));
  certs.command("check").summary("Check that certificate, key and authority fit and hold today").description(
    "Checks that the key belongs to the certificate, that it is valid today, and that it leads to the authority. The exit code is 1 when anything does not hold.",
  )
    .requiredOption("--cert <FILE>", "the certificate, with its chain (PEM)")
    .requiredOption("--key <FILE>", "its private key (PEM)")
    .option("--ca <FILE>", "the authorities that it must lead to (PEM)")
    .addHelpText(
      "after",
      formatExamples([["postern certs check --cert server-cert.pem --key server-key.pem --ca ca-cert.pem", "before a start"]]),
    )
    .action(async (options: CheckOptions) => {
      context.exitCode = await check(options, context.platform);
    });
}

interface InitOptions {
  readonly service: string;
  readonly name?: readonly string[];
  readonly days: string;
  readonly force: boolean;
}

interface CheckOptions {
  readonly cert: string;
  readonly key: string;
  readonly ca?: string;
}

function collect(text: string, before: readonly string[] | undefined): string[] {
  return [...before ?? [], text];
}

async function init(directory: string, options: InitOptions, platform: Platform): Promise<void> {
  const service = parseServiceId(options.service);
  if (!service.ok) throw usageError(`--service ${JSON.stringify(options.service)}: ${service.why}`);
  const days = /^[0-9]{1,4}$/.test(options.days) ? Number(options.days) : 0;
  if (days < 1 || days > PKI_DAYS_MAX) throw usageError(`--days ${JSON.stringify(options.days)}: must be 1 to ${PKI_DAYS_MAX}`);
  if (directory === "") throw usageError("the directory must not be empty");
  const serverNames = (options.name ?? []).map(parseAlternativeName);
  const { createDevelopmentPki } = await import("../platform/certs/mod.ts");
  const created = await createDevelopmentPki({
    directory,
    service: service.value,
    serverNames,
    days,
    force: options.force,
    nowMs: platform.nowMs(),
  });
  platform.writeOut(formatCreated(created, platform) + nextCommands(directory, service.value, platform));
}

function parseAlternativeName(text: string): AlternativeName {
  const wildcard = text.startsWith("*.") ? "*." : "";
  const name = parseServerName(text.slice(wildcard.length));
  if (name === null || wildcard !== "" && name.kind === "ip") {
    throw usageError(`--name ${JSON.stringify(text)}: must be a DNS name or an IP address`);
  }
  return { type: name.kind, value: wildcard + name.value };
}

function formatCreated(created: readonly CreatedCertificate[], platform: Platform): string {
  const rows = created.map((row) => [row.certPath, row.keyPath, row.purpose, row.commonName, row.names.join(" ") || "-"]);
  return formatTable(["certificate", "private key", "purpose", "common name", "names"], rows, paintFor(platform, "stdout"));
}

function nextCommands(directory: string, service: string, platform: Platform): string {
  const { bold } = paintFor(platform, "stdout");
  const at = (name: string) => shellWord(directory.endsWith("/") ? directory + name : `${directory}/${name}`);
  const trust = `--ca-cert ${at("ca-cert.pem")}`;
  return [
    "",
    bold("Next, each in its own terminal:"),
    `  postern server --cert ${at("server-cert.pem")} --key ${at("server-key.pem")} ${trust}`,
    `  postern connector --service ${service} --forward 127.0.0.1:8080 --client-cert ${at("connector-cert.pem")} --client-key ${
      at("connector-key.pem")
    } ${trust}`,
    `  postern agent --forward 127.0.0.1:9000=${service} --client-cert ${at("agent-cert.pem")} --client-key ${
      at("agent-key.pem")
    } ${trust}`,
    "",
  ].join("\n");
}

async function inspect(path: string, asJson: boolean, platform: Platform): Promise<void> {
  const pem = await readPem(path, "Certificate file", platform);
  const { formatReport, inspectCertificates } = await import("../platform/certs/mod.ts");
  const reports = await inspectCertificates(path, pem, platform.nowMs());
  platform.writeOut(asJson ? JSON.stringify(reports, null, 2) + "\n" : reports.map(formatReport).join("\n\n") + "\n");
}

async function check(options: CheckOptions, platform: Platform): Promise<number> {
  const load = async (path: string, what: string) => ({ path, bytes: await readPem(path, what, platform) });
  const cert = await load(options.cert, "Certificate file");
  const key = await load(options.key, "Private key file");
  const ca = options.ca === undefined ? {} : { ca: await load(options.ca, "CA certificate file") };
  const { checkCertificate } = await import("../platform/certs/mod.ts");
  const findings = await checkCertificate({ cert, key, ...ca, nowMs: platform.nowMs(), keyDigest: publicKeyDigest });
  platform.writeOut(findings.map((finding) => formatFinding(finding, platform)).join(""));
  return findings.every((finding) => finding.isOk) ? 0 : 1;
}

function formatFinding({ isOk, check, detail }: Finding, platform: Platform): string {
  const { red, green } = paintFor(platform, "stdout");
  return `${isOk ? green("ok  ") : red("FAIL")} ${check}: ${detail}\n`;
}

async function readPem(path: string, what: string, platform: Platform): Promise<Uint8Array> {
  try {
    return await platform.readFile(path);
  } catch (cause) {
    const isMissing = cause instanceof Deno.errors.NotFound || cause instanceof Deno.errors.NotADirectory;
    throw new PosternError(isMissing ? `${what} not found: ${path}` : `${what} cannot be read: ${path}: ${messageOf(cause)}`, {
      code: isMissing ? "file-missing" : "file-unreadable",
      hint: "check the path and who may read it",
      cause,
    });
  }
}

/** Quoted only where it must be, so that it reads well. */
function shellWord(text: string): string {
  return /^[A-Za-z0-9_.\/-]+$/.test(text) ? text : quoteForShell(text);
}
