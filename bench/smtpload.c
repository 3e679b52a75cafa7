/* smtpload - SMTP load generator: one thread, epoll, N parallel sessions.
 *
 * A 4xx after the final dot is counted (tempfail) and the message sent again; a connection that
 * the server ends early is counted (broken) and what is left of it goes to a new one.
 * Prints one JSON line: rate (accepted messages/s), transaction latency
 * (MAIL sent .. 250 after the final dot) p50/p99/max in ms, errors, and its
 * own CPU seconds (to see that the generator is not the bottleneck).
 *
 *   smtpload -p PORT [-h IP] [-c SESSIONS] [-n MESSAGES] [-k MSGS_PER_CONN]
 *            [-s BODY_BYTES] [-f SENDER] [-t RCPT] [-P]
 *   -P  pipeline MAIL+RCPT+DATA (default: one command per round trip)
 *
 * Build: cc -O2 -o smtpload smtpload.c
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum state { GREET, EHLO, MAIL, RCPT, DATA, BODY, QUIT };

struct sess {
    int fd, left;              /* left: messages still to send on this connection */
    enum state st;             /* what the next reply answers */
    int expect;                /* replies still expected before acting (pipelining) */
    const char *out; size_t outlen;
    char small[512];           /* command buffer */
    char in[4096]; size_t inlen;
    double t0;
    int code;                  /* worst reply code of the transaction */
};

static int port = 2525, nsess = 10, nmsg = 1000, perconn = 1, size = 1024, pipeline = 0;
static const char *host = "127.0.0.1", *sender = "", *rcpt = "user@bench.test";
static char *body; static size_t bodylen;
static int ep, started, done, failed, tempfail, conns, live, broken;
static double *lat;
static char firsterr[256];

static double now(void) {
    struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static int cmp(const void *a, const void *b) {
    double d = *(double *)a - *(double *)b; return d < 0 ? -1 : d > 0;
}

static void read_body(const char *path) {   /* -m: a whole message with CRLF, no line begins with a dot */
    FILE *file = fopen(path, "rb");
    if (!file) { perror(path); exit(2); }
    fseek(file, 0, SEEK_END); bodylen = ftell(file); rewind(file);
    body = malloc(bodylen + 3);
    if (fread(body, 1, bodylen, file) != bodylen) { perror(path); exit(2); }
    fclose(file);
    memcpy(body + bodylen, ".\r\n", 3); bodylen += 3;
}

static void make_body(void) {
    const char *line = "The quick brown fox jumps over the lazy dog, again and again, 0123456\r\n";
    size_t ll = strlen(line);
    body = malloc(size + 512);
    bodylen = sprintf(body, "From: <load@bench.example>\r\nTo: <%s>\r\nSubject: bench\r\n"
        "Date: Tue, 24 Nov 2026 07:00:00 +0000\r\nMessage-ID: <bench@bench.example>\r\n\r\n", rcpt);
    size_t end = bodylen + size;
    while (bodylen < end) {
        size_t n = end - bodylen;
        if (n >= ll) { memcpy(body + bodylen, line, ll); bodylen += ll; }
        else { while (n-- > 2) body[bodylen++] = 'x';
               memcpy(body + bodylen, "\r\n", 2); bodylen += 2; break; }
    }
    memcpy(body + bodylen, ".\r\n", 3); bodylen += 3;
}

static void flush(struct sess *s) {
    while (s->outlen) {
        ssize_t n = send(s->fd, s->out, s->outlen, MSG_NOSIGNAL);
        if (n < 0) {
            if (errno == EAGAIN) break;
            return;              /* the read side reports it */
        }
        s->out += n; s->outlen -= n;
    }
    struct epoll_event e = { .events = EPOLLIN | (s->outlen ? EPOLLOUT : 0), .data.ptr = s };
    if (s->outlen) epoll_ctl(ep, EPOLL_CTL_MOD, s->fd, &e);
}

static void say(struct sess *s, enum state st, const char *txt) {
    s->st = st; s->expect = 1;
    s->out = s->small; s->outlen = snprintf(s->small, sizeof s->small, "%s", txt);
    flush(s);
}

static int open_conn(struct sess *s) {
    int want = nmsg - started;
    if (want <= 0) return 0;
    s->left = want < perconn ? want : perconn;
    started += s->left;
    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    int one = 1; setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(port) };
    inet_pton(AF_INET, host, &a.sin_addr);
    if (connect(s->fd, (void *)&a, sizeof a) < 0 && errno != EINPROGRESS) { perror("connect"); exit(1); }
    s->st = GREET; s->expect = 1; s->inlen = 0; s->outlen = 0;
    struct epoll_event e = { .events = EPOLLIN, .data.ptr = s };
    epoll_ctl(ep, EPOLL_CTL_ADD, s->fd, &e);
    conns++; live++;
    return 1;
}

/* Messages left on a connection that the server ended go to a new one, within reason. */
static void shut(struct sess *s) {
    if (s->left && ++broken <= nmsg) started -= s->left;
    else failed += s->left;
    s->left = 0;
    close(s->fd); s->fd = -1; live--;
    open_conn(s);
}

static void start_msg(struct sess *s) {
    char b[512];
    if (!s->left) { say(s, QUIT, "QUIT\r\n"); return; }
    s->t0 = now(); s->code = 0;
    if (pipeline) {
        snprintf(b, sizeof b, "MAIL FROM:<%s>\r\nRCPT TO:<%s>\r\nDATA\r\n", sender, rcpt);
        say(s, DATA, b); s->expect = 3;
    } else {
        snprintf(b, sizeof b, "MAIL FROM:<%s>\r\n", sender);
        say(s, MAIL, b);
    }
}

/* One complete reply has arrived. */
static void reply(struct sess *s, int code, const char *line) {
    char b[256];
    if (code > s->code) s->code = code;
    if (code >= 400 && code < 500 && s->st == BODY) {   /* queue full: send it again */
        if (!firsterr[0]) snprintf(firsterr, sizeof firsterr, "%.*s", (int)strcspn(line, "\r\"\\"), line);
        tempfail++; start_msg(s); return;
    }
    if (code >= 400 && s->st != QUIT) {
        if (!firsterr[0]) snprintf(firsterr, sizeof firsterr, "%.*s", (int)strcspn(line, "\r\"\\"), line);
        shut(s); return;
    }
    if (--s->expect > 0) return;
    switch (s->st) {
    case GREET: say(s, EHLO, "EHLO load.bench.example\r\n"); break;
    case EHLO: start_msg(s); break;
    case MAIL: snprintf(b, sizeof b, "RCPT TO:<%s>\r\n", rcpt); say(s, RCPT, b); break;
    case RCPT: say(s, DATA, "DATA\r\n"); break;
    case DATA: s->st = BODY; s->expect = 1; s->out = body; s->outlen = bodylen; flush(s); break;
    case BODY: lat[done++] = now() - s->t0; s->left--; start_msg(s); break;
    case QUIT: shut(s); break;
    }
}

static void readable(struct sess *s) {
    ssize_t n = recv(s->fd, s->in + s->inlen, sizeof s->in - 1 - s->inlen, 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) { if (s->st != QUIT && !firsterr[0]) snprintf(firsterr, sizeof firsterr, "closed in state %d: %s", s->st, n ? strerror(errno) : "eof"); shut(s); return; }
    s->inlen += n; s->in[s->inlen] = 0;
    char *p = s->in, *e;
    int fd = s->fd;
    while ((e = memchr(p, '\n', s->in + s->inlen - p))) {
        char *line = p; p = e + 1;
        if (e - line >= 4 && line[3] == '-') continue;
        *e = 0;
        reply(s, atoi(line), line);
        if (s->fd != fd || s->inlen == 0) return;   /* connection was replaced */
    }
    s->inlen -= p - s->in; memmove(s->in, p, s->inlen);
}

int main(int argc, char **argv) {
    int o;
    while ((o = getopt(argc, argv, "h:p:c:n:k:s:f:t:m:P")) != -1) switch (o) {
        case 'h': host = optarg; break;   case 'p': port = atoi(optarg); break;
        case 'c': nsess = atoi(optarg); break; case 'n': nmsg = atoi(optarg); break;
        case 'k': perconn = atoi(optarg); break; case 's': size = atoi(optarg); break;
        case 'f': sender = optarg; break; case 't': rcpt = optarg; break;
        case 'm': read_body(optarg); break;
        case 'P': pipeline = 1; break;    default: return 2;
    }
    if (!body) make_body();
    lat = calloc(nmsg + 1, sizeof *lat);
    struct sess *ss = calloc(nsess, sizeof *ss);
    ep = epoll_create1(0);
    double t0 = now();
    for (int i = 0; i < nsess; i++) open_conn(&ss[i]);
    struct epoll_event ev[256];
    double last = now();
    while (live > 0) {
        int n = epoll_wait(ep, ev, 256, 1000);
        if (n == 0 && now() - last > 60) { snprintf(firsterr, sizeof firsterr, "stalled 60 s"); break; }
        if (n > 0) last = now();
        for (int i = 0; i < n; i++) {
            struct sess *s = ev[i].data.ptr;
            if (s->fd < 0) continue;
            if (ev[i].events & EPOLLOUT) {
                flush(s);
                if (!s->outlen) {
                    struct epoll_event e = { .events = EPOLLIN, .data.ptr = s };
                    epoll_ctl(ep, EPOLL_CTL_MOD, s->fd, &e);
                }
            }
            if (ev[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) readable(s);
        }
    }
    double wall = now() - t0;
    struct rusage ru; getrusage(RUSAGE_SELF, &ru);
    double cpu = ru.ru_utime.tv_sec + ru.ru_stime.tv_sec + (ru.ru_utime.tv_usec + ru.ru_stime.tv_usec) / 1e6;
    qsort(lat, done, sizeof *lat, cmp);
    printf("{\"ok\": %d, \"failed\": %d, \"tempfail\": %d, \"broken\": %d, \"conns\": %d, \"wall\": %.3f, \"rate\": %.1f, \"p50_ms\": %.2f, \"p99_ms\": %.2f, \"max_ms\": %.2f, \"gen_cpu\": %.3f, \"err\": \"%s\"}\n",
        done, failed, tempfail, broken, conns, wall, done / wall, done ? lat[done / 2] * 1e3 : 0,
        done ? lat[(int)(done * .99)] * 1e3 : 0, done ? lat[done - 1] * 1e3 : 0, cpu, firsterr);
    return failed != 0;
}
