//! Postern's native library: quiche's C interface, re-exported as it is, and what that interface lacks.
//!
//! PEM text and raw pointers come in from TypeScript; configurations, connections' TLS facts, certificate summaries and a
//! TLS 1.3 end without sockets go out. No decision about people or services is made here, and nothing here can panic: the
//! library is built with `panic = "abort"`.
//!
//! Conventions of every `postern_` function:
//! - Pointer and length come in pairs; a null pointer with length 0 is "nothing".
//! - A function that gives out bytes takes `(out, cap)` and returns the length of the whole answer as `i32`; the bytes are
//!   written only when they fit into `cap`. Call it with cap 0 to ask for the length.
//! - `-1` (or a null pointer) is failure; `postern_last_error` of the same thread then says why.
//! - Functions of one connection are called from one thread at a time.

// Exports all `quiche_*` symbols with it.
pub use quiche::*;

mod abi;
mod cert;
mod config;
mod conn;
mod error;
mod memory;
mod name;
mod revocation;
mod session;
mod tls;
mod tls_facts;
mod tls_transfer;
mod verify;
