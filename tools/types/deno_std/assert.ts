/**
 * `@std/assert` for the tests: the assertions of Deno's standard library as the npm package deno-std carries them, with types.
 * That package holds JavaScript only, so the declarations lie beside this file. Where JSR is at hand the import map may name
 * `jsr:@std/assert@1` instead; the names and their meaning are the same.
 */
// @ts-types="./assert.d.ts"
export * from "npm:deno-std@1.4.0/assert/mod.js";
