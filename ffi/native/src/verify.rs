//! Who the peer is: the checks beyond path validation, and the note of what was offered and why it was refused.
//!
//! BoringSSL calls [`verify_chain`] once per handshake in place of its own verification. It runs the path validation (trust,
//! time, names, CRLs), then the rules that validation lacks: a client is no authority, the leaf's extended key usage must be there
//! and name our use, RSA keys have 2048 bits or more, no SHA-1 below the trust anchor, and a client must have said whom it expects.

use boring_sys as ffi;
use foreign_types_shared::ForeignTypeRef;
use std::os::raw::{c_int, c_long, c_void};
use std::sync::OnceLock;

use crate::name;

/// What a configuration was asked to be. The bits are part of the interface (see postern_native.h).
#[derive(Clone, Copy)]
pub struct Flags(pub u32);

impl Flags {
    pub const SERVER: u32 = 1;
    pub const PEER_REQUIRED: u32 = 2;
    pub const PEER_IF_GIVEN: u32 = 4;
    pub const PEER_UNVERIFIED: u32 = 8;
    pub const STALE_CRL_OK: u32 = 16;
    const ALL: u32 = 31;

    pub fn has(self, bit: u32) -> bool {
        self.0 & bit != 0
    }

    pub fn is_known(self) -> bool {
        self.0 & !Self::ALL == 0
    }
}

/// Certificates between the leaf and the trust anchor, at most.
pub const INTERMEDIATES_MAX: c_int = 5;
pub const RSA_BITS_MIN: c_int = 2048;
const NO_CHAINS: &str = "no verified certificate chains";

/// What one handshake showed, kept with its `SSL` and freed with it.
#[derive(Default)]
pub struct Notes {
    /// A name or an address was set that the peer must have.
    pub expects_name: bool,
    /// The peer's chain passed every check.
    pub is_verified: bool,
    /// Why it did not.
    pub refusal: String,
    /// The DER leaf that was presented, verified or not.
    pub offered: Vec<u8>,
    /// TLS alert descriptions (RFC 8446 §6).
    pub alert_sent: Option<u8>,
    pub alert_received: Option<u8>,
}

/// The notes of a connection, made at first use. None when memory or an index is missing: the caller must refuse.
///
/// # Safety
/// `ssl` must be alive, and no other reference to its notes may be.
pub unsafe fn notes<'a>(ssl: *mut ffi::SSL) -> Option<&'a mut Notes> {
    let index = notes_index();
    if ssl.is_null() || index < 0 {
        return None;
    }
    let kept = ffi::SSL_get_ex_data(ssl, index).cast::<Notes>();
    if !kept.is_null() {
        return kept.as_mut();
    }
    let made = Box::into_raw(Box::<Notes>::default());
    if ffi::SSL_set_ex_data(ssl, index, made.cast()) != 1 {
        drop(Box::from_raw(made));
        return None;
    }
    made.as_mut()
}

fn notes_index() -> c_int {
    static INDEX: OnceLock<c_int> = OnceLock::new();
    // SAFETY: registers a slot and the function that frees what is put there.
    *INDEX
        .get_or_init(|| unsafe { ffi::SSL_get_ex_new_index(0, std::ptr::null_mut(), std::ptr::null_mut(), None, Some(free_notes)) })
}

unsafe extern "C" fn free_notes(
    _parent: *mut c_void,
    kept: *mut c_void,
    _data: *mut ffi::CRYPTO_EX_DATA,
    _index: c_int,
    _argl: c_long,
    _argp: *mut c_void,
) {
    if !kept.is_null() {
        drop(Box::from_raw(kept.cast::<Notes>()));
    }
}

/// In place of BoringSSL's verification; `argument` carries the [`Flags`]. Returns 1 to accept.
pub unsafe extern "C" fn verify_chain(store: *mut ffi::X509_STORE_CTX, argument: *mut c_void) -> c_int {
    let flags = Flags(argument as usize as u32);
    let ssl = ffi::X509_STORE_CTX_get_ex_data(store, ffi::SSL_get_ex_data_X509_STORE_CTX_idx()).cast::<ffi::SSL>();
    let Some(notes) = notes(ssl) else {
        ffi::X509_STORE_CTX_set_error(store, ffi::X509_V_ERR_OUT_OF_MEM);
        return 0;
    };
    notes.offered = der(ffi::X509_STORE_CTX_get0_cert(store));
    notes.is_verified = false;
    notes.refusal.clear();
    if flags.has(Flags::PEER_UNVERIFIED) {
        return 1;
    }
    match judge(store, flags, notes.expects_name) {
        Ok(()) => {
            notes.is_verified = true;
            1
        }
        Err(refusal) => {
            notes.refusal = refusal;
            if ffi::X509_STORE_CTX_get_error(store) == ffi::X509_V_OK {
                ffi::X509_STORE_CTX_set_error(store, ffi::X509_V_ERR_APPLICATION_VERIFICATION);
            }
            0
        }
    }
}

/// Called for each finding of the path validation: lets an outdated CRL pass, and nothing else.
pub unsafe extern "C" fn tolerate_stale_crl(ok: c_int, store: *mut ffi::X509_STORE_CTX) -> c_int {
    if ok == 0 && ffi::X509_STORE_CTX_get_error(store) == ffi::X509_V_ERR_CRL_HAS_EXPIRED {
        ffi::X509_STORE_CTX_set_error(store, ffi::X509_V_OK);
        return 1;
    }
    ok
}

/// Keeps the alerts of a TLS end for its error text.
pub unsafe extern "C" fn note_alert(ssl: *const ffi::SSL, kind: c_int, value: c_int) {
    let Some(notes) = notes(ssl.cast_mut()) else { return };
    let description = (value & 0xff) as u8;
    if kind == ffi::SSL_CB_READ_ALERT {
        notes.alert_received = Some(description);
    } else if kind == ffi::SSL_CB_WRITE_ALERT {
        notes.alert_sent = Some(description);
    }
}

unsafe fn judge(store: *mut ffi::X509_STORE_CTX, flags: Flags, expects_name: bool) -> Result<(), String> {
    if !flags.has(Flags::SERVER) && !expects_name {
        return Err("the server's name would not be checked: no name was expected".into());
    }
    if ffi::X509_verify_cert(store) != 1 {
        return Err(path_refusal(store));
    }
    let refuse = |code: c_int, text: String| {
        ffi::X509_STORE_CTX_set_error(store, code);
        Err(text)
    };
    let chain = ffi::X509_STORE_CTX_get0_chain(store).cast::<ffi::OPENSSL_STACK>();
    let count = if chain.is_null() { 0 } else { ffi::sk_num(chain) };
    if count == 0 {
        return refuse(ffi::X509_V_ERR_UNSPECIFIED, NO_CHAINS.into());
    }
    for depth in 0..count {
        let certificate = ffi::sk_value(chain, depth).cast::<ffi::X509>();
        let is_anchor = depth + 1 == count;
        if let Some(text) = weakness(certificate, is_anchor) {
            return refuse(ffi::X509_V_ERR_CERT_REJECTED, format!("{text} ({})", place(depth, certificate)));
        }
    }
    let leaf = ffi::sk_value(chain, 0).cast::<ffi::X509>();
    // Who holds an authority's key signs certificates: as a client it has no business, and its names say nothing about a role. Of
    // servers the trusted certificate itself is taken, which tools mark as an authority's.
    if flags.has(Flags::SERVER) && ffi::X509_get_extension_flags(leaf) & ffi::EXFLAG_CA as u32 != 0 {
        return refuse(ffi::X509_V_ERR_INVALID_PURPOSE, format!("the certificate is an authority's own ({})", place(0, leaf)));
    }
    let (bit, word) =
        if flags.has(Flags::SERVER) { (ffi::XKU_SSL_CLIENT, "clientAuth") } else { (ffi::XKU_SSL_SERVER, "serverAuth") };
    // The extension's bits; all ones stands for "no such extension", zero for a broken one.
    let usage = ffi::X509_get_extended_key_usage(leaf);
    if usage == u32::MAX || usage & bit as u32 == 0 {
        let why = if usage == u32::MAX { "has no extended key usage" } else { "has another extended key usage" };
        return refuse(ffi::X509_V_ERR_INVALID_PURPOSE, format!("the certificate {why}, {word} is required ({})", place(0, leaf)));
    }
    Ok(())
}

/// A key or a signature that is too weak, in words.
unsafe fn weakness(certificate: *mut ffi::X509, is_anchor: bool) -> Option<String> {
    let key = ffi::X509_get0_pubkey(certificate);
    if key.is_null() {
        return Some("the certificate's key cannot be read".into());
    }
    if let Some(text) = key_weakness(key) {
        return Some(text);
    }
    let signature = ffi::X509_get_signature_nid(certificate);
    let outdated = [ffi::NID_sha1WithRSAEncryption, ffi::NID_sha1WithRSA, ffi::NID_ecdsa_with_SHA1, ffi::NID_md5WithRSAEncryption];
    (!is_anchor && outdated.contains(&signature)).then(|| "the certificate is signed with an outdated hash (SHA-1 or MD5)".into())
}

/// Why a public key is too weak, or None.
pub unsafe fn key_weakness(key: *const ffi::EVP_PKEY) -> Option<String> {
    let is_rsa = [ffi::EVP_PKEY_RSA, ffi::EVP_PKEY_RSA_PSS].contains(&ffi::EVP_PKEY_id(key));
    let bits = ffi::EVP_PKEY_bits(key);
    (is_rsa && bits < RSA_BITS_MIN)
        .then(|| format!("the certificate's RSA key has {bits} bits, at least {RSA_BITS_MIN} are required"))
}

/// The path validation's finding in words: what is wrong, and with which certificate. How it begins is part of the interface
/// (see postern_native.h): by it a security event gets its type.
unsafe fn path_refusal(store: *mut ffi::X509_STORE_CTX) -> String {
    let code = ffi::X509_STORE_CTX_get_error(store);
    let depth = usize::try_from(ffi::X509_STORE_CTX_get_error_depth(store)).unwrap_or(0);
    let current = ffi::X509_STORE_CTX_get_current_cert(store);
    let certificate = if current.is_null() { ffi::X509_STORE_CTX_get0_cert(store) } else { current };
    let issuer = || name::text(ffi::X509_get_issuer_name(certificate));
    let what = match code {
        ffi::X509_V_ERR_UNABLE_TO_GET_CRL => format!("there is no CRL of the issuer {}", issuer()),
        ffi::X509_V_ERR_CRL_HAS_EXPIRED => format!("the CRL of the issuer {} is past its next update", issuer()),
        ffi::X509_V_ERR_CRL_NOT_YET_VALID => format!("the CRL of the issuer {} is not valid yet", issuer()),
        ffi::X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT
        | ffi::X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY
        | ffi::X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE
        | ffi::X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT
        | ffi::X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN => untrusted(certificate, depth),
        ffi::X509_V_ERR_CERT_HAS_EXPIRED => "certificate expired".into(),
        ffi::X509_V_ERR_CERT_NOT_YET_VALID => "certificate not yet valid".into(),
        ffi::X509_V_ERR_CERT_REVOKED => "certificate revoked".into(),
        ffi::X509_V_ERR_INVALID_PURPOSE => "the certificate's extended key usage does not allow this use".into(),
        ffi::X509_V_ERR_HOSTNAME_MISMATCH => "the certificate has no DNS name that matches".into(),
        ffi::X509_V_ERR_IP_ADDRESS_MISMATCH => "the certificate has no IP address that matches".into(),
        ffi::X509_V_ERR_CERT_CHAIN_TOO_LONG => format!("{NO_CHAINS}: {}", too_long()),
        _ => library_words(code),
    };
    format!("{what} ({})", place(depth, certificate))
}

unsafe fn untrusted(certificate: *const ffi::X509, depth: usize) -> String {
    let issuer = ffi::X509_get_issuer_name(certificate);
    let why = match (ffi::X509_NAME_cmp(ffi::X509_get_subject_name(certificate), issuer), depth) {
        (0, 0) => "the self-signed certificate is not trusted".into(),
        (0, _) => "the root of the chain is not trusted".into(),
        // The search for issuers stops there, whatever else it would have found.
        (_, depth) if depth > INTERMEDIATES_MAX as usize => too_long(),
        _ => format!("the issuer {} is not trusted", name::text(issuer)),
    };
    format!("{NO_CHAINS}: {why}")
}

fn too_long() -> String {
    format!("the chain has more than {INTERMEDIATES_MAX} intermediate certificates")
}

unsafe fn library_words(code: c_int) -> String {
    let text = ffi::X509_verify_cert_error_string(i64::from(code));
    if text.is_null() {
        return format!("verification error {code}");
    }
    std::ffi::CStr::from_ptr(text).to_string_lossy().into_owned()
}

unsafe fn place(depth: usize, certificate: *const ffi::X509) -> String {
    if certificate.is_null() {
        return format!("certificate {depth}");
    }
    format!("certificate {depth}: {}", name::text(ffi::X509_get_subject_name(certificate)))
}

unsafe fn der(certificate: *mut ffi::X509) -> Vec<u8> {
    if certificate.is_null() {
        return Vec::new();
    }
    boring::x509::X509Ref::from_ptr(certificate).to_der().unwrap_or_default()
}
