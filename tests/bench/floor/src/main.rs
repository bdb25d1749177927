//! The least that a ztna-v1 relay does over quiche: it demands a client certificate, answers a registration with its ACK, and hands each
//! IP packet of the n-th agent to the n-th connector. It knows nothing of policies, limits, metrics or addresses. What the product
//! costs is measured beside it.
//!
//!     quiche_floor CERT KEY CA [--retry]
//!
//! Prints its port in one line on standard output and serves until it is ended.

mod batch;

use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use boring::ssl::{SslContextBuilder, SslFiletype, SslMethod, SslOptions, SslVerifyMode, SslVersion};

const ID_BYTES: usize = 16;
/// What our connection IDs begin with; the number of the connection follows.
const ID_HEAD: [u8; 8] = [0x40; 8];
const PACKET_BYTES: usize = 65_535;
const SEND_BYTES: usize = 1_350;
/// How often timers are looked at; a walk over all connections is enough for a floor.
const TICK: Duration = Duration::from_millis(20);

struct Client {
    quic: quiche::Connection,
    from: SocketAddr,
    /// Whether it is in the list of those that have something to send.
    is_touched: bool,
    /// An agent's place among the agents.
    agent: Option<usize>,
}

/// Connections by number, and the clients' first IDs that lead to them: ours hold the number.
#[derive(Default)]
struct Clients {
    all: Vec<Option<Client>>,
    first_ids: HashMap<Vec<u8>, usize>,
    agents: usize,
    connectors: Vec<usize>,
    touched: Vec<usize>,
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
    batch::prepare(&socket, TICK)?;
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
    config.enable_dgram(true, 4_096, 4_096);
    Ok(config)
}

fn serve(socket: &UdpSocket, config: &mut quiche::Config, retry: bool) -> Outcome<()> {
    let local = socket.local_addr()?;
    let (mut clients, mut receiver) = (Clients::default(), batch::Receiver::new());
    let (mut frame, mut out) = (vec![0u8; PACKET_BYTES], vec![0u8; batch::SEND_BYTES + SEND_BYTES]);
    let mut looked = Instant::now();
    loop {
        for i in 0..receiver.wait(socket) {
            let message = receiver.message(i);
            for at in (0..message.length).step_by(message.segment) {
                let length = message.segment.min(message.length - at);
                let packet = receiver.bytes(message.start + at, length);
                let Some(number) = owner(socket, config, &mut clients, packet, message.from, local, retry) else { continue };
                let Some(Some(client)) = clients.all.get_mut(number) else { continue };
                let _ = client.quic.recv(packet, quiche::RecvInfo { from: message.from, to: local });
                clients.touch(number);
                clients.take(number, &mut frame);
            }
        }
        if looked.elapsed() >= TICK {
            looked = Instant::now();
            clients.look();
        }
        for number in std::mem::take(&mut clients.touched) {
            let Some(Some(client)) = clients.all.get_mut(number) else { continue };
            client.is_touched = false;
            flush(socket, client, &mut out);
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
) -> Option<usize> {
    let header = quiche::Header::from_slice(packet, ID_BYTES).ok()?;
    if let Some(number) = clients.number(header.dcid.as_ref()) {
        return Some(number);
    }
    if header.ty != quiche::Type::Initial {
        return None;
    }
    let token = header.token.clone().unwrap_or_default();
    let mut original = None;
    let number = if retry && !token.is_empty() {
        original = Some(quiche::ConnectionId::from_vec(token));
        number_in(header.dcid.as_ref()).filter(|number| *number < clients.all.len())?
    } else {
        clients.all.push(None);
        clients.all.len() - 1
    };
    let ours = quiche::ConnectionId::from_vec([ID_HEAD, number.to_be_bytes()].concat());
    if retry && original.is_none() {
        // The token is the client's first ID: a floor has no secrets.
        let mut out = [0u8; 256];
        let length = quiche::retry(&header.scid, &header.dcid, &ours, &header.dcid, header.version, &mut out).ok()?;
        batch::send(socket, &out[..length], length, from);
        return None;
    }
    let quic = quiche::accept(&ours, original.as_ref(), local, from, config).ok()?;
    clients.all[number] = Some(Client { quic, from, is_touched: false, agent: None });
    let _ = clients.first_ids.insert(header.dcid.to_vec(), number);
    Some(number)
}

/// The number in an ID of ours.
fn number_in(id: &[u8]) -> Option<usize> {
    id.strip_prefix(&ID_HEAD)?.try_into().ok().map(usize::from_be_bytes)
}

impl Clients {
    fn number(&self, id: &[u8]) -> Option<usize> {
        match number_in(id) {
            Some(number) => self.all.get(number)?.is_some().then_some(number),
            None => self.first_ids.get(id).copied(),
        }
    }

    fn touch(&mut self, number: usize) {
        if let Some(Some(client)) = self.all.get_mut(number) {
            if !client.is_touched {
                client.is_touched = true;
                self.touched.push(number);
            }
        }
    }

    /// Takes what has come: a registration `1x length id` is acknowledged by `12 00 length id`, an agent's IPv4 packet goes on.
    fn take(&mut self, number: usize, frame: &mut [u8]) {
        while let Some(Some(client)) = self.all.get_mut(number) {
            let Ok(length) = client.quic.dgram_recv(frame) else { return };
            let bytes = &frame[..length];
            match bytes {
                [kind @ (0x10 | 0x11), rest @ ..] => {
                    let ack: Vec<u8> = [0x12, 0x00].iter().chain(rest).copied().collect();
                    let _ = client.quic.dgram_send(&ack);
                    if *kind == 0x11 {
                        self.connectors.push(number);
                    } else {
                        client.agent = Some(self.agents);
                        self.agents += 1;
                    }
                }
                [first, ..] if first >> 4 == 4 => {
                    let Some(agent) = client.agent else { continue };
                    let Some(&to) = self.connectors.get(agent % self.connectors.len().max(1)) else { continue };
                    let Some(Some(connector)) = self.all.get_mut(to) else { continue };
                    let _ = connector.quic.dgram_send(bytes);
                    self.touch(to);
                }
                _ => {}
            }
        }
    }

    /// Timers, and connections that are over.
    fn look(&mut self) {
        for number in 0..self.all.len() {
            let Some(client) = &mut self.all[number] else { continue };
            if client.quic.is_closed() {
                self.all[number] = None;
                self.first_ids.retain(|_, owner| *owner != number);
                self.connectors.retain(|connector| *connector != number);
            } else if client.quic.timeout().is_some_and(|left| left.is_zero()) {
                client.quic.on_timeout();
                self.touch(number);
            }
        }
    }
}

/// Sends everything that the connection has: datagrams of one size in one call.
fn flush(socket: &UdpSocket, client: &mut Client, out: &mut [u8]) {
    let (mut at, mut segment, mut to) = (0, 0, client.from);
    while let Ok((length, info)) = client.quic.send(&mut out[at..at + SEND_BYTES]) {
        if at > 0 && (length > segment || info.to != to) {
            batch::send(socket, &out[..at], segment, to);
            out.copy_within(at..at + length, 0);
            at = 0;
        }
        if at == 0 {
            (segment, to) = (length, info.to);
        }
        at += length;
        if length < segment || at / segment >= batch::SEGMENTS || at + SEND_BYTES > batch::SEND_BYTES {
            batch::send(socket, &out[..at], segment, to);
            at = 0;
        }
    }
    if at > 0 {
        batch::send(socket, &out[..at], segment, to);
    }
}
