/* The calls of a launcher that end as they should, without the interpreter.
 *
 * `prompt_serve` waits for requests, as `launcher.py` does, and runs each whose program starts, ends
 * by itself within a moment and writes little. Everything else it leaves to Python at the point that
 * it has come to, with the descriptors that are open and the process that runs: a request that is
 * refused or hard to read, a program that cannot be started (Python tries again and says why), one
 * that takes longer, writes more or leaves processes behind. So every rule about hooks stands in
 * Python, and this file says only what the ordinary call is; a hook cannot tell which of both ran
 * it.
 *
 * A process that serves has one thread, SIGPIPE ignored, and SIGCHLD and SIGTERM blocked; the second
 * is heard only while it waits for a request, so that none is lost between two waits. The library
 * needs no header of Python's: `prompt.py` loads it with ctypes, and has the same structure and
 * numbers. Packets are msgpack (`wire.py`).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "packets.h"
#include "turns.h"

#define FILES 3            /* descriptors with a request, at most: the answer's and the inputs */
#define LITTLE (16 * 1024) /* octets of stdout, and of stderr, that are sent from here */

/* Why `prompt_serve` has come back. Only from RUNNING on is there a process of the call. */
enum event {
    NOTHING,   /* internal: go on */
    IDLE,      /* no request for `idle_ms` */
    STOPPED,   /* SIGTERM waits for its handler */
    CLOSED,    /* nobody is left who could ask */
    REQUEST,   /* `packet` and `files` are to be served; nothing was started */
    RUNNING,   /* `pid` runs for longer than nearly all do */
    ENDED,     /* `pid` has ended with `status` and was waited for; its pipes were not read */
    LEFTOVERS, /* answered, but it has left processes */
};

struct launcher {
    /* set by Python, once */
    unsigned char *packet;  /* `packet_size` octets for a request */
    unsigned char *places;  /* one octet a place (`places.py`) */
    const char *pool;       /* identity of its settings, ended by a zero octet */
    int64_t packet_size;
    double moment, prompt;  /* seconds in which most programs end, and in which nearly all do */
    double counted_until;   /* CLOCK_MONOTONIC, after which Python sets RLIMIT_NPROC anew */
    int32_t requests, poller, null, bell;
    int32_t place_count, place, few;
    int32_t idle_ms, cpu_s, nice;
    /* a call that is handed over */
    int32_t pid, status, out, err;
    int32_t file_count, files[FILES];
    int32_t packet_length;
    double start;
};

enum place { PLACE_IDLE, PLACE_BUSY, PLACE_LONG, PLACE_EMPTY };

int64_t prompt_layout(void) { return (int64_t)sizeof(struct launcher); }

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static void set_place(struct launcher *self, enum place state)
{
    int busy = 0;
    bool has_idle = false, has_empty = false;
    self->places[self->place] = (unsigned char)state;
    if (state == PLACE_IDLE)
        return;
    for (int32_t i = 0; i < self->place_count; i++) {
        has_idle |= self->places[i] == PLACE_IDLE;
        has_empty |= self->places[i] == PLACE_EMPTY;
        busy += self->places[i] == PLACE_BUSY;
    }
    if (!has_idle && has_empty && busy < self->few && write(self->bell, "g", 1) < 0)
        return; /* full: it rings already */
}

/* Wait for a request, together with the pool's other launchers, and take it. */
static enum event next_request(struct launcher *self, const sigset_t *while_waiting)
{
    union {
        char octets[CMSG_SPACE(FILES * sizeof(int))];
        struct cmsghdr aligned;
    } control;
    struct iovec packet = {self->packet, (size_t)self->packet_size};
    struct msghdr message = {
        .msg_iov = &packet, .msg_iovlen = 1,
        .msg_control = control.octets, .msg_controllen = sizeof control.octets,
    };
    struct epoll_event ready;
    sigset_t pending;
    ssize_t length;
    /* A request that is there already comes before a signal, so that is looked for by itself. */
    if (sigpending(&pending) == 0 && sigismember(&pending, SIGTERM))
        return STOPPED;
    int count = epoll_pwait(self->poller, &ready, 1, self->idle_ms, while_waiting);
    if (count < 0)
        return STOPPED;
    if (count == 0)
        return IDLE;
    length = recvmsg(self->requests, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (length < 0)
        return errno == EAGAIN || errno == EINTR ? NOTHING : CLOSED;
    if (length == 0)
        return CLOSED;
    self->packet_length = (int32_t)length;
    self->file_count = 0;
    for (struct cmsghdr *each = CMSG_FIRSTHDR(&message); each; each = CMSG_NXTHDR(&message, each))
        if (each->cmsg_level == SOL_SOCKET && each->cmsg_type == SCM_RIGHTS) {
            size_t octets = each->cmsg_len - CMSG_LEN(0);
            self->file_count = (int32_t)(octets / sizeof(int));
            memcpy(self->files, CMSG_DATA(each), (size_t)self->file_count * sizeof(int));
        }
    return REQUEST;
}

/* -- the program */

/* A sealed file with these octets, as `input_file.py` makes it; -1: there is none to be had. */
static int memory_file(struct span octets)
{
    const int seals = F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL;
    int file = memfd_create("relevo-hook", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (file >= 0 && (pwrite(file, octets.start, octets.length, 0) != (ssize_t)octets.length ||
                      fcntl(file, F_ADD_SEALS, seals) < 0)) {
        close(file);
        return -1;
    }
    return file;
}

/* Become the program, in the child; comes back only when that cannot be. */
static void run(const struct launcher *self, const struct request *request, const int *inputs,
                int out, int err)
{
    static const int ignored[] = {SIGINT,  SIGHUP,  SIGUSR1, SIGPIPE, SIGXFSZ,
                                  SIGQUIT, SIGTERM, SIGTSTP, SIGTTIN, SIGTTOU};
    const struct sigaction usual = {.sa_handler = SIG_DFL};
    const struct rlimit cpu = {(rlim_t)self->cpu_s, (rlim_t)self->cpu_s};
    sigset_t none;
    sigemptyset(&none);
    if (setpgid(0, 0) < 0)
        return;
    setpriority(PRIO_PROCESS, 0, self->nice);
    if (self->cpu_s) /* of the program alone: the launcher lives long */
        setrlimit(RLIMIT_CPU, &cpu); /* fails where a lower one holds */
    if (dup2(inputs[0], 0) < 0 || dup2(request->is_v2 ? err : out, 1) < 0 || dup2(err, 2) < 0)
        return;
    if (request->is_v2 && (dup2(inputs[1], 3) < 0 || dup2(out, 4) < 0))
        return;
    for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++)
        sigaction(ignored[i], &usual, NULL);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execve(request->words[0], request->words, request->variables);
}

/* Process id of the program; -1: it cannot be started.
 *
 * Until its exec the child runs in our memory while we wait (vfork(2)): it copies nothing, changes
 * nothing that we look at but `has_failed`, and hears no signal before it has lost our handlers.
 */
static pid_t spawn(const struct launcher *self, const struct request *request, const int *inputs,
                   int out, int err)
{
    volatile bool has_failed = false;
    pid_t pid = vfork();
    if (pid == 0) {
        run(self, request, inputs, out, err);
        has_failed = true;
        _exit(127);
    }
    if (pid > 0 && has_failed) {
        waitpid(pid, NULL, 0);
        return -1;
    }
    return pid;
}

/* Start it; the reading ends of its pipes stay open. False: nothing was started or is open. */
static bool start(struct launcher *self, const struct request *request)
{
    int inputs[INPUTS], made[INPUTS], out[2], err[2], passed = 1;
    size_t made_count = 0;
    bool is_started = false;
    for (size_t i = 0; i < request->input_count; i++) {
        if (!request->inputs[i].start) {
            if (passed == self->file_count)
                goto end;
            inputs[i] = self->files[passed++];
        } else if (!request->inputs[i].length) {
            inputs[i] = self->null;
        } else {
            inputs[i] = memory_file(request->inputs[i]);
            if (inputs[i] < 0)
                goto end;
            made[made_count++] = inputs[i];
        }
    }
    if (pipe2(out, O_CLOEXEC) < 0)
        goto end;
    if (pipe2(err, O_CLOEXEC) < 0)
        goto end_out;
    self->pid = spawn(self, request, inputs, out[1], err[1]);
    is_started = self->pid > 0;
    close(err[1]);
    if (is_started) {
        self->out = out[0];
        self->err = err[0];
    } else {
        close(err[0]);
    }
end_out:
    close(out[1]);
    if (!is_started)
        close(out[0]);
end:
    while (made_count)
        close(made[--made_count]);
    return is_started;
}

/* Wait for nothing but its end: what most programs write fits the pipes. */
static bool ends_until(struct launcher *self, double deadline)
{
    sigset_t end_of_child;
    double left;
    sigemptyset(&end_of_child);
    sigaddset(&end_of_child, SIGCHLD);
    while ((left = deadline - now()) > 0) {
        struct timespec patience = {(time_t)left, (long)((left - (double)(time_t)left) * 1e9)};
        sigtimedwait(&end_of_child, NULL, &patience);
        if (waitpid(self->pid, &self->status, WNOHANG) == self->pid)
            return true;
    }
    return false;
}

/* -- reports */

/* What is in a pipe, at most LITTLE of it, as octets of msgpack. */
static unsigned char *put_pipe(unsigned char *at, int pipe)
{
    int there = 0;
    unsigned char *octets = put_number(at, 0xc5, 2, 0);
    ssize_t length = 0;
    if (ioctl(pipe, FIONREAD, &there) == 0 && there > 0) /* else a read would wait */
        length = read(pipe, octets, there > LITTLE ? LITTLE : (size_t)there);
    put_number(at, 0xc5, 2, length < 0 ? 0 : (uint64_t)length);
    return octets + (length < 0 ? 0 : length);
}

/* Tell the caller how it ended, and what it wrote; false: that is more than is sent from here. */
static bool report(const struct launcher *self, const struct request *request)
{
    static unsigned char octets[2 * LITTLE + 64];
    const bool has_exited = WIFEXITED(self->status);
    const char *how = has_exited ? "\xa6" "exited" : "\xa9" "signalled";
    int there = 0, code = has_exited ? WEXITSTATUS(self->status) : WTERMSIG(self->status);
    unsigned char *at = octets;
    uint64_t bits;
    if (ioctl(self->out, FIONREAD, &there) < 0 || there > LITTLE ||
        (uint64_t)there > request->max_output)
        return false;
    *at++ = 0x96;
    memcpy(at, how, strlen(how));
    at = put_number(at + strlen(how), 0xcc, 1, (uint64_t)code);
    at = put_pipe(put_pipe(at, self->out), self->err); /* of stderr no more is kept */
    double seconds = now() - self->start;
    memcpy(&bits, &seconds, sizeof bits);
    at = put_number(at, 0xcb, 8, bits);
    *at++ = 0xa0; /* no detail */
    send(self->files[0], octets, (size_t)(at - octets), MSG_NOSIGNAL); /* or the caller has gone */
    return true;
}

/* Wait for its end, with what `running_call.py` does meanwhile. False: it goes on there. */
static bool ends(struct launcher *self, const struct request *request)
{
    double prompt = self->start + (request->timeout < self->prompt ? request->timeout : self->prompt);
    double moment = self->start + self->moment;
    if (ends_until(self, moment < prompt ? moment : prompt))
        return true;
    set_place(self, PLACE_LONG);
    be_urgent();
    return ends_until(self, prompt);
}

static bool has_hung_up(int answer)
{
    struct pollfd caller = {.fd = answer};
    return poll(&caller, 1, 0) != 0;
}

/* Serve the request that was taken, as far as it is an ordinary one. */
static enum event serve(struct launcher *self)
{
    static struct request request;
    self->start = now();
    if (self->counted_until < self->start || !self->file_count || 
        !read_request(self->packet, (size_t)self->packet_length, &request))
        return REQUEST;
    double waited = self->start - request.sent;
    if (request.pool.length != strlen(self->pool) ||
        memcmp(request.pool.start, self->pool, request.pool.length) != 0 ||
        waited > request.patience || (waited > self->prompt && has_hung_up(self->files[0])) ||
        !start(self, &request))
        return REQUEST;
    if (!ends(self, &request))
        return RUNNING;
    if (!report(self, &request))
        return ENDED;
    close(self->out);
    close(self->err);
    while (self->file_count)
        close(self->files[--self->file_count]);
    if (waitpid(-1, &self->status, WNOHANG) >= 0 || errno != ECHILD)
        return LEFTOVERS;
    if (self->places[self->place] == PLACE_LONG)
        be_patient();
    set_place(self, PLACE_IDLE);
    return NOTHING;
}

/* Serve ordinary calls until something else is to be done: an `event`. */
int prompt_serve(struct launcher *self)
{
    sigset_t while_waiting;
    enum event event;
    pthread_sigmask(SIG_BLOCK, NULL, &while_waiting);
    sigdelset(&while_waiting, SIGTERM);
    do {
        event = next_request(self, &while_waiting);
        if (event == REQUEST) {
            set_place(self, PLACE_BUSY);
            event = serve(self);
        }
    } while (event == NOTHING);
    return (int)event;
}
