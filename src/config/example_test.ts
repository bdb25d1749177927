/** The annotated examples and the schemas: they must hold for the very tables that they come from. */

import { assert, assertEquals } from "@std/assert";
import {
  AGENT,
  CONNECTOR,
  exampleYaml,
  jsonSchema,
  parseConfigFile,
  resolveSettings,
  type RoleDefinition,
  SERVER,
  type SettingTable,
} from "./mod.ts";

const DEFINITIONS = [SERVER, CONNECTOR, AGENT] as unknown as readonly RoleDefinition<SettingTable, unknown>[];

for (const definition of DEFINITIONS) {
  Deno.test(`the example for ${definition.role} is accepted, and names every setting with flag and variable`, async () => {
    const yaml = exampleYaml(definition);
    const file = await parseConfigFile("e.yaml", new TextEncoder().encode(yaml));
    const inputs = { flags: new Map(), positional: [], environment: {}, file, otherVariables: new Set<string>() };
    resolveSettings(definition, inputs).finish();
    for (const [key, setting] of Object.entries(definition.settings)) {
      assert(new RegExp(`^#?${key}: `, "m").test(yaml), key);
      assertEquals(yaml.includes(`variable POSTERN_${key.toUpperCase()}.`), !setting.isFileOnly, key);
    }
  });

  Deno.test(`every line of the example for ${definition.role} holds when its # is taken away`, async () => {
    for (const [key, setting] of Object.entries(definition.settings)) {
      const line = new RegExp(`^#?(${key}: .*)$`, "m").exec(exampleYaml(definition))?.[1] ?? "";
      const { value } = await parseConfigFile("e.yaml", new TextEncoder().encode(line));
      if (value[key] !== null) assert(setting.schema.safeParse(value[key]).success, line);
    }
  });

  Deno.test(`the JSON Schema for ${definition.role} knows every key and alias and nothing else`, () => {
    const schema = jsonSchema(definition);
    const properties = schema["properties"] as Record<string, Record<string, unknown>>;
    const names = Object.entries(definition.settings).flatMap(([key, setting]) => [key, ...setting.aliases]).concat("security");
    assertEquals(Object.keys(properties).sort(), [...names].sort());
    assertEquals(schema["additionalProperties"], false);
    for (const name of names) assertEquals(typeof properties[name]?.["description"], "string", name);
    assertEquals(JSON.parse(JSON.stringify(schema)), schema);
  });
}
