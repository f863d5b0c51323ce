// origin: the upstream of the comparison. One thread, epoll, next to no work per answer, so that the proxy in front of it is
// what a run measures. The body of a POST is thrown away unread by us, then answered like anything else. The end of the path says what to answer, so that any route prefix may stand before it:
//   …/b/N                 N bytes with a Content-Length, by sendfile
//   …/sse/MICROS/BYTES    an endless event stream: an event of BYTES every MICROS, stamped with CLOCK_MONOTONIC at its send
//   anything else         200 bytes of JSON
// Usage: origin PORT MAX_BODY
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

struct peer {
    int fd;
    size_t have;             // bytes of the request head so far
    off_t at;                // of the body
    size_t left;             // of the body
    size_t upload;           // bytes of the request's body that are still to come
    uint64_t due, interval;  // of the event stream; interval 0: none
    size_t event;            // bytes of one event
    struct peer *before, *after; // in the order of `due`
    char head[4096];
};

static int ep, timer, file;
static size_t file_size;
static struct peer *first, *last; // event streams, the next to send first
static char small[512];
static size_t small_size;

static void die(const char *what) {
    perror(what);
    exit(1);
}

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void leave(struct peer *p) {
    if (!p->interval) return;
    *(p->before ? &p->before->after : &first) = p->after;
    *(p->after ? &p->after->before : &last) = p->before;
    p->before = p->after = NULL;
}

// Streams have one pace in a run, so the right place is nearly always the end.
static void join(struct peer *p) {
    struct peer *q = last;
    while (q && q->due > p->due) q = q->before;
    p->before = q;
    p->after = q ? q->after : first;
    *(p->after ? &p->after->before : &last) = p;
    *(q ? &q->after : &first) = p;
}

static void drop(struct peer *p) {
    leave(p);
    close(p->fd);
    free(p);
}

static void wait_for(struct peer *p, uint32_t events) {
    struct epoll_event e = {.events = events, .data.ptr = p};
    epoll_ctl(ep, EPOLL_CTL_MOD, p->fd, &e);
}

// What is sent here is small and the socket empty: a short write means that the other side is not what it should be.
static int say(struct peer *p, const char *text, size_t size, int flags) {
    return send(p->fd, text, size, MSG_NOSIGNAL | flags) == (ssize_t)size ? 0 : -1;
}

static int body(struct peer *p) {
    while (p->left) {
        ssize_t n = sendfile(p->fd, file, &p->at, p->left);
        if (n < 0 && errno == EAGAIN) {
            wait_for(p, EPOLLOUT);
            return 0;
        }
        if (n <= 0) return -1;
        p->left -= (size_t)n;
    }
    wait_for(p, EPOLLIN | EPOLLRDHUP);
    return 0;
}

static int event(struct peer *p) {
    char text[8300];
    int n = sprintf(text, "%zx\r\ndata: %020llu ", p->event, (unsigned long long)now());
    size_t head = (size_t)n - 27; // the digits of the size and their line end
    size_t size = head + p->event;
    memset(text + n, 'x', size - (size_t)n);
    memcpy(text + size - 2, "\n\n\r\n", 4);
    return say(p, text, size + 2, 0);
}

static int stream(struct peer *p, const char *spec) {
    unsigned long long micros = 0;
    if (sscanf(spec, "%llu/%zu", &micros, &p->event) != 2 || !micros || p->event < 40 || p->event > 8192) return -1;
    static const char head[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n"
                               "Transfer-Encoding: chunked\r\n\r\n";
    p->interval = micros * 1000;
    p->due = now() + p->interval;
    join(p);
    return say(p, head, sizeof head - 1, 0);
}

static int answer(struct peer *p) {
    char *end = strchr(p->head, '\r'), *what, text[256];
    *end = 0;
    p->have = 0;
    if ((what = strstr(p->head, "/sse/"))) return stream(p, what + 5);
    if (!(what = strstr(p->head, "/b/"))) return say(p, small, small_size, 0);
    p->left = strtoull(what + 3, NULL, 10);
    p->at = 0;
    if (!p->left || p->left > file_size) return -1;
    int n = sprintf(text, "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: %zu\r\n\r\n", p->left);
    return say(p, text, (size_t)n, MSG_MORE) ? -1 : body(p);
}

// The kernel drops what is asked for with MSG_TRUNC: an upload costs the origin no copy.
static int swallow(struct peer *p) {
    while (p->upload) {
        ssize_t n = recv(p->fd, NULL, p->upload, MSG_TRUNC);
        if (n < 0 && errno == EAGAIN) return 0;
        if (n <= 0) return -1;
        p->upload -= (size_t)n;
    }
    return say(p, small, small_size, 0);
}

static int hear(struct peer *p) {
    if (p->upload) return swallow(p);
    ssize_t n = recv(p->fd, p->head + p->have, sizeof p->head - 1 - p->have, 0);
    if (n < 0 && errno == EAGAIN) return 0;
    if (n <= 0) return -1;
    p->have += (size_t)n;
    p->head[p->have] = 0;
    char *end = strstr(p->head, "\r\n\r\n");
    if (!end) return p->have < sizeof p->head - 1 ? 0 : -1;
    if (memcmp(p->head, "POST ", 5)) return answer(p);
    char *length = strcasestr(p->head, "\r\ncontent-length:");
    if (!length || length > end) return -1;
    size_t along = p->have - (size_t)(end + 4 - p->head), whole = strtoull(length + 17, NULL, 10);
    if (along > whole) return -1;
    p->have = 0;
    p->upload = whole - along;
    return swallow(p);
}

static void welcome(int listener) {
    int fd, one = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        struct peer *p = calloc(1, sizeof *p);
        if (!p) die("calloc");
        p->fd = fd;
        struct epoll_event e = {.events = EPOLLIN | EPOLLRDHUP, .data.ptr = p};
        epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
    }
}

static void tick(void) {
    uint64_t expired;
    if (read(timer, &expired, sizeof expired) < 0) return;
    for (struct peer *p; (p = first) && p->due <= now();) {
        if (event(p)) {
            drop(p);
            continue;
        }
        leave(p);
        p->due += p->interval;
        join(p);
    }
}

static void set_timer(void) {
    struct itimerspec t = {0};
    if (first) {
        uint64_t due = first->due ? first->due : 1;
        t.it_value.tv_sec = (time_t)(due / 1000000000u);
        t.it_value.tv_nsec = (long)(due % 1000000000u);
    }
    timerfd_settime(timer, TFD_TIMER_ABSTIME, &t, NULL);
}

static void prepare(size_t body_max) {
    char filler[200];
    memset(filler, 'x', sizeof filler);
    small_size = (size_t)sprintf(small, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 200\r\n\r\n"
                                        "{\"data\":\"%.*s\"}\n", 188, filler);
    file = memfd_create("body", 0);
    file_size = body_max;
    if (file < 0 || ftruncate(file, (off_t)file_size) < 0) die("memfd");
    // Written once, so that sending it touches real pages.
    char *pages = mmap(NULL, file_size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (pages == MAP_FAILED) die("mmap");
    memset(pages, 'y', file_size);
    munmap(pages, file_size);
}

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    signal(SIGPIPE, SIG_IGN);
    prepare(strtoull(argv[2], NULL, 10));
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&here, sizeof here) || listen(listener, 8192)) die("listen");
    ep = epoll_create1(0);
    timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    struct epoll_event l = {.events = EPOLLIN, .data.ptr = &listener}, t = {.events = EPOLLIN, .data.ptr = &timer}, got[256];
    epoll_ctl(ep, EPOLL_CTL_ADD, listener, &l);
    epoll_ctl(ep, EPOLL_CTL_ADD, timer, &t);
    for (;;) {
        set_timer();
        int n = epoll_wait(ep, got, 256, -1), ticked = 0;
        for (int i = 0; i < n; i++) {
            if (got[i].data.ptr == &listener) welcome(listener);
            else if (got[i].data.ptr == &timer) ticked = 1;
            else {
                struct peer *p = got[i].data.ptr;
                if (got[i].events & (EPOLLERR | EPOLLHUP | EPOLLRDHUP)) drop(p);
                else if (p->left ? body(p) : hear(p)) drop(p);
            }
        }
        if (ticked) tick(); // last: it may drop a peer that `got` still names
    }
}
