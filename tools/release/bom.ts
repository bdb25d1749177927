/** Parts → a software bill of materials in CycloneDX 1.6 (JSON), the same text for the same parts and date. */
import { Enums, Models, Serialize, Spec } from "@cyclonedx/cyclonedx-library";
import type { Part } from "./parts.ts";

/** The program that the bill is for. */
export type Product = { readonly name: string; readonly version: string; readonly commit: string; readonly nativeSha256: string };

/** The bill's text. A part that only builds or tests has the scope "excluded". `seconds` since the epoch. */
export function formatBom(product: Product, parts: readonly Part[], seconds: number): string {
  const bom = new Models.Bom();
  const root = new Models.Component(Enums.ComponentType.Application, product.name, {
    version: product.version,
    bomRef: product.name,
    properties: new Models.PropertyRepository([
      new Models.Property("postern:commit", product.commit),
      new Models.Property("postern:native-library:sha256", product.nativeSha256),
    ]),
  });
  root.licenses.add(new Models.LicenseExpression("Apache-2.0"));
  bom.metadata.component = root;
  bom.metadata.timestamp = new Date(seconds * 1000);
  for (const part of parts) {
    const component = componentOf(part);
    bom.components.add(component);
    if (part.isBundled) root.dependencies.add(component.bomRef);
  }
  const writer = new Serialize.JsonSerializer(new Serialize.JSON.Normalize.Factory(Spec.Spec1dot6));
  return writer.serialize(bom, { sortLists: true, space: 1 }) + "\n";
}

function componentOf(part: Part): Models.Component {
  const component = new Models.Component(Enums.ComponentType.Library, part.name, {
    version: part.version,
    bomRef: part.purl === "" ? part.name : part.purl,
    scope: part.isBundled ? Enums.ComponentScope.Required : Enums.ComponentScope.Excluded,
    ...(part.purl === "" ? {} : { purl: part.purl }),
  });
  if (part.license !== "") component.licenses.add(new Models.LicenseExpression(part.license));
  if (part.hash !== null) component.hashes.set(Enums.HashAlgorithm[part.hash.algorithm], part.hash.hex);
  return component;
}
