// streams: clients that stay. Opens COUNT connections through the proxy, says {"open":N} when each has had what it came for,
// and then, by mode:
//   sse   from the line that it reads on its input, for SECONDS: counts events and how long each took from the origin's send to
//         here; prints {"events","streams","p50_us","p99_us","max_us"}
//   idle  one request each, done; holds the connections until its input ends
//   slow  reads a large body at BYTES_PER_SECOND each, through a small receive buffer, until its input ends
// At the end it says {"alive":N}: the connections that are still there.
// Usage: streams MODE PORT COUNT PATH SECONDS|BYTES_PER_SECOND
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum mode { SSE, IDLE, SLOW };
enum chunk { HEAD, SIZE, SIZE_LF, DATA, DATA_END };
struct peer {
    int fd, ready, dead;
    enum chunk state;
    size_t ends, left;        // how much of the empty line was seen; bytes left of a chunk
    size_t mark, digits;      // how much of "data: " and of the stamp was seen
    uint64_t stamp;
};

static enum mode mode;
static struct peer *peers;
static int count, open_count, ep, counting;
static uint32_t *took;
static size_t events, room;

static void die(const char *what) {
    perror(what);
    exit(1);
}

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void record(uint64_t sent) {
    if (!counting) return;
    uint64_t t = now();
    if (events == room && !(took = realloc(took, (room = room ? room * 2 : 65536) * sizeof *took))) die("realloc");
    took[events++] = (uint32_t)(t > sent ? (t - sent) / 1000 : 0);
}

static void ready(struct peer *p) {
    if (!p->ready) {
        p->ready = 1;
        open_count++;
    }
}

// One byte of the event stream itself.
static void text(struct peer *p, char c) {
    static const char mark[] = "data: ";
    if (p->mark < sizeof mark - 1) {
        p->mark = c == mark[p->mark] ? p->mark + 1 : (c == mark[0]);
        p->digits = p->stamp = 0;
    } else if (c >= '0' && c <= '9') {
        p->stamp = p->stamp * 10 + (uint64_t)(c - '0');
        p->digits++;
    } else {
        p->mark = 0;
        if (p->digits != 20) return;
        ready(p);
        record(p->stamp);
    }
}

// One byte of the answer: head, then chunks.
static void byte(struct peer *p, char c) {
    static const char empty_line[] = "\r\n\r\n";
    switch (p->state) {
    case HEAD:
        p->ends = c == empty_line[p->ends] ? p->ends + 1 : (c == '\r');
        if (p->ends == 4) p->state = SIZE;
        break;
    case SIZE:
        if (c == '\r') p->state = SIZE_LF;
        else p->left = p->left * 16 + (size_t)(c <= '9' ? c - '0' : (c | 32) - 'a' + 10);
        break;
    case SIZE_LF: p->state = DATA; break;
    case DATA:
        text(p, c);
        if (--p->left == 0) p->state = DATA_END;
        break;
    case DATA_END:
        if (c == '\n') p->state = SIZE;
        break;
    }
}

static void lost(struct peer *p) {
    p->dead = 1;
    epoll_ctl(ep, EPOLL_CTL_DEL, p->fd, NULL);
    close(p->fd);
}

static void hear(struct peer *p, size_t at_most) {
    static char buffer[65536];
    ssize_t n = recv(p->fd, buffer, at_most < sizeof buffer ? at_most : sizeof buffer, 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) {
        lost(p);
        return;
    }
    if (mode != SSE) ready(p);
    else
        for (ssize_t i = 0; i < n; i++) byte(p, buffer[i]);
}

static void dial(struct peer *p, int port, const char *path) {
    struct sockaddr_in there = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    char request[512];
    int size = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: compare.test\r\nAccept: */*\r\n\r\n", path);
    int buffer = 16384;
    p->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (mode == SLOW) setsockopt(p->fd, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
    if (p->fd < 0 || connect(p->fd, (struct sockaddr *)&there, sizeof there)) die("connect");
    if (send(p->fd, request, (size_t)size, MSG_NOSIGNAL) != size) die("send");
    fcntl(p->fd, F_SETFL, O_NONBLOCK);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = p};
    epoll_ctl(ep, EPOLL_CTL_ADD, p->fd, &e);
}

// Handles what has arrived; a slow reader's socket is looked at by the clock instead. Returns whether the input spoke.
static int turn(int wait_ms) {
    struct epoll_event got[256];
    int spoke = 0, n = epoll_wait(ep, got, 256, wait_ms);
    for (int i = 0; i < n; i++) {
        if (!got[i].data.ptr) spoke = 1;
        else hear(got[i].data.ptr, 65536);
    }
    return spoke;
}

static int by_size(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void measure(double seconds) {
    uint64_t end = now() + (uint64_t)(seconds * 1e9);
    counting = 1;
    while (now() < end) turn(1);
    counting = 0;
    int alive = 0;
    for (int i = 0; i < count; i++) alive += !peers[i].dead;
    if (!events) {
        printf("{\"events\":0,\"streams\":%d}\n", alive);
        return;
    }
    qsort(took, events, sizeof *took, by_size);
    printf("{\"events\":%zu,\"streams\":%d,\"p50_us\":%u,\"p99_us\":%u,\"max_us\":%u}\n", events, alive, took[events / 2],
           took[events * 99 / 100], took[events - 1]);
    fflush(stdout);
}

// Every tenth of a second each takes its share.
static void trickle(size_t per_second) {
    struct timespec tenth = {.tv_nsec = 100000000};
    for (int i = 0; i < count; i++) epoll_ctl(ep, EPOLL_CTL_DEL, peers[i].fd, NULL);
    while (!turn(0)) {
        for (int i = 0; i < count; i++)
            if (!peers[i].dead) hear(&peers[i], per_second / 10);
        nanosleep(&tenth, NULL);
    }
}

int main(int argc, char **argv) {
    if (argc != 6) return 2;
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    signal(SIGPIPE, SIG_IGN);
    mode = !strcmp(argv[1], "sse") ? SSE : !strcmp(argv[1], "idle") ? IDLE : SLOW;
    count = atoi(argv[3]);
    peers = calloc((size_t)count, sizeof *peers);
    ep = epoll_create1(0);
    for (int i = 0; i < count; i++) {
        dial(&peers[i], atoi(argv[2]), argv[4]);
        while (mode == IDLE && !peers[i].ready && !peers[i].dead) turn(1000); // one after another: no burst to remember
        if (mode == SSE) turn(0);
    }
    uint64_t patience = now() + 20000000000u;
    while (open_count < count && now() < patience) turn(100);
    printf("{\"open\":%d}\n", open_count);
    fflush(stdout);
    struct epoll_event in = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(ep, EPOLL_CTL_ADD, STDIN_FILENO, &in);
    if (mode == SLOW) trickle(strtoull(argv[5], NULL, 10));
    else
        while (!turn(1000)) {}
    if (mode == SSE) {
        epoll_ctl(ep, EPOLL_CTL_DEL, STDIN_FILENO, NULL);
        measure(atof(argv[5]));
        return 0;
    }
    int alive = 0;
    for (int i = 0; i < count; i++) alive += !peers[i].dead;
    printf("{\"alive\":%d}\n", alive);
    return 0;
}
