/**
 * Who a peer is and what it may do. A verified certificate becomes an {@linkcode Identity} once, when the connection is
 * established; every registration and stream asks {@linkcode authorize}; a reload asks {@linkcode DenyList} again for all
 * live peers. Nothing here verifies a signature: what was not verified never becomes an identity.
 */
export * from "./identity.ts";
export * from "./decision.ts";
export * from "./deny_list.ts";
