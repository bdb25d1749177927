//! A TLS 1.3 end without a socket: ciphertext is fed in and drained out, plaintext is written in and read out.
//!
//! ```text
//!   socket ──feed──► [ring] ──► TLS ──read──► plaintext
//!   socket ◄─drain── [ring] ◄── TLS ◄─write── plaintext
//! ```
//! Both rings are bounded by [`RING_BYTES`]: `feed` says how much it took, `write` takes only what the outgoing ring can
//! hold. Nothing blocks, nothing grows. The rules of verification are those of the QUIC configurations.

use boring::ssl::{SslContext, SslSessionCacheMode};
use boring_sys as ffi;
use foreign_types_shared::ForeignType;
use std::os::raw::{c_int, c_uint, c_void};
use std::sync::Arc;

use crate::config::{builder, Material};
use crate::error::{handle, number, Failure, Outcome};
use crate::memory::input;
use crate::session;
use crate::verify::{note_alert, notes, Flags};

/// Ciphertext kept per direction: two full TLS records and some (RFC 8446 §5.2).
pub const RING_BYTES: usize = 36_864;
/// Results of `handshake`, `read`, `write` and `shutdown` that are not counts.
pub const WANTS_INPUT_OR_DRAIN: i32 = -1;
pub const FAILED: i32 = -2;
/// The transport ended without the peer's close_notify: what was read may be cut short.
pub const TRUNCATED: i32 = -3;

/// What many TLS ends share.
pub struct TlsContext(Arc<Shared>);

struct Shared {
    context: SslContext,
    is_server: bool,
    /// Length-prefixed names in our order; empty for none (RFC 7301).
    protocols: Vec<u8>,
}

pub struct TlsEnd {
    pub ssl: *mut ffi::SSL,
    /// The other half of the pair of rings that `ssl` reads and writes.
    pub outside: *mut ffi::BIO,
    pub inside: *mut ffi::BIO,
    /// The result that every further call has, once it is not 0: `FAILED` or `TRUNCATED`.
    pub ended: i32,
    pub failure: String,
    pub input_ended: bool,
    // Keeps the protocol list alive that BoringSSL's callback points to.
    _shared: Arc<Shared>,
}

impl Drop for TlsEnd {
    fn drop(&mut self) {
        // SAFETY: owned by this value alone; freeing the SSL frees `inside`.
        unsafe {
            ffi::SSL_free(self.ssl);
            ffi::BIO_free(self.outside);
        }
    }
}

/// A context from PEM texts; the parameters are those of `postern_config_new`, and `protocols`: ALPN names with one length
/// byte before each, in order of preference.
#[no_mangle]
#[allow(clippy::too_many_arguments)]
pub unsafe extern "C" fn postern_tls_context_new(
    certificate: *const u8,
    certificate_len: usize,
    key: *const u8,
    key_len: usize,
    trust: *const u8,
    trust_len: usize,
    crl: *const u8,
    crl_len: usize,
    groups: *const u8,
    groups_len: usize,
    protocols: *const u8,
    protocols_len: usize,
    flags: u32,
) -> *mut TlsContext {
    let material = Material {
        certificate: input(certificate, certificate_len),
        key: input(key, key_len),
        trust: input(trust, trust_len),
        crl: input(crl, crl_len),
        groups: input(groups, groups_len),
    };
    handle(context(&material, input(protocols, protocols_len), Flags(flags)))
}

/// Frees a context; its ends live on.
#[no_mangle]
pub unsafe extern "C" fn postern_tls_context_free(context: *mut TlsContext) {
    if !context.is_null() {
        drop(Box::from_raw(context));
    }
}

/// One end. A client names whom it expects (an IP address or a DNS name); a server gives no name.
#[no_mangle]
pub unsafe extern "C" fn postern_tls_new(context: *const TlsContext, name: *const u8, name_len: usize) -> *mut TlsEnd {
    let made = match context.as_ref() {
        Some(context) => end(&context.0, input(name, name_len)),
        None => Err("there is no TLS context".into()),
    };
    handle(made)
}

#[no_mangle]
pub unsafe extern "C" fn postern_tls_free(end: *mut TlsEnd) {
    if !end.is_null() {
        drop(Box::from_raw(end));
    }
}

unsafe fn context(material: &Material, protocols: &[u8], flags: Flags) -> Outcome<TlsContext> {
    if !is_protocol_list(protocols) {
        return Err("the application protocols are not a list of names of 1 to 255 bytes".into());
    }
    let mut builder = builder(material, flags)?;
    builder.set_session_cache_mode(SslSessionCacheMode::OFF);
    let raw = builder.as_ptr();
    ffi::SSL_CTX_set_info_callback(raw, Some(note_alert));
    let is_server = flags.has(Flags::SERVER);
    // 0 is success in this one.
    if !is_server && !protocols.is_empty() && ffi::SSL_CTX_set_alpn_protos(raw, protocols.as_ptr(), protocols.len()) != 0 {
        return Err("the application protocols cannot be set".into());
    }
    let shared = Arc::new(Shared { context: builder.build(), is_server, protocols: protocols.to_vec() });
    if is_server && !shared.protocols.is_empty() {
        let list = std::ptr::from_ref(&shared.protocols).cast_mut().cast::<c_void>();
        ffi::SSL_CTX_set_alpn_select_cb(shared.context.as_ptr(), Some(select_protocol), list);
    }
    Ok(TlsContext(shared))
}

/// Picks ours by our order; no common protocol ends the handshake (RFC 7301 §3.2). A client that names none goes on.
unsafe extern "C" fn select_protocol(
    _ssl: *mut ffi::SSL,
    out: *mut *const u8,
    out_len: *mut u8,
    offered: *const u8,
    offered_len: c_uint,
    list: *mut c_void,
) -> c_int {
    let Some(ours) = list.cast::<Vec<u8>>().as_ref() else { return ffi::SSL_TLSEXT_ERR_ALERT_FATAL };
    let mut offers = input(offered, offered_len as usize);
    let mut theirs: Vec<&[u8]> = Vec::new();
    while let Some((name, rest)) = next_protocol(offers) {
        theirs.push(name);
        offers = rest;
    }
    let mut rest = ours.as_slice();
    while let Some((name, after)) = next_protocol(rest) {
        if theirs.contains(&name) {
            *out = name.as_ptr();
            *out_len = u8::try_from(name.len()).unwrap_or(0);
            return ffi::SSL_TLSEXT_ERR_OK;
        }
        rest = after;
    }
    ffi::SSL_TLSEXT_ERR_ALERT_FATAL
}

fn next_protocol(list: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = list.split_first()?;
    (*length > 0).then(|| rest.split_at_checked(usize::from(*length)))?
}

fn is_protocol_list(mut list: &[u8]) -> bool {
    while let Some((_, rest)) = next_protocol(list) {
        list = rest;
    }
    list.is_empty()
}

unsafe fn end(shared: &Arc<Shared>, name: &[u8]) -> Outcome<TlsEnd> {
    let ssl = ffi::SSL_new(shared.context.as_ptr());
    if ssl.is_null() {
        return Err(crate::error::queued().into());
    }
    let (mut inside, mut outside) = (std::ptr::null_mut(), std::ptr::null_mut());
    if ffi::BIO_new_bio_pair(&mut inside, RING_BYTES, &mut outside, RING_BYTES) != 1 {
        ffi::SSL_free(ssl);
        return Err("out of memory".into());
    }
    // One BIO for both directions; the SSL owns it from here.
    ffi::SSL_set_bio(ssl, inside, inside);
    let end = TlsEnd { ssl, outside, inside, ended: 0, failure: String::new(), input_ended: false, _shared: Arc::clone(shared) };
    if shared.is_server {
        ffi::SSL_set_accept_state(ssl);
    } else {
        ffi::SSL_set_connect_state(ssl);
    }
    if !name.is_empty() {
        session::expect_name(ssl, name)?;
    }
    Ok(end)
}

impl TlsEnd {
    /// What a result below 1 means; keeps the words when it ends this end.
    pub unsafe fn result_of(&mut self, result: c_int) -> i32 {
        match ffi::SSL_get_error(self.ssl, result) {
            ffi::SSL_ERROR_WANT_READ | ffi::SSL_ERROR_WANT_WRITE => return WANTS_INPUT_OR_DRAIN,
            ffi::SSL_ERROR_ZERO_RETURN => return 0,
            ffi::SSL_ERROR_SYSCALL if self.input_ended && ffi::SSL_in_init(self.ssl) == 1 => {
                self.failure = "the peer closed during the handshake".into();
                self.ended = FAILED;
            }
            ffi::SSL_ERROR_SYSCALL if self.input_ended => {
                self.failure = "the peer closed without saying so".into();
                self.ended = TRUNCATED;
            }
            _ => {
                self.failure = self.words();
                self.ended = FAILED;
            }
        }
        self.ended
    }

    unsafe fn words(&self) -> String {
        let queued = crate::error::queued();
        match notes(self.ssl) {
            Some(notes) if !notes.refusal.is_empty() => notes.refusal.clone(),
            _ => queued,
        }
    }
}

pub fn no_end() -> i32 {
    number(Err(Failure::from("there is no TLS end"))).min(FAILED)
}
