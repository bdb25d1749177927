/**
 * Makes the image of this checkout: `deno run -A tools/image.ts [FLAGS]`, after `make build`. What is in it and how it is made says
 * deploy/container/image.sh, which gets the flags, and the time of the commit for the image's files.
 */
import { join, resolve } from "node:path";
import { sourceDate } from "./build_record.ts";

const ROOT = resolve(import.meta.dirname ?? ".", "..");
const script = join(ROOT, "deploy", "container", "image.sh");
const env = { SOURCE_DATE_EPOCH: String(await sourceDate(ROOT)) };
const { code } = await new Deno.Command("bash", { args: [script, ...Deno.args], env, stdin: "null" }).spawn().status;
Deno.exit(code);
