/* Runs a program on disks that fail.
 *
 *   faulty_disk RULES PROGRAM ARGS...
 *
 * RULES is a file of lines "PREFIX ACTION", read again whenever it changes. A write, sync,
 * allocation, creation or rename below PREFIX is answered by ACTION: an error name (ENOSPC, EIO,
 * EROFS, EMFILE), "stall" (it does not come back until the rule is gone), "stallsync" (so do syncs
 * only) or "slow MS".
 *
 * The program's calls are seen through a seccomp filter with user notification (Linux 5.5), so
 * that calls which bypass libc are seen too, and no rights are needed. The supervisor ends with
 * the program, by the same status. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { RULES_MAX = 16, PARKED_MAX = 4096 };

struct rule {
    char prefix[PATH_MAX];
    int error, stall, syncs, slow_ms;
};

struct parked {
    uint64_t id;
    char path[PATH_MAX];
    int number;
    uint64_t since_ms;
};

static struct rule rules[RULES_MAX];
static int rule_count;
static struct parked *parked;
static int parked_count;
static const char *rules_path;
static struct timespec rules_time;

static const int watched[] = {
    SYS_pwrite64, SYS_pwritev, SYS_pwritev2, SYS_write, SYS_writev, SYS_fsync, SYS_fdatasync,
    SYS_sync_file_range, SYS_ftruncate, SYS_fallocate, SYS_openat, SYS_renameat, SYS_renameat2,
#ifdef SYS_rename
    SYS_rename,
#endif
#ifdef SYS_open
    SYS_open,
#endif
};
enum { WATCHED = sizeof watched / sizeof watched[0] };

static uint64_t now_ms(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000ull + time.tv_nsec / 1000000;
}

static int error_of(const char *name)
{
    static const struct { const char *name; int number; } names[] = {
        { "ENOSPC", ENOSPC }, { "EIO", EIO }, { "EROFS", EROFS }, { "EMFILE", EMFILE },
        { "EACCES", EACCES }, { "EDQUOT", EDQUOT },
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(name, names[i].name) == 0)
            return names[i].number;
    return 0;
}

static void read_rules(void)
{
    struct stat data;
    if (stat(rules_path, &data) != 0)
        return;
    if (data.st_mtim.tv_sec == rules_time.tv_sec && data.st_mtim.tv_nsec == rules_time.tv_nsec)
        return;
    FILE *file = fopen(rules_path, "r");
    if (!file)
        return;
    rules_time = data.st_mtim;
    rule_count = 0;
    char action[32];
    struct rule *rule = rules;
    while (rule_count < RULES_MAX && fscanf(file, "%4095s %31s", rule->prefix, action) == 2) {
        rule->error = error_of(action);
        rule->syncs = strcmp(action, "stallsync") == 0;
        rule->stall = rule->syncs || strcmp(action, "stall") == 0;
        rule->slow_ms = 0;
        if (strcmp(action, "slow") == 0 && fscanf(file, "%d", &rule->slow_ms) != 1)
            rule->slow_ms = 0;
        rule = &rules[++rule_count];
    }
    fclose(file);
}

static const struct rule *rule_for(const char *path)
{
    for (int i = 0; i < rule_count; i++)
        if (strncmp(path, rules[i].prefix, strlen(rules[i].prefix)) == 0)
            return &rules[i];
    return NULL;
}

/* The path a file descriptor or a path argument of the call stands for. */
static int path_of(const struct seccomp_notif *call, char *path)
{
    char name[64];
    int number = call->data.nr, argument = -1;
    if (number == SYS_openat) {
        if (!(call->data.args[2] & (O_WRONLY | O_RDWR | O_CREAT)))
            return 0;
        argument = 1;
    } else if (number == SYS_renameat || number == SYS_renameat2) {
        argument = 3;
    }
#ifdef SYS_rename
    if (number == SYS_rename)
        argument = 1;
#endif
#ifdef SYS_open
    if (number == SYS_open) {
        if (!(call->data.args[1] & (O_WRONLY | O_RDWR | O_CREAT)))
            return 0;
        argument = 0;
    }
#endif
    if (argument < 0) {
        snprintf(name, sizeof name, "/proc/%d/fd/%d", call->pid, (int)call->data.args[0]);
        ssize_t len = readlink(name, path, PATH_MAX - 1);
        if (len <= 0 || path[0] != '/')
            return 0;
        path[len] = 0;
        return 1;
    }
    snprintf(name, sizeof name, "/proc/%d/mem", call->pid);
    int memory = open(name, O_RDONLY | O_CLOEXEC);
    if (memory < 0)
        return 0;
    ssize_t len = pread(memory, path, PATH_MAX - 1, (off_t)call->data.args[argument]);
    close(memory);
    if (len <= 0 || path[0] != '/')
        return 0;
    path[len] = 0;
    return 1;
}

static void answer(int listener, uint64_t id, int error)
{
    struct seccomp_notif_resp response = { .id = id };
    if (error)
        response.error = -error;
    else
        response.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
    /* An error means that the caller is gone. */
    ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &response);
}

/* Answers the call, or says that it has to stay. */
static int settle(int listener, const struct parked *call)
{
    const struct rule *rule = rule_for(call->path);
    int is_sync = call->number == SYS_fsync || call->number == SYS_fdatasync
        || call->number == SYS_sync_file_range;
    if (rule && rule->syncs && !is_sync)
        rule = NULL;
    if (rule && rule->stall)
        return 0;
    if (rule && rule->slow_ms && now_ms() - call->since_ms < (uint64_t)rule->slow_ms)
        return 0;
    answer(listener, call->id, rule ? rule->error : 0);
    return 1;
}

static void take(int listener)
{
    struct seccomp_notif call;
    memset(&call, 0, sizeof call);
    if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &call) != 0)
        return;
    struct parked *one = &parked[parked_count];
    if (rule_count == 0 || !path_of(&call, one->path)) {
        answer(listener, call.id, 0);
        return;
    }
    one->id = call.id;
    one->number = call.data.nr;
    one->since_ms = now_ms();
    if (!settle(listener, one) && parked_count < PARKED_MAX - 1)
        parked_count++;
}

static void look_at_parked(int listener)
{
    for (int i = 0; i < parked_count;) {
        if (ioctl(listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &parked[i].id) != 0
            || settle(listener, &parked[i]))
            parked[i] = parked[--parked_count];
        else
            i++;
    }
}

static int install_filter(void)
{
    struct sock_filter filter[4 + WATCHED];
    int at = 0;
    filter[at++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
                                                offsetof(struct seccomp_data, nr));
    for (int i = 0; i < WATCHED; i++)
        filter[at++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, watched[i],
                                                    WATCHED - i, 0);
    filter[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    filter[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF);
    struct sock_fprog program = { .len = at, .filter = filter };
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER,
                   &program);
}

/* The child hands its listener over by a socket, without a watched call. */
static void send_listener(int socket, int listener)
{
    char byte = 0, control[CMSG_SPACE(sizeof(int))];
    struct iovec data = { &byte, 1 };
    struct msghdr message = { .msg_iov = &data, .msg_iovlen = 1, .msg_control = control,
                              .msg_controllen = sizeof control };
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(header), &listener, sizeof(int));
    sendmsg(socket, &message, 0);
}

static int receive_listener(int socket)
{
    char byte, control[CMSG_SPACE(sizeof(int))];
    struct iovec data = { &byte, 1 };
    struct msghdr message = { .msg_iov = &data, .msg_iovlen = 1, .msg_control = control,
                              .msg_controllen = sizeof control };
    int listener = -1;
    if (recvmsg(socket, &message, 0) > 0 && CMSG_FIRSTHDR(&message))
        memcpy(&listener, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(int));
    return listener;
}

static pid_t child;

static void pass_on(int sign)
{
    kill(child, sign);
}

int main(int count, char **arguments)
{
    if (count < 3) {
        fprintf(stderr, "faulty_disk RULES PROGRAM ARGS...\n");
        return 2;
    }
    rules_path = arguments[1];
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0)
        return 2;
    child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(pair[0]);
        int listener = install_filter();
        if (listener < 0)
            _exit(125);
        send_listener(pair[1], listener);
        close(listener);
        close(pair[1]);
        execvp(arguments[2], arguments + 2);
        _exit(127);
    }
    close(pair[1]);
    signal(SIGTERM, pass_on);
    signal(SIGINT, pass_on);
    int listener = receive_listener(pair[0]);
    if (listener < 0) {
        fprintf(stderr, "faulty_disk: seccomp user notification is not available\n");
        return 125;
    }
    parked = calloc(PARKED_MAX, sizeof *parked);
    for (;;) {
        struct pollfd ready = { .fd = listener, .events = POLLIN };
        poll(&ready, 1, parked_count ? 5 : 50);
        read_rules();
        look_at_parked(listener);
        if (ready.revents & POLLIN)
            take(listener);
        int status;
        if (waitpid(child, &status, WNOHANG) == child)
            return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }
}
