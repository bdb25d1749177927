/**
 * `postern token ...`: keys for registration tokens, tokens, and what stands in one. A token is an issuer's word about the holder
 * of a key (WIRE 8): the server knows the issuer's public key only.
 */
import { Buffer } from "node:buffer";
import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import type { Command } from "commander";
import { messageOf, parseDuration, parseServiceId, PosternError, usageError } from "../base/mod.ts";
import { decodeToken, encodeTokenClaims, tokenSignatureInput } from "../core/wire/mod.ts";
import type { CliContext } from "./context.ts";
import { decodeTokenText } from "../config/mod.ts";
import type { Platform } from "./platform.ts";
import { formatExamples } from "./role_command.ts";

const DEFAULT_LIFETIME = "24h";
const SECOND_MS = 1_000;

/** Adds `token` and its commands. */
export function addTokenCommands(program: Command, { platform }: CliContext): void {
  const token = program.command("token").summary("Make keys and registration tokens for clients without a certificate").description(
    "Registration tokens: what an issuer says about the holder of a key, for a server with --token-public-key.",
  ).addHelpText(
    "after",
    formatExamples([
      ["postern token keys issuer", "issuer-key.pem stays with you, issuer-pub.pem is for the server"],
      ["postern token keys laptop", "a key pair for the holder"],
      [
        "postern token issue --issuer-key issuer-key.pem --holder laptop-pub.pem --role agent --service web > laptop.token",
        "the token",
      ],
    ]),
  );
  token.command("keys").summary("Make an Ed25519 key pair").description(
    "Makes NAME-key.pem (mode 0600) and NAME-pub.pem. Files that are there already are left alone.",
  )
    .argument("<NAME>", "where the files go, and how their names begin")
    .action(async (name: string) => await makeKeys(name, platform));
  token.command("issue").summary("Print a token").description("Signs a token and prints it as one line of text.")
    .requiredOption("--issuer-key <FILE>", "the issuer's private key (PEM)")
    .requiredOption("--holder <FILE>", "the public key (PEM) of the client that may use it")
    .requiredOption("--role <ROLE>", "agent or connector")
    .requiredOption("--service <ID>", "a service that it is for, '*' for all (repeatable)", collect)
    .option("--expires-in <DURATION>", "how long it is good", DEFAULT_LIFETIME)
    .option("--allow-legacy-service-ids", "also take service ids with upper case and other characters", false)
    .action(async (options: IssueOptions) => platform.writeOut(await issue(options, platform) + "\n"));
  token.command("inspect").summary("Show what stands in a token").description(
    "Prints a token's claims as JSON. Whether it is signed by anybody in particular is not looked at.",
  )
    .argument("<FILE>", "the file with the token")
    .action(async (path: string) => platform.writeOut(await inspect(path, platform)));
}

interface IssueOptions {
  readonly issuerKey: string;
  readonly holder: string;
  readonly role: string;
  readonly service: readonly string[];
  readonly expiresIn: string;
  readonly allowLegacyServiceIds: boolean;
}

function collect(text: string, before: readonly string[] | undefined): string[] {
  return [...before ?? [], text];
}

async function makeKeys(name: string, platform: Platform): Promise<void> {
  const { publicKey, privateKey } = generateKeyPairSync("ed25519");
  const files: [string, string][] = [
    [`${name}-key.pem`, privateKey.export({ type: "pkcs8", format: "pem" }) as string],
    [`${name}-pub.pem`, publicKey.export({ type: "spki", format: "pem" }) as string],
  ];
  for (const [path, pem] of files) {
    try {
      await platform.createPrivateFile(path, new TextEncoder().encode(pem));
    } catch (cause) {
      const isThere = cause instanceof Deno.errors.AlreadyExists;
      throw new PosternError(isThere ? `${path} is there already` : `Cannot write ${path}: ${messageOf(cause)}`, {
        code: isThere ? "file-exists" : "file-unwritable",
        hint: "choose another name or folder",
        cause,
      });
    }
  }
  platform.writeOut(files.map(([path]) => `${path}\n`).join(""));
}

async function issue(options: IssueOptions, platform: Platform): Promise<string> {
  const { role } = options;
  if (role !== "agent" && role !== "connector") throw usageError(`--role ${JSON.stringify(role)}: must be agent or connector`);
  const lifetime = parseDuration(options.expiresIn);
  if (!lifetime.ok || lifetime.value < SECOND_MS) {
    throw usageError(`--expires-in ${JSON.stringify(options.expiresIn)}: must be a duration such as 24h`);
  }
  const services = [...new Set(options.service)];
  for (const service of services) {
    const id = service === "*" ? { ok: true } as const : parseServiceId(service, { legacy: options.allowLegacyServiceIds });
    if (!id.ok) throw usageError(`--service ${JSON.stringify(service)}: ${id.why}`);
  }
  if (services.includes("*") && services.length > 1) throw usageError("--service '*' means all: name no other beside it");
  const issuer = await readKey(options.issuerKey, platform, createPrivateKey);
  const holder = await readKey(options.holder, platform, createPublicKey);
  const claims = encodeTokenClaims({
    role,
    services,
    expiresSeconds: Math.floor((platform.nowMs() + lifetime.value) / SECOND_MS),
    holder: createHash("sha256").update(holder.export({ type: "spki", format: "der" })).digest("hex"),
  });
  if (claims === null) throw usageError("so many services do not fit in a token", "issue several tokens, or one for '*'");
  return Buffer.concat([claims, sign(null, tokenSignatureInput(claims), issuer)]).toString("base64url");
}

async function inspect(path: string, platform: Platform): Promise<string> {
  const text = new TextDecoder().decode(await readFile(path, platform)).trim();
  const bytes = decodeTokenText(text);
  const token = bytes === null ? null : decodeToken(bytes, 0, bytes.length, { legacy: true });
  if (token === null || token.kind === "malformed") {
    const why = token === null ? "it must be the one line that `postern token issue` prints" : token.why;
    throw new PosternError(`${path} holds no registration token (${why})`, { code: "token" });
  }
  const { role, services, expiresSeconds, holder } = token;
  const expires = new Date(expiresSeconds * SECOND_MS).toISOString();
  const isExpired = platform.nowMs() >= expiresSeconds * SECOND_MS;
  return JSON.stringify({ role, services, expires, is_expired: isExpired, holder }, null, 2) + "\n";
}

async function readKey(path: string, platform: Platform, parse: (pem: string) => KeyObject): Promise<KeyObject> {
  const pem = new TextDecoder().decode(await readFile(path, platform));
  let key: KeyObject;
  try {
    key = parse(pem);
  } catch (cause) {
    throw new PosternError(`Key cannot be parsed: ${path}: ${messageOf(cause)}`, { code: "material", cause });
  }
  if (key.asymmetricKeyType === "ed25519") return key;
  throw new PosternError(`Key ${path} is no Ed25519 key`, { code: "material", hint: "`postern token keys` makes one" });
}

async function readFile(path: string, platform: Platform): Promise<Uint8Array> {
  try {
    return await platform.readFile(path);
  } catch (cause) {
    const isMissing = cause instanceof Deno.errors.NotFound;
    throw new PosternError(isMissing ? `File not found: ${path}` : `File cannot be read: ${path}: ${messageOf(cause)}`, {
      code: isMissing ? "file-missing" : "file-unreadable",
      cause,
    });
  }
}
