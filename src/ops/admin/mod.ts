/**
 * The admin API: HTTP on a Unix socket for callers on this machine. The kernel says who calls (`access.ts`); reading needs no more,
 * steering needs a token that belongs to the calling process (`tokens.ts`). The routes stand in one table (`routes.ts`), from which
 * the OpenAPI document is made (`openapi.ts`); `schemas.ts` has the JSON that goes in and out.
 */
export { type AdminAccess, mayCall } from "./access.ts";
export { type AdminServer, startAdminServer } from "./server.ts";
export { type AnswerOptions, createAnswers } from "./answers.ts";
export { createAdminApi } from "./api.ts";
export { processStartTime, TokenStore } from "./tokens.ts";
export { type Route, ROUTES } from "./routes.ts";
export { openApiDocument } from "./openapi.ts";
export type { CertificateJson, ConnectionJson, FlowJson, PeerJson, StatusJson } from "./schemas.ts";
