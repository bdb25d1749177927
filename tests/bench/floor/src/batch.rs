//! Many datagrams in one system call: recvmmsg with GRO on the way in, GSO on the way out, as the product does it.

use std::io::{Error, Result};
use std::mem::{size_of, zeroed};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::Duration;

/// One buffer holds what the kernel has joined.
const JOINED_BYTES: usize = 65_536;
const MESSAGES: usize = 16;
const CONTROL_BYTES: usize = 64;
/// What one call to send takes: the kernel's bounds on segments, and on the bytes of a UDP datagram over IPv4.
pub const SEGMENTS: usize = 64;
pub const SEND_BYTES: usize = 65_000;

pub struct Receiver {
    bytes: Vec<u8>,
    control: Vec<[u64; CONTROL_BYTES / 8]>,
    names: Vec<libc::sockaddr_in>,
    vectors: Vec<libc::iovec>,
    messages: Vec<libc::mmsghdr>,
}

/// Where one message lies: its bytes, the size of its segments, who sent it.
pub struct Received {
    pub start: usize,
    pub length: usize,
    pub segment: usize,
    pub from: SocketAddr,
}

/// Asks for joined datagrams, and for a look at the clock at least every `tick`.
pub fn prepare(socket: &UdpSocket, tick: Duration) -> Result<()> {
    socket.set_read_timeout(Some(tick))?;
    for (level, name, value) in [
        (libc::SOL_UDP, libc::UDP_GRO, 1),
        (libc::SOL_SOCKET, libc::SO_RCVBUF, 4 << 20),
        (libc::SOL_SOCKET, libc::SO_SNDBUF, 4 << 20),
    ] {
        // SAFETY: the kernel reads four bytes of a live integer.
        let result = unsafe {
            libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const value).cast(), size_of::<libc::c_int>() as u32)
        };
        if result < 0 {
            return Err(Error::last_os_error());
        }
    }
    Ok(())
}

impl Receiver {
    pub fn new() -> Self {
        // SAFETY: all zeros is a valid value of these C structures.
        let (name, message) = unsafe { (zeroed(), zeroed()) };
        Self {
            bytes: vec![0; JOINED_BYTES * MESSAGES],
            control: vec![[0; CONTROL_BYTES / 8]; MESSAGES],
            names: vec![name; MESSAGES],
            vectors: vec![libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; MESSAGES],
            messages: vec![message; MESSAGES],
        }
    }

    /// Waits for a datagram, takes what else is there, and says how many messages there are; 0 when the time is over.
    pub fn wait(&mut self, socket: &UdpSocket) -> usize {
        for i in 0..MESSAGES {
            self.vectors[i] =
                libc::iovec { iov_base: self.bytes[i * JOINED_BYTES..].as_mut_ptr().cast(), iov_len: JOINED_BYTES };
            let header = &mut self.messages[i].msg_hdr;
            header.msg_name = (&raw mut self.names[i]).cast();
            header.msg_namelen = size_of::<libc::sockaddr_in>() as u32;
            header.msg_iov = &raw mut self.vectors[i];
            header.msg_iovlen = 1;
            header.msg_control = self.control[i].as_mut_ptr().cast();
            header.msg_controllen = CONTROL_BYTES;
        }
        // SAFETY: every pointer in the headers is to memory that `self` owns and that does not move during the call.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.messages.as_mut_ptr(),
                MESSAGES as u32,
                libc::MSG_WAITFORONE,
                std::ptr::null_mut(),
            )
        };
        usize::try_from(count).unwrap_or(0)
    }

    pub fn message(&self, i: usize) -> Received {
        let (name, message) = (&self.names[i], &self.messages[i]);
        let length = message.msg_len as usize;
        let from = SocketAddrV4::new(Ipv4Addr::from(u32::from_be(name.sin_addr.s_addr)), u16::from_be(name.sin_port));
        let mut segment = length;
        // SAFETY: the header is the one that the kernel has just filled, and its control bytes are ours.
        unsafe {
            let mut at = libc::CMSG_FIRSTHDR(&raw const message.msg_hdr);
            while !at.is_null() {
                if (*at).cmsg_level == libc::SOL_UDP && (*at).cmsg_type == libc::UDP_GRO {
                    segment = libc::CMSG_DATA(at).cast::<libc::c_int>().read_unaligned() as usize;
                }
                at = libc::CMSG_NXTHDR(&raw const message.msg_hdr, at);
            }
        }
        Received { start: i * JOINED_BYTES, length, segment: segment.max(1), from: from.into() }
    }

    pub fn bytes(&mut self, start: usize, length: usize) -> &mut [u8] {
        &mut self.bytes[start..start + length]
    }
}

/// Sends datagrams of `segment` bytes, the last one maybe shorter, to one address in one call.
pub fn send(socket: &UdpSocket, bytes: &[u8], segment: usize, to: SocketAddr) {
    let SocketAddr::V4(to) = to else { return };
    // SAFETY: all zeros is a valid value; every pointer is to something that lives until the call returns.
    unsafe {
        let mut name: libc::sockaddr_in = zeroed();
        name.sin_family = libc::AF_INET as u16;
        name.sin_port = to.port().to_be();
        name.sin_addr.s_addr = u32::from(*to.ip()).to_be();
        let mut vector = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
        let mut control = [0u64; 4];
        let mut header: libc::msghdr = zeroed();
        header.msg_name = (&raw mut name).cast();
        header.msg_namelen = size_of::<libc::sockaddr_in>() as u32;
        header.msg_iov = &raw mut vector;
        header.msg_iovlen = 1;
        if bytes.len() > segment {
            header.msg_control = control.as_mut_ptr().cast();
            header.msg_controllen = libc::CMSG_SPACE(2) as usize;
            let at = libc::CMSG_FIRSTHDR(&raw const header);
            (*at).cmsg_level = libc::SOL_UDP;
            (*at).cmsg_type = libc::UDP_SEGMENT;
            (*at).cmsg_len = libc::CMSG_LEN(2) as usize;
            libc::CMSG_DATA(at).cast::<u16>().write_unaligned(segment as u16);
        }
        let _ = libc::sendmsg(socket.as_raw_fd(), &raw const header, 0);
    }
}
