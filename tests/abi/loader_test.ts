import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { LIBRARY_SHA256, loadNative, loadNativeFrom } from "../../ffi/load.ts";
import { PosternError } from "../../src/base/mod.ts";

const LIBRARY = new URL("../../lib/linux-x64/libpostern_native.so", import.meta.url);
// Opened here and never closed: a test that opened it would count as leaking it.
const loaded = loadNative();
const libc = Deno.dlopen("libc.so.6", {
  pread: { parameters: ["i32", "buffer", "usize", "i64"], result: "isize" },
  pwrite: { parameters: ["i32", "buffer", "usize", "i64"], result: "isize" },
  ftruncate: { parameters: ["i32", "i64"], result: "i32" },
  fcntl: { parameters: ["i32", "i32", "i32"], result: "i32" },
});

Deno.test("the library that belongs to this source tree loads, once", () => {
  assertEquals(loaded.sha256, LIBRARY_SHA256);
  assert(loadNative() === loaded);
  assert(loaded.path.startsWith("/proc/self/fd/"));
});

Deno.test("the memory file cannot be written, shortened, lengthened or unsealed", () => {
  const fd = Number(loaded.path.split("/").at(-1));
  const { pread, pwrite, ftruncate, fcntl } = libc.symbols;
  const size = Deno.statSync(LIBRARY).size;
  const bytes = new Uint8Array(size);
  assertEquals(pread(fd, bytes, BigInt(size), 0n), BigInt(size));
  assertEquals(bytes, Deno.readFileSync(LIBRARY));
  assertEquals(pwrite(fd, bytes, 1n, 0n), -1n);
  assertEquals(ftruncate(fd, 10n), -1);
  assertEquals(ftruncate(fd, BigInt(size + 1)), -1);
  const F_ADD_SEALS = 1033, F_GET_SEALS = 1034, ALL_SEALS = 0xf;
  assertEquals(fcntl(fd, F_GET_SEALS, 0), ALL_SEALS);
  assertEquals(fcntl(fd, F_ADD_SEALS, 0x10), -1);
});

Deno.test("a library with one flipped bit is refused, wherever the bit is", () => {
  const bytes = Deno.readFileSync(LIBRARY);
  const folder = Deno.makeTempDirSync();
  const file = `${folder}/flipped.so`;
  for (const at of [0, 4096, bytes.length >> 1, bytes.length - 1]) {
    const flipped = bytes.slice();
    flipped[at] = (flipped[at] ?? 0) ^ 1;
    Deno.writeFileSync(file, flipped);
    const error = assertThrows(() => loadNativeFrom(new URL(`file://${file}`), LIBRARY_SHA256), PosternError);
    assertEquals([error.code, error.exitCode], ["native-digest", 1]);
    assertStringIncludes(error.hint ?? "", "make native");
  }
  Deno.writeFileSync(file, bytes.slice(0, -1));
  assertThrows(() => loadNativeFrom(new URL(`file://${file}`), LIBRARY_SHA256), PosternError, "SHA-256");
  Deno.removeSync(folder, { recursive: true });
});

Deno.test("a missing library is named with what to do", () => {
  const error = assertThrows(() => loadNativeFrom(new URL("file:///nonexistent/x.so"), LIBRARY_SHA256), PosternError);
  assertEquals(error.code, "native-missing");
  assertStringIncludes(error.hint ?? "", "make native");
});

Deno.test("a worker opens the library by the path that the main isolate got", async () => {
  const source = `
    const { path } = await new Promise((resolve) => self.onmessage = (event) => resolve(event.data));
    const { symbols } = Deno.dlopen(path, { postern_abi_version: { parameters: [], result: "u32" } });
    self.postMessage(symbols.postern_abi_version());
  `;
  const worker = new Worker(`data:application/javascript,${encodeURIComponent(source)}`, { type: "module" });
  const answer = new Promise((resolve) => worker.onmessage = (event) => resolve(event.data));
  worker.postMessage({ path: loaded.path });
  assertEquals(await answer, 1);
  worker.terminate();
});

Deno.test("loading costs a fresh process less than a tenth of a second of processor time", async () => {
  const source = `
    import { cpuUsage } from "node:process";
    const { loadNative } = await import(${JSON.stringify(new URL("../../ffi/load.ts", import.meta.url).href)});
    const before = cpuUsage();
    loadNative();
    const { user, system } = cpuUsage(before);
    console.log((user + system) / 1000);
  `;
  const milliseconds: number[] = [];
  for (let run = 0; run < 3; run++) {
    const { stdout } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-check", `data:application/typescript,${encodeURIComponent(source)}`],
      env: { NO_COLOR: "1" },
    }).output();
    milliseconds.push(Number(new TextDecoder().decode(stdout)));
  }
  // About 15 ms; processor time, unlike elapsed time, does not grow with what else the machine does.
  const best = Math.min(...milliseconds);
  assert(best > 1 && best < 100, milliseconds.join(" "));
});
