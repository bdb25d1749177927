/** Reads the function declarations of our C header: one line each, `type name(parameters);`. */

export interface Declaration {
  readonly name: string;
  readonly result: string;
  readonly parameters: readonly { readonly type: string; readonly name: string }[];
}

/** C types without names, `const` and `struct`, pointers as `T*`. */
export function readDeclarations(header: string): Map<string, Declaration> {
  const code = header.replace(/\/\*[\s\S]*?\*\//g, "");
  const declarations = new Map<string, Declaration>();
  for (const match of code.matchAll(/^((?:const |enum )?\w+ \*?)((?:quiche|postern)_\w+)\(([^)]*)\);$/gm)) {
    const [, result = "", name = "", parameters = ""] = match;
    declarations.set(name, {
      name,
      result: normalize(result),
      parameters: parameters === "void" ? [] : parameters.split(", ").map(parameter),
    });
  }
  return declarations;
}

function parameter(text: string): { readonly type: string; readonly name: string } {
  const name = /\w+$/.exec(text)?.[0] ?? "";
  return { type: normalize(text.slice(0, text.length - name.length)), name };
}

function normalize(type: string): string {
  return type.replace(/\b(const|struct)\b/g, "").replace(/\s+/g, " ").replace(/ ?\* ?/g, "*").trim();
}

/** FFI types that carry a C type, the cheapest first; ssize_t and uint64_t also as i32 where the value always fits. */
export function carriers(type: string, isResult: boolean): readonly string[] {
  if (type.endsWith("*")) return ["usize", "buffer", "pointer"];
  if (type.startsWith("enum ")) return ["i32"];
  const exact: Record<string, readonly string[]> = {
    void: ["void"],
    bool: ["bool"],
    double: ["f64"],
    int: ["i32"],
    int32_t: ["i32"],
    int64_t: ["i64"],
    uint8_t: ["u8"],
    uint32_t: ["u32"],
    socklen_t: ["u32"],
    size_t: isResult ? ["usize", "i32"] : ["usize"],
    uint64_t: isResult ? ["u64", "i32"] : ["u64"],
    ssize_t: isResult ? ["isize", "i32"] : ["isize"],
  };
  return exact[type] ?? [];
}
