/* Makes calls fail, wait or do less than asked, and moves the wall clock, as a board tells that the
 * test writes to while the program runs. Loaded by LD_PRELOAD.
 *
 *   FAULT_BOARD  a file of the size of struct board (below), mapped shared by every process
 *
 * A rule holds for calls of its operations on files whose path contains its text. It applies `left`
 * times (-1: always) over all processes and counts how often it did. Paths are read from
 * /proc/self/fd; a rename has the path of its new name as it was given.
 *
 * A wait ends early when the rule is turned off. What a rule does not change goes to the kernel.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum operation { WRITE = 1, SYNC = 2, OPEN = 4, READ = 8, RENAME = 16 };

#define RULES 8
#define TEXT 88

struct rule {
    uint32_t is_on, operations, error, delay_ms, is_short, reserved;
    int64_t left;
    uint64_t hits;
    char text[TEXT];
};

struct board {
    int64_t clock_ns; /* added to the wall clock */
    struct rule rules[RULES];
};

static struct board *board;

_Static_assert(sizeof(struct rule) == 128, "as in board.py");
_Static_assert(sizeof(long) == 8, "for 64-bit machines");

__attribute__((constructor)) static void start(void) {
    const char *path = getenv("FAULT_BOARD");
    if (!path) return;
    int fd = syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
    if (fd < 0) abort();
    void *found = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    syscall(SYS_close, fd);
    if (found == MAP_FAILED) abort();
    board = found;
}

/* ---- rules */

static int take(struct rule *rule) {
    int64_t left = __atomic_load_n(&rule->left, __ATOMIC_SEQ_CST);
    while (left > 0) {
        if (__atomic_compare_exchange_n(&rule->left, &left, left - 1, 0, __ATOMIC_SEQ_CST,
                                        __ATOMIC_SEQ_CST))
            break;
    }
    if (left == 0) return 0;
    __atomic_add_fetch(&rule->hits, 1, __ATOMIC_SEQ_CST);
    return 1;
}

static void wait_for(struct rule *rule) {
    for (uint32_t waited = 0; waited < rule->delay_ms; waited += 10) {
        struct timespec piece = { 0, 10 * 1000 * 1000 };
        if (!__atomic_load_n(&rule->is_on, __ATOMIC_SEQ_CST)) return;
        syscall(SYS_nanosleep, &piece, NULL);
    }
}

/* 0: go on; 1: do less than asked; -1: fail, errno is set. */
static int judge(enum operation operation, const char *path) {
    int verdict = 0;
    for (int i = 0; i < RULES; i++) {
        struct rule *rule = &board->rules[i];
        if (!__atomic_load_n(&rule->is_on, __ATOMIC_SEQ_CST)) continue;
        if (!(rule->operations & operation) || !strstr(path, rule->text) || !take(rule)) continue;
        wait_for(rule);
        if (rule->error) {
            errno = rule->error;
            return -1;
        }
        if (rule->is_short) verdict = 1;
    }
    return verdict;
}

static int is_watched(enum operation operation) {
    if (!board) return 0;
    for (int i = 0; i < RULES; i++)
        if (__atomic_load_n(&board->rules[i].is_on, __ATOMIC_SEQ_CST) &&
            (board->rules[i].operations & operation))
            return 1;
    return 0;
}

static int judge_fd(enum operation operation, int fd) {
    if (!is_watched(operation)) return 0;
    int saved = errno;
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    errno = saved;
    if (length <= 0) return 0;
    path[length] = 0;
    return judge(operation, path);
}

static int judge_name(enum operation operation, int dir_fd, const char *name) {
    if (!is_watched(operation) || !name) return 0;
    char path[2 * PATH_MAX] = "";
    if (name[0] != '/' && dir_fd != AT_FDCWD) {
        int saved = errno;
        char link[64];
        snprintf(link, sizeof link, "/proc/self/fd/%d", dir_fd);
        ssize_t length = readlink(link, path, PATH_MAX - 1);
        path[length > 0 ? length : 0] = 0;
        strcat(path, "/");
        errno = saved;
    }
    strncat(path, name, PATH_MAX - 1);
    return judge(operation, path);
}

/* ---- writing and reading */

static size_t half(size_t length) { return length > 1 ? length / 2 : length; }

ssize_t write(int fd, const void *data, size_t length) {
    int verdict = judge_fd(WRITE, fd);
    if (verdict < 0) return -1;
    return syscall(SYS_write, fd, data, verdict ? half(length) : length);
}
ssize_t pwrite64(int fd, const void *data, size_t length, off64_t offset) {
    int verdict = judge_fd(WRITE, fd);
    if (verdict < 0) return -1;
    return syscall(SYS_pwrite64, fd, data, verdict ? half(length) : length, offset);
}
ssize_t pwrite(int fd, const void *data, size_t length, off_t offset) {
    return pwrite64(fd, data, length, offset);
}
ssize_t writev(int fd, const struct iovec *parts, int count) {
    int verdict = judge_fd(WRITE, fd);
    if (verdict < 0) return -1;
    if (verdict && count > 0)
        return syscall(SYS_write, fd, parts->iov_base, half(parts->iov_len));
    return syscall(SYS_writev, fd, parts, count);
}
ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t offset) {
    int verdict = judge_fd(WRITE, fd);
    if (verdict < 0) return -1;
    if (verdict && count > 0)
        return syscall(SYS_pwrite64, fd, parts->iov_base, half(parts->iov_len), offset);
    return syscall(SYS_pwritev, fd, parts, count, offset, 0L);
}
ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset) {
    return pwritev64(fd, parts, count, offset);
}
ssize_t pwritev64v2(int fd, const struct iovec *parts, int count, off64_t offset, int flags) {
    if (flags) abort(); /* nobody does it */
    return offset == -1 ? writev(fd, parts, count) : pwritev64(fd, parts, count, offset);
}
ssize_t pwritev2(int fd, const struct iovec *parts, int count, off_t offset, int flags) {
    return pwritev64v2(fd, parts, count, offset, flags);
}
ssize_t read(int fd, void *data, size_t length) {
    int verdict = judge_fd(READ, fd);
    if (verdict < 0) return -1;
    return syscall(SYS_read, fd, data, verdict ? half(length) : length);
}
ssize_t pread64(int fd, void *data, size_t length, off64_t offset) {
    int verdict = judge_fd(READ, fd);
    if (verdict < 0) return -1;
    return syscall(SYS_pread64, fd, data, verdict ? half(length) : length, offset);
}
ssize_t pread(int fd, void *data, size_t length, off_t offset) {
    return pread64(fd, data, length, offset);
}

/* ---- syncs */

int fsync(int fd) { return judge_fd(SYNC, fd) < 0 ? -1 : syscall(SYS_fsync, fd); }
int fdatasync(int fd) { return judge_fd(SYNC, fd) < 0 ? -1 : syscall(SYS_fdatasync, fd); }

/* ---- names */

static int on_open(int dir_fd, const char *path, int flags, mode_t mode) {
    if (judge_name(OPEN, dir_fd, path) < 0) return -1;
    return syscall(SYS_openat, dir_fd, path, flags, mode);
}
#define MODE_OF(flags)                                                     \
    mode_t mode = 0;                                                       \
    if ((flags) & (O_CREAT | O_TMPFILE)) {                                 \
        va_list list;                                                      \
        va_start(list, flags);                                             \
        mode = va_arg(list, mode_t);                                       \
        va_end(list);                                                      \
    }
int open(const char *path, int flags, ...) {
    MODE_OF(flags)
    return on_open(AT_FDCWD, path, flags, mode);
}
int open64(const char *path, int flags, ...) {
    MODE_OF(flags)
    return on_open(AT_FDCWD, path, flags, mode);
}
int openat(int dir_fd, const char *path, int flags, ...) {
    MODE_OF(flags)
    return on_open(dir_fd, path, flags, mode);
}
int openat64(int dir_fd, const char *path, int flags, ...) {
    MODE_OF(flags)
    return on_open(dir_fd, path, flags, mode);
}

int renameat(int old_fd, const char *old, int new_fd, const char *new) {
    if (judge_name(RENAME, new_fd, new) < 0) return -1;
    return syscall(SYS_renameat, old_fd, old, new_fd, new);
}
int rename(const char *old, const char *new) {
    return renameat(AT_FDCWD, old, AT_FDCWD, new);
}

/* ---- the wall clock */

static int is_wall(clockid_t clock) {
    return clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE;
}
int clock_gettime(clockid_t clock, struct timespec *out) {
    int result = syscall(SYS_clock_gettime, clock, out);
    if (!result && board && is_wall(clock)) {
        int64_t moved = __atomic_load_n(&board->clock_ns, __ATOMIC_SEQ_CST);
        int64_t total = out->tv_sec * 1000000000LL + out->tv_nsec + moved;
        out->tv_sec = total / 1000000000LL;
        out->tv_nsec = total % 1000000000LL;
    }
    return result;
}
int gettimeofday(struct timeval *restrict out, void *restrict zone) {
    struct timespec now;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &now)) return -1;
    out->tv_sec = now.tv_sec;
    out->tv_usec = now.tv_nsec / 1000;
    return 0;
}
time_t time(time_t *out) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out) *out = now.tv_sec;
    return now.tv_sec;
}
