/* What a worker does for one call of a hook, in as few steps as it can be done (`calls.py`).
 *
 * Each function is called with the interpreter lock held: none of them waits, and to give the lock
 * up and get it back, from the thread that writes the queue, would cost more than all they do.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define FILES 3 /* descriptors with a request, at most: the answer's and the inputs */

/* Send a request with the end of a new socket pair for the answer, and with `count` more files.
 * Our end of it, which does not block, or an error number below 0. */
int asking_send(int pool, const void *packet, int64_t length, const int *files, int32_t count)
{
    union {
        char octets[CMSG_SPACE(FILES * sizeof(int))];
        struct cmsghdr aligned;
    } control;
    struct iovec octets = {(void *)(uintptr_t)packet, (size_t)length};
    struct msghdr message = {.msg_iov = &octets, .msg_iovlen = 1, .msg_control = control.octets};
    int ends[2], error = 0;
    if (count < 0 || count >= FILES)
        return -EINVAL;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
        return -errno;
    const size_t size = (size_t)(count + 1) * sizeof(int);
    memset(&control, 0, sizeof control);
    message.msg_controllen = CMSG_SPACE(size);
    struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(size);
    memcpy(CMSG_DATA(rights), &ends[1], sizeof(int));
    if (count)
        memcpy(CMSG_DATA(rights) + sizeof(int), files, (size_t)count * sizeof(int));
    if (sendmsg(pool, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        error = errno;
    close(ends[1]);
    if (error)
        close(ends[0]);
    return error ? -error : ends[0];
}

int asking_close(int end) { return close(end); }

/* Octets of the message that is there, 0 when nobody is left who could send one, or an error number
 * below 0: -EAGAIN when there is none yet. */
int asking_receive(int end, void *buffer, int64_t size)
{
    ssize_t length = recv(end, buffer, (size_t)size, MSG_DONTWAIT);
    return length < 0 ? -errno : (int)length;
}
