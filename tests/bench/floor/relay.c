/*
 * The native floor once more, over the library that the product ships: it demands a client certificate, answers a registration with its
 * ACK, and hands each IP packet of an agent to the first connector. A compiler and seconds are enough to build it, where the floor in
 * Rust compiles its own BoringSSL for minutes; so continuous integration can compare with it. It knows nothing of policies or limits.
 *
 *     relay CERT KEY CA
 *
 * Prints its port in one line on standard output and serves until it is ended.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "postern_native.h"

enum { ID_BYTES = 16, CLIENTS = 64, MESSAGES = 16, JOINED_BYTES = 65536, PACKET_BYTES = 1350, TRAIN_BYTES = 65000, TRAIN_PACKETS = 64 };
enum { TICK_US = 20000, FRAME_BYTES = 65535 };

struct client {
    quiche_conn *quic;
    uint8_t first_id[20];
    size_t first_id_bytes;
    bool is_agent;
};

static struct client clients[CLIENTS];
static size_t client_count, connector = CLIENTS;
static struct sockaddr_in local;
static int udp;
static uint8_t received[MESSAGES][JOINED_BYTES], frame[FRAME_BYTES], train[TRAIN_BYTES + PACKET_BYTES];

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static uint8_t *file(const char *path, size_t *length) {
    static uint8_t bytes[3][65536];
    static int used;
    FILE *in = fopen(path, "rb");
    if (in == NULL || used == 3) fail(path);
    uint8_t *into = bytes[used++];
    *length = fread(into, 1, sizeof bytes[0], in);
    fclose(in);
    return into;
}

static quiche_config *configuration(char **paths) {
    size_t length[3];
    uint8_t *pem[3];
    for (int i = 0; i < 3; i++) pem[i] = file(paths[i], &length[i]);
    quiche_config *config =
        postern_config_new(pem[0], length[0], pem[1], length[1], pem[2], length[2], NULL, 0, NULL, 0, POSTERN_SERVER | POSTERN_PEER_REQUIRED);
    if (config == NULL) {
        postern_last_error(frame, sizeof frame);
        fprintf(stderr, "relay: %s\n", (char *)frame);
        exit(1);
    }
    quiche_config_set_application_protos(config, (const uint8_t *)"\x07ztna-v1", 8);
    quiche_config_set_max_idle_timeout(config, 30000);
    quiche_config_set_max_recv_udp_payload_size(config, 65527);
    quiche_config_set_max_send_udp_payload_size(config, PACKET_BYTES);
    quiche_config_set_initial_max_data(config, 10000000);
    quiche_config_set_initial_max_streams_bidi(config, 100);
    quiche_config_enable_dgram(config, true, 4096, 4096);
    return config;
}

static void open_socket(void) {
    socklen_t length = sizeof local;
    int on = 1, buffer = 4 << 20;
    struct timeval tick = { 0, TICK_US };
    udp = socket(AF_INET, SOCK_DGRAM, 0);
    local.sin_family = AF_INET;
    local.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(udp, (struct sockaddr *)&local, length) < 0 || getsockname(udp, (struct sockaddr *)&local, &length) < 0) fail("bind");
    if (setsockopt(udp, SOL_UDP, UDP_GRO, &on, sizeof on) < 0) fail("UDP_GRO");
    setsockopt(udp, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
    setsockopt(udp, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof buffer);
    setsockopt(udp, SOL_SOCKET, SO_RCVTIMEO, &tick, sizeof tick);
}

/* Our IDs are the client's number in every byte; a client's own first ID leads to it too. CLIENTS: nobody's, and no more are taken. */
static size_t owner(const uint8_t *packet, size_t length, const struct sockaddr_in *from, quiche_config *config) {
    const bool is_long = (packet[0] & 0x80) != 0;
    if (length < 1 + ID_BYTES || (is_long && (length < 26 || packet[5] > 20))) return CLIENTS;
    const uint8_t *id = is_long ? packet + 6 : packet + 1;
    const size_t id_bytes = is_long ? packet[5] : ID_BYTES;
    for (size_t i = 0; i < client_count; i++) {
        uint8_t ours[ID_BYTES];
        memset(ours, (int)i + 1, sizeof ours);
        if (id_bytes == ID_BYTES && memcmp(id, ours, ID_BYTES) == 0) return i;
        if (is_long && id_bytes == clients[i].first_id_bytes && memcmp(id, clients[i].first_id, id_bytes) == 0) return i;
    }
    if (!is_long || (packet[0] & 0x30) != 0 || client_count == CLIENTS) return CLIENTS;
    struct client *client = &clients[client_count];
    uint8_t ours[ID_BYTES];
    memset(ours, (int)client_count + 1, sizeof ours);
    client->quic =
        quiche_accept(ours, ID_BYTES, NULL, 0, (struct sockaddr *)&local, sizeof local, (const struct sockaddr *)from, sizeof *from, config);
    if (client->quic == NULL) return CLIENTS;
    memcpy(client->first_id, id, id_bytes);
    client->first_id_bytes = id_bytes;
    return client_count++;
}

/* A registration `1x length id` is acknowledged by `12 00 length id`; an agent's IPv4 packet goes on. */
static void take(struct client *client) {
    for (;;) {
        const ssize_t length = quiche_conn_dgram_recv(client->quic, frame + 1, sizeof frame - 1);
        if (length <= 0) return;
        const uint8_t kind = frame[1];
        if (kind == 0x10 || kind == 0x11) {
            if (kind == 0x11) connector = (size_t)(client - clients);
            client->is_agent = kind == 0x10;
            frame[0] = 0x12;
            frame[1] = 0;
            quiche_conn_dgram_send(client->quic, frame, (size_t)length + 1);
        } else if (kind >> 4 == 4 && client->is_agent && connector < CLIENTS) {
            quiche_conn_dgram_send(clients[connector].quic, frame + 1, (size_t)length);
        }
    }
}

/* Packets of `segment` bytes, the last one maybe shorter, in one call. */
static void leave(size_t bytes, size_t segment, struct sockaddr_storage *to) {
    char control[CMSG_SPACE(sizeof(uint16_t))] = { 0 };
    struct iovec vector = { train, bytes };
    struct msghdr header = { .msg_name = to, .msg_namelen = sizeof(struct sockaddr_in), .msg_iov = &vector, .msg_iovlen = 1 };
    if (bytes > segment) {
        const uint16_t size = (uint16_t)segment;
        header.msg_control = control;
        header.msg_controllen = sizeof control;
        struct cmsghdr *part = CMSG_FIRSTHDR(&header);
        part->cmsg_level = SOL_UDP;
        part->cmsg_type = UDP_SEGMENT;
        part->cmsg_len = CMSG_LEN(sizeof size);
        memcpy(CMSG_DATA(part), &size, sizeof size);
    }
    (void)!sendmsg(udp, &header, 0);
}

/* Everything that the connection has to send. */
static void flush(quiche_conn *quic) {
    size_t at = 0, segment = 0;
    quiche_send_info info;
    struct sockaddr_storage to;
    for (;;) {
        const ssize_t length = quiche_conn_send(quic, train + at, PACKET_BYTES, &info);
        if (length <= 0) break;
        if (at > 0 && (size_t)length > segment) {
            leave(at, segment, &to);
            memmove(train, train + at, (size_t)length);
            at = 0;
        }
        if (at == 0) {
            segment = (size_t)length;
            to = info.to;
        }
        at += (size_t)length;
        if ((size_t)length < segment || at / segment >= TRAIN_PACKETS || at + PACKET_BYTES > TRAIN_BYTES) {
            leave(at, segment, &to);
            at = 0;
        }
    }
    if (at > 0) leave(at, segment, &to);
}

/* The size that the kernel has joined packets of; the whole where it has joined none. */
static size_t segment_of(struct msghdr *header, size_t length) {
    for (struct cmsghdr *part = CMSG_FIRSTHDR(header); part != NULL; part = CMSG_NXTHDR(header, part)) {
        int size;
        if (part->cmsg_level != SOL_UDP || part->cmsg_type != UDP_GRO) continue;
        memcpy(&size, CMSG_DATA(part), sizeof size);
        if (size > 0) return (size_t)size;
    }
    return length;
}

static void turn(quiche_config *config) {
    static struct sockaddr_in from[MESSAGES];
    static char control[MESSAGES][64];
    struct mmsghdr messages[MESSAGES] = { 0 };
    struct iovec vectors[MESSAGES];
    for (int i = 0; i < MESSAGES; i++) {
        vectors[i] = (struct iovec){ received[i], JOINED_BYTES };
        messages[i].msg_hdr = (struct msghdr){ &from[i], sizeof from[i], &vectors[i], 1, control[i], sizeof control[i], 0 };
    }
    const int count = recvmmsg(udp, messages, MESSAGES, MSG_WAITFORONE, NULL);
    for (int i = 0; i < count; i++) {
        const size_t length = messages[i].msg_len, segment = segment_of(&messages[i].msg_hdr, length);
        for (size_t at = 0; at < length; at += segment) {
            const size_t bytes = length - at < segment ? length - at : segment;
            const size_t number = owner(received[i] + at, bytes, &from[i], config);
            if (number == CLIENTS) continue;
            quiche_recv_info info = { (struct sockaddr *)&from[i], sizeof from[i], (struct sockaddr *)&local, sizeof local };
            quiche_conn_recv(clients[number].quic, received[i] + at, bytes, &info);
            take(&clients[number]);
        }
    }
    for (size_t i = 0; i < client_count; i++) {
        if (quiche_conn_timeout_as_millis(clients[i].quic) == 0) quiche_conn_on_timeout(clients[i].quic);
        flush(clients[i].quic);
    }
}

int main(int count, char **words) {
    if (count != 4) {
        fprintf(stderr, "usage: relay CERT KEY CA\n");
        return 2;
    }
    quiche_config *config = configuration(words + 1);
    open_socket();
    printf("%d\n", ntohs(local.sin_port));
    fflush(stdout);
    for (;;) turn(config);
}
