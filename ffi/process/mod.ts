/** The C library's functions about processes, bound to the interfaces of `src/io/native_process.ts`. */
export { createHardeningNative, createProcessNative } from "./process.ts";
