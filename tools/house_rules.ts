/**
 * The rules of this code base that need the syntax tree, as a plugin of `deno lint` (see deno.json): an editor shows them where they
 * are broken. Rules about files and imports are in architecture.ts. docs/ARCHITECTURE.md says why they are what they are.
 */
/// <reference lib="deno.unstable" />
import { relative, resolve } from "node:path";
import { isTestCode } from "./suites.ts";

const ROOT = resolve(import.meta.dirname ?? ".", "..");

/** Lines of a function outside of tests. */
const FUNCTION_LINES_MAX = 70;

/** Globals that reach the world, the time or chance. What decides gets these as arguments. */
const WORLDLY = new Set(
  ["Deno", "fetch", "console", "performance", "crypto", "process", "globalThis", "Worker", "WebSocket", "localStorage"].concat(
    ["setTimeout", "setInterval", "setImmediate", "clearTimeout", "clearInterval", "queueMicrotask", "postMessage", "Promise"],
  ),
);
const WORLDLY_MEMBERS = new Set(["Math.random", "Date.now"]);
const NATIVE_MEMBER = /^Deno\.(dlopen|Unsafe\w+)$/;

type Context = Deno.lint.RuleContext;
type Node = Deno.lint.Node;
type FunctionNode = Deno.lint.FunctionDeclaration | Deno.lint.FunctionExpression | Deno.lint.ArrowFunctionExpression;

const pathOf = (context: Context): string => relative(ROOT, resolve(ROOT, context.filename));

/** `a.b` for a member of a plain name, else nothing. */
function dotted({ object, property, computed }: Deno.lint.MemberExpression): string {
  return object.type === "Identifier" && property.type === "Identifier" && !computed ? `${object.name}.${property.name}` : "";
}

/** src/core decides: it neither waits nor asks. */
function sansIo(context: Context): Deno.lint.LintVisitor {
  const path = pathOf(context);
  if (!path.startsWith("src/core/") || isTestCode(path)) return {};
  const report = (node: Node, what: string): void =>
    context.report({
      node,
      message: `src/core uses no ${what}`,
      hint: "take the time, the randomness or the answer as an argument",
    });
  const use = (node: Node): void => {
    if (node.type === "Identifier" && WORLDLY.has(node.name)) report(node, node.name);
  };
  const promise = (node: FunctionNode): void => {
    if (node.async) report(node, "async function");
  };
  return {
    AwaitExpression: (node) => report(node, "await"),
    ForOfStatement: (node) => node.await && report(node, "await"),
    FunctionDeclaration: promise,
    FunctionExpression: promise,
    ArrowFunctionExpression: promise,
    CallExpression: (node) => use(node.callee),
    NewExpression(node) {
      use(node.callee);
      const isNow = node.callee.type === "Identifier" && node.callee.name === "Date" && node.arguments.length === 0;
      if (isNow) report(node, "new Date()");
    },
    MemberExpression(node) {
      use(node.object);
      if (WORLDLY_MEMBERS.has(dotted(node))) report(node, dotted(node));
    },
  };
}

/** Native code is called in ffi only, where each function has its row. */
function ffiOnly(context: Context): Deno.lint.LintVisitor {
  const path = pathOf(context);
  if (path.startsWith("ffi/") || isTestCode(path)) return {};
  return {
    MemberExpression(node) {
      const name = dotted(node);
      if (!NATIVE_MEMBER.test(name)) return;
      context.report({ node, message: `${name} is used in ffi only`, hint: "give ffi a function for it and take its interface" });
    },
  };
}

function functionLength(context: Context): Deno.lint.LintVisitor {
  if (isTestCode(pathOf(context))) return {};
  const measure = (node: FunctionNode): void => {
    const lines = context.sourceCode.getText(node).split("\n").length;
    if (lines <= FUNCTION_LINES_MAX) return;
    const message = `a function has at most ${FUNCTION_LINES_MAX} lines, this one has ${lines}`;
    context.report({ range: [node.range[0], Math.min(node.range[1], node.range[0] + 60)], message, hint: "name its parts" });
  };
  return { FunctionDeclaration: measure, FunctionExpression: measure, ArrowFunctionExpression: measure };
}

/** One way to say each thing: unions for enums, named exports, `#private`, and no inheritance but that of errors. */
function plainForms(context: Context): Deno.lint.LintVisitor {
  const heir = (node: Deno.lint.ClassDeclaration | Deno.lint.ClassExpression): void => {
    if (node.superClass === null || /Error$/.test(context.sourceCode.getText(node.superClass))) return;
    context.report({ node: node.superClass, message: "only errors are inherited from", hint: "hold the other object as a field" });
  };
  const keyword = (node: Deno.lint.PropertyDefinition | Deno.lint.MethodDefinition): void => {
    if (node.accessibility !== "private" && node.accessibility !== "protected") return;
    context.report({ node, message: "no private or protected keyword", hint: "use #name" });
  };
  return {
    TSEnumDeclaration: (node) => context.report({ node, message: "no enum", hint: "use a union of string literals" }),
    ExportDefaultDeclaration: (node) => context.report({ node, message: "no default export", hint: "export it by its name" }),
    ClassDeclaration: heir,
    ClassExpression: heir,
    PropertyDefinition: keyword,
    // A private constructor is the one thing that #name cannot say.
    MethodDefinition: (node) => node.kind !== "constructor" && keyword(node),
    TSParameterProperty: (node: Node) =>
      context.report({ node, message: "no parameter property", hint: "declare the field and assign it" }),
  };
}

/** What `deno lint` loads. */
const plugin: Deno.lint.Plugin = {
  name: "house",
  rules: {
    "sans-io": { create: sansIo },
    "ffi-only": { create: ffiOnly },
    "function-length": { create: functionLength },
    "plain-forms": { create: plainForms },
  },
};

// deno-lint-ignore house/plain-forms -- a plugin is loaded by its default export
export default plugin;
