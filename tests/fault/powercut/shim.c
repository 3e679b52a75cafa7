/* Records what a program does to files below given folders, and what it sends over sockets, with
 * content and in one order over all its processes and threads. Loaded by LD_PRELOAD.
 *
 *   CUT_LOG    the record, a file that exists
 *   CUT_ROOTS  absolute folders, divided by ':'
 *   CUT_FAIL   if set: TEXT=N,TEXT=N...; of the syncs that a process asks for, each N-th of a path
 *              that contains TEXT fails with EIO and syncs nothing, as when a page could not be
 *              written and the kernel forgets about it
 *
 * Order. Each record is one writev() to a file opened with O_APPEND, which the kernel makes atomic.
 * A change (write, truncate, rename, ...) is recorded after it happened and before the call
 * returns; a sync has two records, one before it begins and one when it has returned 0; octets sent
 * over a socket are recorded before they are sent. So whatever the program did before a call stands
 * before that call's record, a sync covers at most what really happened before it, and a reply
 * never stands behind anything that happened after it: each doubt makes the recorded disk worse
 * than the real one.
 *
 * No state is kept but the log's descriptor: a file is named by its inode, and whether a descriptor
 * belongs to a root is read from /proc/self/fd at each call. Python's signal handlers write to a
 * socket on the small stack that faulthandler allots (16 KiB, from the heap, without a guard): no
 * call of one buffer may need more than half of it.
 *
 * A record is a struct record (below), then `length` octets.
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
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum kind {
    WRITE = 1,   /* inode, offset, octets */
    ZEROS,       /* inode, offset, extra = how many zero octets were written */
    TRUNCATE,    /* inode, offset = new size */
    ALLOCATE,    /* inode, offset = size at least */
    CREATE,      /* inode; octets: directory inode in `extra`, name */
    MAKEDIR,     /* the same for a directory */
    LINK,        /* the same for a further name */
    UNLINK,      /* extra = directory, name */
    RENAME,      /* inode; extra = old directory, offset = new directory; "old\0new" */
    SYNC_BEGIN,  /* inode; offset = process and thread, to find the other record */
    SYNC_END,
    SENT,        /* octets to a socket */
    ROOT,        /* inode of a root; its path. Written by each process that starts. */
    SYNC_FAILED  /* inode: what was written before is never going to be on the disk */
};

struct record {
    uint32_t magic, kind, length, reserved;
    uint64_t inode, offset, extra;
};
#define MAGIC 0x54554352u
#define MOST_SENT 4096
#define MOST_BUFFERS 1024

static int log_fd = -1;
static void read_failures(const char *list);
static char roots[8][PATH_MAX];
static int root_count;

_Static_assert(sizeof(long) == 8, "for 64-bit machines");

/* ---- the record */

static void record(enum kind kind, uint64_t inode, uint64_t offset, uint64_t extra,
                   const struct iovec *parts, int count) {
    if (count > MOST_BUFFERS) abort();
    struct iovec all[count + 1];
    struct record head = { MAGIC, kind, 0, 0, inode, offset, extra };
    int saved = errno;
    all[0].iov_base = &head;
    all[0].iov_len = sizeof head;
    size_t total = sizeof head;
    for (int i = 0; i < count; i++) {
        all[i + 1] = parts[i];
        total += parts[i].iov_len;
    }
    head.length = total - sizeof head;
    /* a record cut short would make the rest unreadable: better no program than a wrong record */
    if (syscall(SYS_writev, log_fd, all, count + 1) != (long)total) abort();
    errno = saved;
}

static void record_name(enum kind kind, uint64_t inode, uint64_t offset, uint64_t extra,
                        const char *name, size_t length) {
    struct iovec part = { (void *)name, length };
    record(kind, inode, offset, extra, &part, 1);
}

static int is_below(const char *path) {
    for (int i = 0; i < root_count; i++) {
        size_t length = strlen(roots[i]);
        if (!strncmp(path, roots[i], length) && (path[length] == '/' || !path[length])) return 1;
    }
    return 0;
}

__attribute__((constructor)) static void start(void) {
    const char *log = getenv("CUT_LOG"), *list = getenv("CUT_ROOTS");
    if (!log || !list) return;
    int fd = syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_APPEND | O_CLOEXEC, 0);
    if (fd < 0) abort();
    log_fd = fcntl(fd, F_DUPFD_CLOEXEC, 900);
    close(fd);
    if (log_fd < 0) abort();
    read_failures(getenv("CUT_FAIL"));
    for (const char *at = list; *at && root_count < 8;) {
        size_t length = strcspn(at, ":");
        memcpy(roots[root_count], at, length);
        roots[root_count][length] = 0;
        struct stat status;
        if (stat(roots[root_count], &status)) abort();
        record_name(ROOT, status.st_ino, 0, 0, roots[root_count], length);
        root_count++;
        at += length + (at[length] == ':');
    }
}

/* ---- what a descriptor or a name is */

enum subject { NONE, FILE_BELOW, DIR_BELOW, SOCKET };

static enum subject subject_of(int fd, uint64_t *inode) {
    if (log_fd < 0) return NONE;
    int saved = errno;
    enum subject found = NONE;
    struct stat status;
    if (!fstat(fd, &status)) {
        if (S_ISSOCK(status.st_mode)) {
            found = SOCKET;
        } else if (S_ISREG(status.st_mode) || S_ISDIR(status.st_mode)) {
            char link[64], path[PATH_MAX];
            snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
            ssize_t length = readlink(link, path, sizeof path - 1);
            if (length > 0) {
                path[length] = 0;
                if (is_below(path)) found = S_ISDIR(status.st_mode) ? DIR_BELOW : FILE_BELOW;
            }
        }
        *inode = status.st_ino;
    }
    errno = saved;
    return found;
}

struct place { uint64_t directory; char name[NAME_MAX + 1]; int is_below; };

/* The directory and the last component of a path, if the directory is below a root. */
static struct place place_of(int dir_fd, const char *path) {
    struct place place = { 0, "", 0 };
    if (log_fd < 0 || !path || !*path) return place;
    int saved = errno;
    char folder[PATH_MAX];
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/') length--;
    size_t cut = length;
    while (cut > 0 && path[cut - 1] != '/') cut--;
    if (length - cut <= NAME_MAX && cut < PATH_MAX) {
        memcpy(place.name, path + cut, length - cut);
        place.name[length - cut] = 0;
        memcpy(folder, path, cut);
        folder[cut] = 0;
        if (!cut) strcpy(folder, ".");
        int fd = syscall(SYS_openat, dir_fd, folder, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
        if (fd >= 0) {
            place.is_below = subject_of(fd, &place.directory) == DIR_BELOW;
            syscall(SYS_close, fd);
        }
    }
    errno = saved;
    return place;
}

static uint64_t inode_at(int dir_fd, const char *path) {
    struct stat status;
    int saved = errno;
    uint64_t inode = fstatat(dir_fd, path, &status, AT_SYMLINK_NOFOLLOW) ? 0 : status.st_ino;
    errno = saved;
    return inode;
}

/* ---- contents */

static int is_zero(const char *data, size_t length) {
    return length >= 4096 && !data[0] && !memcmp(data, data + 1, length - 1);
}

static void record_write(uint64_t inode, uint64_t offset, const struct iovec *parts, int count,
                         size_t done) {
    if (count > MOST_BUFFERS) abort();
    struct iovec kept[count];
    int used = 0;
    for (size_t left = done; left && used < count; used++) {
        kept[used] = parts[used];
        if (kept[used].iov_len > left) kept[used].iov_len = left;
        left -= kept[used].iov_len;
    }
    if (used == 1 && is_zero(kept[0].iov_base, done))
        record(ZEROS, inode, offset, done, NULL, 0);
    else
        record(WRITE, inode, offset, 0, kept, used);
}

/* What is sent, before it is sent. */
static void record_sent(const struct iovec *parts, int count) {
    if (count > MOST_BUFFERS) count = MOST_BUFFERS;
    struct iovec kept[count + 1];
    int used = 0;
    size_t left = MOST_SENT;
    for (; used < count && left; used++) {
        kept[used] = parts[used];
        if (kept[used].iov_len > left) kept[used].iov_len = left;
        left -= kept[used].iov_len;
    }
    record(SENT, 0, 0, 0, kept, used);
}

static ssize_t on_write(int fd, const struct iovec *parts, int count, off64_t offset,
                        ssize_t (*call)(int, const struct iovec *, int, off64_t)) {
    uint64_t inode = 0;
    enum subject subject = subject_of(fd, &inode);
    if (subject == SOCKET && offset < 0) record_sent(parts, count);
    ssize_t done = call(fd, parts, count, offset);
    if (done > 0 && subject == FILE_BELOW) {
        /* at the file position: it stands behind what was written, also with O_APPEND */
        uint64_t at = offset >= 0 ? (uint64_t)offset
                                  : (uint64_t)(syscall(SYS_lseek, fd, 0, SEEK_CUR) - done);
        record_write(inode, at, parts, count, done);
    }
    return done;
}

static ssize_t call_write(int fd, const struct iovec *p, int n, off64_t o) {
    (void)n, (void)o;
    return syscall(SYS_write, fd, p->iov_base, p->iov_len);
}
static ssize_t call_pwrite(int fd, const struct iovec *p, int n, off64_t o) {
    (void)n;
    return syscall(SYS_pwrite64, fd, p->iov_base, p->iov_len, o);
}
static ssize_t call_writev(int fd, const struct iovec *p, int n, off64_t o) {
    (void)o;
    return syscall(SYS_writev, fd, p, n);
}
static ssize_t call_pwritev(int fd, const struct iovec *p, int n, off64_t o) {
    return syscall(SYS_pwritev, fd, p, n, o, 0L);
}

ssize_t write(int fd, const void *data, size_t length) {
    struct iovec part = { (void *)data, length };
    return on_write(fd, &part, 1, -1, call_write);
}
ssize_t writev(int fd, const struct iovec *parts, int count) {
    return on_write(fd, parts, count, -1, call_writev);
}
ssize_t pwrite64(int fd, const void *data, size_t length, off64_t offset) {
    struct iovec part = { (void *)data, length };
    return on_write(fd, &part, 1, offset, call_pwrite);
}
ssize_t pwrite(int fd, const void *data, size_t length, off_t offset) {
    return pwrite64(fd, data, length, offset);
}
ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t offset) {
    return on_write(fd, parts, count, offset, call_pwritev);
}
ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset) {
    return pwritev64(fd, parts, count, offset);
}
ssize_t pwritev64v2(int fd, const struct iovec *parts, int count, off64_t offset, int flags) {
    if (flags) abort(); /* would need more care: nobody does it */
    return offset == -1 ? writev(fd, parts, count) : pwritev64(fd, parts, count, offset);
}
ssize_t pwritev2(int fd, const struct iovec *parts, int count, off_t offset, int flags) {
    return pwritev64v2(fd, parts, count, offset, flags);
}

ssize_t send(int fd, const void *data, size_t length, int flags) {
    struct iovec part = { (void *)data, length };
    uint64_t inode;
    if (subject_of(fd, &inode) == SOCKET) record_sent(&part, 1);
    return syscall(SYS_sendto, fd, data, length, flags, NULL, 0);
}
ssize_t sendto(int fd, const void *data, size_t length, int flags, const struct sockaddr *to,
               socklen_t to_length) {
    struct iovec part = { (void *)data, length };
    uint64_t inode;
    if (subject_of(fd, &inode) == SOCKET) record_sent(&part, 1);
    return syscall(SYS_sendto, fd, data, length, flags, to, to_length);
}
ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
    uint64_t inode;
    if (subject_of(fd, &inode) == SOCKET) record_sent(message->msg_iov, message->msg_iovlen);
    return syscall(SYS_sendmsg, fd, message, flags);
}

/* Ways of writing whose content would not be recorded: refused, callers have another way. */
ssize_t copy_file_range(int a, off64_t *b, int c, off64_t *d, size_t e, unsigned f) {
    (void)a, (void)b, (void)c, (void)d, (void)e, (void)f;
    errno = ENOSYS;
    return -1;
}

/* ---- sizes */

static int on_size(enum kind kind, int fd, off64_t size, int result) {
    uint64_t inode;
    if (!result && subject_of(fd, &inode) == FILE_BELOW) record(kind, inode, size, 0, NULL, 0);
    return result;
}
int ftruncate64(int fd, off64_t size) {
    return on_size(TRUNCATE, fd, size, syscall(SYS_ftruncate, fd, size));
}
int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }
int fallocate64(int fd, int mode, off64_t offset, off64_t length) {
    int result = syscall(SYS_fallocate, fd, mode, offset, length);
    if (mode) return result; /* keeps the size; holes punched in our files would be a surprise */
    return on_size(ALLOCATE, fd, offset + length, result);
}
int fallocate(int fd, int mode, off_t offset, off_t length) {
    return fallocate64(fd, mode, offset, length);
}
int posix_fallocate64(int fd, off64_t offset, off64_t length) {
    int saved = errno;
    int result = fallocate64(fd, 0, offset, length) ? errno : 0;
    errno = saved;
    return result;
}
int posix_fallocate(int fd, off_t offset, off_t length) {
    return posix_fallocate64(fd, offset, length);
}

/* ---- syncs */

#define FAILURES 8
static struct { char text[64]; unsigned every, seen; } failures[FAILURES];
static int failure_count;

static void read_failures(const char *list) {
    while (list && *list && failure_count < FAILURES) {
        size_t length = strcspn(list, "=");
        if (!list[length] || length >= sizeof failures[0].text) abort();
        memcpy(failures[failure_count].text, list, length);
        failures[failure_count++].every = strtoul(list + length + 1, (char **)&list, 10);
        list += *list == ',';
    }
}

static int is_to_fail(int fd) {
    char link[64], path[PATH_MAX];
    if (!failure_count) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    path[length > 0 ? length : 0] = 0;
    for (int i = 0; i < failure_count; i++)
        if (failures[i].every && strstr(path, failures[i].text) &&
            !(__atomic_add_fetch(&failures[i].seen, 1, __ATOMIC_SEQ_CST) % failures[i].every))
            return 1;
    return 0;
}

static int on_sync(int fd, long call) {
    uint64_t inode;
    enum subject subject = subject_of(fd, &inode);
    if (subject != FILE_BELOW && subject != DIR_BELOW) return syscall(call, fd);
    if (is_to_fail(fd)) {
        record(SYNC_FAILED, inode, 0, 0, NULL, 0);
        errno = EIO;
        return -1;
    }
    uint64_t who = syscall(SYS_gettid);
    record(SYNC_BEGIN, inode, who, 0, NULL, 0);
    int result = syscall(call, fd);
    if (!result) record(SYNC_END, inode, who, 0, NULL, 0);
    return result;
}
int fsync(int fd) { return on_sync(fd, SYS_fsync); }
int fdatasync(int fd) { return on_sync(fd, SYS_fdatasync); }
/* syncfs, sync_file_range and msync are not recorded: nothing relies on them. */

/* ---- names */

static int opened(int fd, int dir_fd, const char *path, int flags, int existed) {
    if (fd < 0 || log_fd < 0) return fd;
    uint64_t inode;
    if (subject_of(fd, &inode) != FILE_BELOW) return fd;
    if ((flags & O_CREAT) && !existed) {
        struct place place = place_of(dir_fd, path);
        record_name(CREATE, inode, 0, place.directory, place.name, strlen(place.name));
    } else if (flags & O_TRUNC) {
        record(TRUNCATE, inode, 0, 0, NULL, 0);
    }
    return fd;
}
static int on_open(int dir_fd, const char *path, int flags, mode_t mode) {
    /* With O_EXCL it did not exist. Without, two creators at once may record one name twice. */
    int existed = 0;
    if (log_fd >= 0 && (flags & O_CREAT) && !(flags & O_EXCL)) existed = inode_at(dir_fd, path) != 0;
    int fd = syscall(SYS_openat, dir_fd, path, flags, mode);
    return opened(fd, dir_fd, path, flags, existed);
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

int mkdirat(int dir_fd, const char *path, mode_t mode) {
    int result = syscall(SYS_mkdirat, dir_fd, path, mode);
    struct place place;
    if (!result && (place = place_of(dir_fd, path)).is_below)
        record_name(MAKEDIR, inode_at(dir_fd, path), 0, place.directory, place.name,
                    strlen(place.name));
    return result;
}
int mkdir(const char *path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }

int linkat(int old_fd, const char *old, int new_fd, const char *new, int flags) {
    int result = syscall(SYS_linkat, old_fd, old, new_fd, new, flags);
    struct place place;
    if (!result && (place = place_of(new_fd, new)).is_below)
        record_name(LINK, inode_at(new_fd, new), 0, place.directory, place.name,
                    strlen(place.name));
    return result;
}
int link(const char *old, const char *new) { return linkat(AT_FDCWD, old, AT_FDCWD, new, 0); }

int unlinkat(int dir_fd, const char *path, int flags) {
    int result = syscall(SYS_unlinkat, dir_fd, path, flags);
    struct place place;
    if (!result && (place = place_of(dir_fd, path)).is_below)
        record_name(UNLINK, 0, 0, place.directory, place.name, strlen(place.name));
    return result;
}
int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }
int rmdir(const char *path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }

int renameat2(int old_fd, const char *old, int new_fd, const char *new, unsigned flags) {
    int result = syscall(SYS_renameat2, old_fd, old, new_fd, new, flags);
    if (result || log_fd < 0) return result;
    struct place from = place_of(old_fd, old), to = place_of(new_fd, new);
    if (!from.is_below || !to.is_below) return result;
    struct iovec names[2] = { { from.name, strlen(from.name) + 1 }, { to.name, strlen(to.name) } };
    record(RENAME, inode_at(new_fd, new), to.directory, from.directory, names, 2);
    return result;
}
int renameat(int old_fd, const char *old, int new_fd, const char *new) {
    return renameat2(old_fd, old, new_fd, new, 0);
}
int rename(const char *old, const char *new) {
    return renameat2(AT_FDCWD, old, AT_FDCWD, new, 0);
}
