//! What a loader checks before it trusts its own tables: the interface's version, and how C structs are laid out here.

use std::mem::{offset_of, size_of};

use crate::memory::give;

/// Grows whenever a `postern_` function changes its parameters, its results or a layout.
const ABI_VERSION: u32 = 1;

#[no_mangle]
pub extern "C" fn postern_abi_version() -> u32 {
    ABI_VERSION
}

/// Sizes and offsets as lines `struct SIZE` and `struct.field OFFSET`, for the test that compares them with the tables in
/// TypeScript.
#[no_mangle]
pub unsafe extern "C" fn postern_layout(out: *mut u8, cap: usize) -> i32 {
    give(layout().as_bytes(), out, cap)
}

macro_rules! describe {
    ($text:ident, $name:literal, $type:ty, $($field:ident),+) => {
        $text.push_str(&format!("{} {}\n", $name, size_of::<$type>()));
        $($text.push_str(&format!("{}.{} {}\n", $name, stringify!($field), offset_of!($type, $field)));)+
    };
}

fn layout() -> String {
    let mut text = String::new();
    describe!(text, "quiche_recv_info", RecvInfo, from, from_len, to, to_len);
    describe!(text, "quiche_send_info", SendInfo, from, from_len, to, to_len, at);
    describe!(
        text,
        "quiche_stats",
        Stats,
        recv,
        sent,
        lost,
        spurious_lost,
        retrans,
        sent_bytes,
        recv_bytes,
        acked_bytes,
        lost_bytes,
        stream_retrans_bytes,
        dgram_recv,
        dgram_sent,
        paths_count,
        reset_stream_count_local,
        stopped_stream_count_local,
        reset_stream_count_remote,
        stopped_stream_count_remote,
        data_blocked_sent_count,
        stream_data_blocked_sent_count,
        data_blocked_recv_count,
        stream_data_blocked_recv_count,
        streams_blocked_bidi_recv_count,
        streams_blocked_uni_recv_count,
        path_challenge_rx_count,
        bytes_in_flight_duration_msec,
        tx_buffered_inconsistent
    );
    describe!(
        text,
        "quiche_path_stats",
        PathStats,
        local_addr,
        local_addr_len,
        peer_addr,
        peer_addr_len,
        validation_state,
        active,
        recv,
        sent,
        lost,
        retrans,
        total_pto_count,
        dgram_recv,
        dgram_sent,
        rtt,
        min_rtt,
        max_rtt,
        rttvar,
        cwnd,
        sent_bytes,
        recv_bytes,
        lost_bytes,
        stream_retrans_bytes,
        pmtu,
        delivery_rate,
        max_bandwidth,
        startup_exit_cwnd
    );
    describe!(text, "sockaddr_in", libc::sockaddr_in, sin_family, sin_port, sin_addr);
    describe!(text, "sockaddr_in6", libc::sockaddr_in6, sin6_family, sin6_port, sin6_flowinfo, sin6_addr, sin6_scope_id);
    describe!(text, "sockaddr_un", libc::sockaddr_un, sun_family, sun_path);
    describe!(text, "sockaddr_storage", libc::sockaddr_storage, ss_family);
    describe!(text, "iovec", libc::iovec, iov_base, iov_len);
    describe!(text, "msghdr", libc::msghdr, msg_name, msg_namelen, msg_iov, msg_iovlen, msg_control, msg_controllen, msg_flags);
    describe!(text, "mmsghdr", libc::mmsghdr, msg_hdr, msg_len);
    describe!(text, "cmsghdr", libc::cmsghdr, cmsg_len, cmsg_level, cmsg_type);
    describe!(text, "epoll_event", libc::epoll_event, events, u64);
    describe!(text, "ucred", libc::ucred, pid, uid, gid);
    describe!(text, "linger", libc::linger, l_onoff, l_linger);
    text
}

// quiche keeps its C structs private. These are the declarations of its header once more; the test fills the real ones and
// sees that they end where these do.

#[repr(C)]
struct RecvInfo {
    from: *const libc::sockaddr,
    from_len: libc::socklen_t,
    to: *const libc::sockaddr,
    to_len: libc::socklen_t,
}

#[repr(C)]
struct SendInfo {
    from: libc::sockaddr_storage,
    from_len: libc::socklen_t,
    to: libc::sockaddr_storage,
    to_len: libc::socklen_t,
    at: libc::timespec,
}

#[repr(C)]
struct Stats {
    recv: usize,
    sent: usize,
    lost: usize,
    spurious_lost: usize,
    retrans: usize,
    sent_bytes: u64,
    recv_bytes: u64,
    acked_bytes: u64,
    lost_bytes: u64,
    stream_retrans_bytes: u64,
    dgram_recv: usize,
    dgram_sent: usize,
    paths_count: usize,
    reset_stream_count_local: u64,
    stopped_stream_count_local: u64,
    reset_stream_count_remote: u64,
    stopped_stream_count_remote: u64,
    data_blocked_sent_count: u64,
    stream_data_blocked_sent_count: u64,
    data_blocked_recv_count: u64,
    stream_data_blocked_recv_count: u64,
    streams_blocked_bidi_recv_count: u64,
    streams_blocked_uni_recv_count: u64,
    path_challenge_rx_count: u64,
    bytes_in_flight_duration_msec: u64,
    tx_buffered_inconsistent: bool,
}

#[repr(C)]
struct PathStats {
    local_addr: libc::sockaddr_storage,
    local_addr_len: libc::socklen_t,
    peer_addr: libc::sockaddr_storage,
    peer_addr_len: libc::socklen_t,
    validation_state: isize,
    active: bool,
    recv: usize,
    sent: usize,
    lost: usize,
    retrans: usize,
    total_pto_count: usize,
    dgram_recv: usize,
    dgram_sent: usize,
    rtt: u64,
    min_rtt: u64,
    max_rtt: u64,
    rttvar: u64,
    cwnd: usize,
    sent_bytes: u64,
    recv_bytes: u64,
    lost_bytes: u64,
    stream_retrans_bytes: u64,
    pmtu: usize,
    delivery_rate: u64,
    max_bandwidth: u64,
    startup_exit_cwnd: u64,
}
