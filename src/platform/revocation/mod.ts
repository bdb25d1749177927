/**
 * What revocation lists say, for those who are connected already: handshakes are judged by the native library itself. PEM text
 * in; issuers, times and serial numbers out (`crl.ts`), the issuers as that library writes names (`name_text.ts`).
 */
export { readRevocationLists, type RevocationList } from "./crl.ts";
