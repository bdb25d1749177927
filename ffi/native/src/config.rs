//! A TLS 1.3 configuration from PEM text in memory, for QUIC and for the TLS end alike.
//!
//! The trust store holds what was given and never the system's. How the peer is verified must be said; there is no
//! default. A server gives no session tickets: resumption would skip every certificate and CRL check.
//!
//! Never call `quiche_config_verify_peer` on the result: it would replace the verification by a weaker one.

use boring::pkey::{PKey, Private};
use boring::ssl::{SslContextBuilder, SslMethod, SslOptions, SslVersion};
use boring::stack::Stack;
use boring::x509::{store::X509StoreBuilder, X509Name, X509};
use boring_sys as ffi;
use foreign_types_shared::ForeignType;
use std::os::raw::c_int;

use crate::error::{handle, queued, words, Failure, Outcome};
use crate::memory::input;
use crate::revocation::add_crls;
use crate::verify::{key_weakness, tolerate_stale_crl, verify_chain, Flags, INTERMEDIATES_MAX};

/// The hybrid group first, then the classical ones that earlier peers know.
const GROUPS: &str = "X25519MLKEM768:X25519:P-256:P-384";
/// The largest certificate message that is taken from a peer.
const CERTIFICATES_BYTES_MAX: usize = 65_536;

/// PEM texts; an empty one was not given.
pub struct Material<'a> {
    pub certificate: &'a [u8],
    pub key: &'a [u8],
    pub trust: &'a [u8],
    pub crl: &'a [u8],
    pub groups: &'a [u8],
}

/// A quiche configuration for `quiche_accept`, `quiche_connect` and every `quiche_config_set_*`; free it with
/// `quiche_config_free`, also while its connections live.
#[no_mangle]
#[allow(clippy::too_many_arguments)]
pub unsafe extern "C" fn postern_config_new(
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
    flags: u32,
) -> *mut quiche::Config {
    let material = Material {
        certificate: input(certificate, certificate_len),
        key: input(key, key_len),
        trust: input(trust, trust_len),
        crl: input(crl, crl_len),
        groups: input(groups, groups_len),
    };
    handle(builder(&material, Flags(flags)).and_then(|builder| {
        quiche::Config::with_boring_ssl_ctx_builder(quiche::PROTOCOL_VERSION, builder)
            .map_err(|error| Failure(format!("the QUIC configuration cannot be made: {error}")))
    }))
}

/// The TLS context that both transports share.
///
/// # Safety
/// None beyond BoringSSL's own; the function is unsafe because it sets raw callbacks.
pub unsafe fn builder(material: &Material, flags: Flags) -> Outcome<SslContextBuilder> {
    check_flags(material, flags)?;
    let mut builder = SslContextBuilder::new(SslMethod::tls())?;
    builder.set_min_proto_version(Some(SslVersion::TLS1_3))?;
    builder.set_max_proto_version(Some(SslVersion::TLS1_3))?;
    builder.set_options(SslOptions::NO_TICKET);
    if flags.has(Flags::SERVER) {
        builder.set_options(SslOptions::CIPHER_SERVER_PREFERENCE);
    }
    set_groups(&mut builder, material.groups)?;
    set_identity(&mut builder, material)?;
    set_trust(&mut builder, material, flags)?;
    set_verification(&mut builder, flags);
    Ok(builder)
}

fn check_flags(material: &Material, flags: Flags) -> Outcome<()> {
    let choices = [Flags::PEER_REQUIRED, Flags::PEER_IF_GIVEN, Flags::PEER_UNVERIFIED];
    if !flags.is_known() || choices.iter().filter(|bit| flags.has(**bit)).count() != 1 {
        return Err("how the peer is verified must be said once".into());
    }
    if !flags.has(Flags::SERVER) && flags.has(Flags::PEER_IF_GIVEN) {
        return Err("a client cannot leave the server's certificate to the server".into());
    }
    let is_off = flags.has(Flags::PEER_UNVERIFIED);
    if is_off && !(material.trust.is_empty() && material.crl.is_empty()) {
        return Err("trust or CRLs are given, but verification is off".into());
    }
    if !is_off && material.trust.is_empty() {
        return Err("trust: no CA certificate is given".into());
    }
    match (material.certificate.is_empty(), material.key.is_empty()) {
        (false, true) => Err("a certificate is given without its private key".into()),
        (true, false) => Err("a private key is given without its certificate".into()),
        (true, true) if flags.has(Flags::SERVER) => Err("a server needs a certificate and its private key".into()),
        _ => Ok(()),
    }
}

fn set_groups(builder: &mut SslContextBuilder, groups: &[u8]) -> Outcome<()> {
    let text =
        if groups.is_empty() { GROUPS } else { std::str::from_utf8(groups).map_err(|_| Failure::from("groups: not text"))? };
    builder
        .set_curves_list(text)
        .map_err(|_| Failure(format!("groups: {} is not a list of known groups", crate::name::printable(text))))
}

fn set_identity(builder: &mut SslContextBuilder, material: &Material) -> Outcome<()> {
    if material.certificate.is_empty() {
        return Ok(());
    }
    let chain = certificates(material.certificate, "certificate")?;
    let (leaf, rest) = chain.split_first().ok_or(Failure::from("certificate: the text holds no CERTIFICATE block"))?;
    let key = private_key(material.key)?;
    let public = leaf.public_key().map_err(|error| Failure(format!("certificate: its key cannot be read: {}", words(&error))))?;
    // SAFETY: `public` is alive.
    if let Some(text) = unsafe { key_weakness(public.as_ptr()) } {
        return Err(text.into());
    }
    if !public.public_eq(&key) {
        return Err("private key does not match the certificate".into());
    }
    builder.set_certificate(leaf).map_err(|error| Failure(format!("certificate: {}", words(&error))))?;
    for certificate in rest {
        builder.add_extra_chain_cert(certificate.clone()).map_err(|error| Failure(format!("certificate: {}", words(&error))))?;
    }
    builder.set_private_key(&key).map_err(|error| Failure(format!("private key: {}", words(&error))))?;
    builder.check_private_key().map_err(|_| Failure::from("private key does not match the certificate"))
}

fn private_key(pem: &[u8]) -> Outcome<PKey<Private>> {
    // Without a callback BoringSSL would take an encrypted key's password from nowhere; with this one it fails cleanly.
    PKey::private_key_from_pem_callback(pem, |_| Err(boring::error::ErrorStack::get())).map_err(|error| {
        let text = String::from_utf8_lossy(pem);
        let why = if text.contains("ENCRYPTED") { "it is encrypted; give it unencrypted".to_string() } else { words(&error) };
        Failure(format!("private key: {why}"))
    })
}

/// The certificates of a PEM text, leaf first; other blocks are skipped, a broken block is an error.
pub fn certificates(pem: &[u8], part: &str) -> Outcome<Vec<X509>> {
    // The reader decides whether it reached the end by the error that was queued last.
    // SAFETY: empties this thread's queue.
    unsafe { ffi::ERR_clear_error() };
    let found = X509::stack_from_pem(pem).map_err(|error| Failure(format!("{part}: {}", words(&error))))?;
    if found.is_empty() {
        return Err(format!("{part}: the text holds no CERTIFICATE block").into());
    }
    Ok(found)
}

unsafe fn set_trust(builder: &mut SslContextBuilder, material: &Material, flags: Flags) -> Outcome<()> {
    let mut store = X509StoreBuilder::new()?;
    let mut names = Stack::<X509Name>::new()?;
    if !material.trust.is_empty() {
        for certificate in certificates(material.trust, "trust")? {
            names.push(X509Name::from_der(&certificate.subject_name().to_der()?)?)?;
            store.add_cert(&certificate).map_err(|error| Failure(format!("trust: {}", words(&error))))?;
        }
    }
    if !material.crl.is_empty() {
        add_crls(store.as_ptr(), material.crl)?;
    }
    builder.set_verify_cert_store(store.build()).map_err(|_| Failure(format!("trust: {}", queued())))?;
    if flags.has(Flags::SERVER) && !flags.has(Flags::PEER_UNVERIFIED) {
        builder.set_client_ca_list(names);
    }
    Ok(())
}

unsafe fn set_verification(builder: &mut SslContextBuilder, flags: Flags) {
    let mode = if flags.has(Flags::PEER_UNVERIFIED) {
        ffi::SSL_VERIFY_NONE
    } else if flags.has(Flags::SERVER) && flags.has(Flags::PEER_REQUIRED) {
        ffi::SSL_VERIFY_PEER | ffi::SSL_VERIFY_FAIL_IF_NO_PEER_CERT
    } else {
        ffi::SSL_VERIFY_PEER
    };
    let context = builder.as_ptr();
    let each: Option<unsafe extern "C" fn(c_int, *mut ffi::X509_STORE_CTX) -> c_int> =
        if flags.has(Flags::STALE_CRL_OK) { Some(tolerate_stale_crl) } else { None };
    ffi::SSL_CTX_set_verify(context, mode, each);
    // The flags travel as the callback's argument: nothing to own, nothing to free.
    ffi::SSL_CTX_set_cert_verify_callback(context, Some(verify_chain), flags.0 as usize as *mut _);
    ffi::X509_VERIFY_PARAM_set_depth(ffi::SSL_CTX_get0_param(context), INTERMEDIATES_MAX);
    ffi::SSL_CTX_set_max_cert_list(context, CERTIFICATES_BYTES_MAX);
}
