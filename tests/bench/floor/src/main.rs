//! The least that a ztna-v1 server does over quiche: it demands a client certificate, answers a registration with its ACK, and
//! knows nothing of policies, limits, metrics or addresses. What the product costs is measured beside it.
//!
//!     quiche_floor CERT KEY CA [--retry]
//!
//! Prints its port in one line on standard output and serves until it is ended.

use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use boring::ssl::{SslContextBuilder, SslFiletype, SslMethod, SslOptions, SslVerifyMode, SslVersion};

const ID_BYTES: usize = 16;
const PACKET_BYTES: usize = 65_535;
const SEND_BYTES: usize = 1_350;
/// How often timers are looked at; a walk over all connections is enough for a floor.
const TICK: Duration = Duration::from_millis(50);

/// Connections by number, and the IDs that lead to them: the client's first one and ours.
#[derive(Default)]
struct Clients {
    all: HashMap<u64, quiche::Connection>,
    ids: HashMap<Vec<u8>, u64>,
    made: u64,
}

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [certificate, key, trust, rest @ ..] = arguments.as_slice() else {
        return Err("usage: quiche_floor CERT KEY CA [--retry]".into());
    };
    let retry = rest.iter().any(|word| word == "--retry");
    let mut config = configuration(certificate, key, trust)?;
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.set_read_timeout(Some(TICK))?;
    println!("{}", socket.local_addr()?.port());
    serve(&socket, &mut config, retry)
}

fn configuration(certificate: &str, key: &str, trust: &str) -> Outcome<quiche::Config> {
    let mut tls = SslContextBuilder::new(SslMethod::tls())?;
    tls.set_min_proto_version(Some(SslVersion::TLS1_3))?;
    tls.set_options(SslOptions::NO_TICKET);
    tls.set_curves_list("X25519MLKEM768:X25519:P-256:P-384")?;
    tls.set_certificate_chain_file(certificate)?;
    tls.set_private_key_file(key, SslFiletype::PEM)?;
    tls.set_ca_file(trust)?;
    tls.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
    let mut config = quiche::Config::with_boring_ssl_ctx_builder(quiche::PROTOCOL_VERSION, tls)?;
    config.set_application_protos(&[b"ztna-v1"])?;
    config.set_max_idle_timeout(30_000);
    config.set_max_recv_udp_payload_size(PACKET_BYTES);
    config.set_max_send_udp_payload_size(SEND_BYTES);
    config.set_initial_max_data(10_000_000);
    config.set_initial_max_stream_data_bidi_local(1_000_000);
    config.set_initial_max_stream_data_bidi_remote(1_000_000);
    config.set_initial_max_streams_bidi(100);
    config.enable_dgram(true, 1_000, 1_000);
    Ok(config)
}

fn serve(socket: &UdpSocket, config: &mut quiche::Config, retry: bool) -> Outcome<()> {
    let local = socket.local_addr()?;
    let mut clients = Clients::default();
    let (mut packet, mut out) = (vec![0u8; PACKET_BYTES], vec![0u8; SEND_BYTES]);
    let mut looked = Instant::now();
    loop {
        if let Ok((length, from)) = socket.recv_from(&mut packet) {
            let datagram = &mut packet[..length];
            if let Some(number) = owner(socket, config, &mut clients, datagram, from, local, retry) {
                if let Some(quic) = clients.all.get_mut(&number) {
                    let _ = quic.recv(datagram, quiche::RecvInfo { from, to: local });
                    answer(quic);
                    flush(socket, quic, &mut out);
                }
            }
        }
        if looked.elapsed() < TICK {
            continue;
        }
        looked = Instant::now();
        for quic in clients.all.values_mut() {
            if quic.timeout().is_some_and(|left| left.is_zero()) {
                quic.on_timeout();
                flush(socket, quic, &mut out);
            }
        }
        let gone = clients.all.len();
        clients.all.retain(|_, quic| !quic.is_closed());
        if clients.all.len() < gone {
            let all = &clients.all;
            clients.ids.retain(|_, number| all.contains_key(number));
        }
    }
}

/// The connection that a packet belongs to; a first packet makes one, or is answered by a Retry.
fn owner(
    socket: &UdpSocket,
    config: &mut quiche::Config,
    clients: &mut Clients,
    packet: &mut [u8],
    from: SocketAddr,
    local: SocketAddr,
    retry: bool,
) -> Option<u64> {
    let header = quiche::Header::from_slice(packet, ID_BYTES).ok()?;
    if let Some(number) = clients.ids.get(header.dcid.as_ref()) {
        return Some(*number);
    }
    if header.ty != quiche::Type::Initial {
        return None;
    }
    clients.made += 1;
    let mut ours = vec![0x40; ID_BYTES];
    ours[8..].copy_from_slice(&clients.made.to_be_bytes());
    let token = header.token.clone().unwrap_or_default();
    let mut original = None;
    if retry && token.is_empty() {
        // The token is the ID itself: a floor has no secrets.
        let mut out = [0u8; 256];
        let id = quiche::ConnectionId::from_ref(&ours);
        let length = quiche::retry(&header.scid, &header.dcid, &id, &header.dcid, header.version, &mut out).ok()?;
        let _ = socket.send_to(&out[..length], from);
        return None;
    } else if retry {
        ours.copy_from_slice(header.dcid.get(..ID_BYTES)?);
        original = Some(quiche::ConnectionId::from_vec(token));
    }
    let quic = quiche::accept(&quiche::ConnectionId::from_ref(&ours), original.as_ref(), local, from, config).ok()?;
    let number = clients.made;
    let _ = clients.all.insert(number, quic);
    let _ = clients.ids.insert(header.dcid.to_vec(), number);
    let _ = clients.ids.insert(ours, number);
    Some(number)
}

/// A registration `1x length id` is acknowledged by `12 00 length id`.
fn answer(quic: &mut quiche::Connection) {
    let mut bytes = [0u8; 1_500];
    while let Ok(length) = quic.dgram_recv(&mut bytes) {
        if length >= 2 && (bytes[0] == 0x10 || bytes[0] == 0x11) {
            let ack: Vec<u8> = [0x12, 0x00].iter().chain(&bytes[1..length]).copied().collect();
            let _ = quic.dgram_send(&ack);
        }
    }
}

fn flush(socket: &UdpSocket, quic: &mut quiche::Connection, out: &mut [u8]) {
    while let Ok((length, info)) = quic.send(out) {
        let _ = socket.send_to(&out[..length], info.to);
    }
}
