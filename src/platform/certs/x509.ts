/** The X.509 library, with what must be loaded before it. Heavy (150 ms): reach this folder by dynamic import only. */

import "reflect-metadata";
export * from "@peculiar/x509";
import { cryptoProvider } from "@peculiar/x509";

cryptoProvider.set(crypto);
