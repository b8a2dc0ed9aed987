/* The floor: the system calls that a container without a network cannot do without, and nothing else.
 *
 *     floor DIRECTORY LOWER COMMAND
 *
 * makes cgroups of version 1 (or one of version 2), namespaces, an overlay of LOWER, /proc, /sys, /dev and its
 * children, runs COMMAND in there, waits, and takes all of it away. No image store, no records, no logs, no
 * seccomp, no checks: what an engine needs beyond this is what it costs. */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *const controllers[] = {"cpu", "cpuacct", "memory", "devices", "freezer", "blkio", "pids"};
#define CONTROLLERS (sizeof controllers / sizeof *controllers)

static char cgroups[CONTROLLERS][256];
static int tasks[CONTROLLERS];
static int known;

static void make_cgroups(void) {
    for (size_t i = 0; i < CONTROLLERS; i++) {
        char *path = cgroups[known];
        snprintf(path, 256, "/sys/fs/cgroup/%s/floor-%d", controllers[i], getpid());
        if (mkdir(path, 0755))
            continue;
        char file[300];
        snprintf(file, sizeof file, "%s/tasks", path);
        tasks[known++] = open(file, O_WRONLY | O_CLOEXEC);
    }
    if (known == 0) { /* version 2 */
        snprintf(cgroups[0], 256, "/sys/fs/cgroup/floor-%d", getpid());
        if (mkdir(cgroups[0], 0755))
            err(1, "%s", cgroups[0]);
        tasks[0] = open(cgroups[0], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        known = 1;
    }
}

static void attach(const char *kind, const char *target, unsigned long flags, const char *options) {
    if (mount(kind, target, kind, flags, options))
        err(1, "mount %s on %s", kind, target);
}

static void raise_loopback(void) {
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &request))
        err(1, "lo");
    close(fd);
}

static void container(const char *lower, int version_1, char **command) {
    char options[4096];
    if (version_1)
        for (int i = 0; i < known; i++)
            if (write(tasks[i], "0", 1) != 1)
                err(1, "join cgroup");
    if (unshare(CLONE_NEWCGROUP) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
        err(1, "unshare");
    snprintf(options, sizeof options, "lowerdir=%s,upperdir=upper,workdir=work,volatile", lower);
    attach("overlay", "root", 0, options);
    if (chdir("root"))
        err(1, "root");
    mkdir("proc", 0555), mkdir("sys", 0555), mkdir("dev", 0755);
    attach("proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
    attach("sysfs", "sys", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY, NULL);
    attach("tmpfs", "dev", MS_NOSUID, "mode=755,size=65536k");
    mkdir("dev/pts", 0755), mkdir("dev/shm", 01777), mkdir("dev/mqueue", 01777);
    attach("devpts", "dev/pts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620");
    attach("tmpfs", "dev/shm", MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=65536k");
    attach("mqueue", "dev/mqueue", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
    static const struct { const char *name; int major, minor; } nodes[] = {
        {"null", 1, 3}, {"zero", 1, 5}, {"full", 1, 7}, {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0}};
    for (size_t i = 0; i < sizeof nodes / sizeof *nodes; i++) {
        char path[64];
        snprintf(path, sizeof path, "dev/%s", nodes[i].name);
        if (mknod(path, S_IFCHR | 0666, makedev(nodes[i].major, nodes[i].minor)))
            err(1, "%s", path);
    }
    raise_loopback();
    if (sethostname("floor", 5) || syscall(SYS_pivot_root, ".", ".") || umount2(".", MNT_DETACH) || chdir("/"))
        err(1, "pivot_root");
    execve(command[0], command, (char *[]){"PATH=/bin", NULL});
    err(127, "%s", command[0]);
}

int main(int count, char **arguments) {
    if (count < 4)
        errx(2, "usage: floor DIRECTORY LOWER COMMAND");
    if (mkdir(arguments[1], 0700) || chdir(arguments[1]) || mkdir("upper", 0755) || mkdir("work", 0700) ||
        mkdir("root", 0755))
        err(1, "%s", arguments[1]);
    make_cgroups();
    int version_1 = strncmp(cgroups[0], "/sys/fs/cgroup/floor", 20) != 0;
    struct clone_args clone = {
        .flags = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID | CLONE_NEWNET |
                 (version_1 ? 0 : CLONE_INTO_CGROUP),
        .exit_signal = SIGCHLD,
        .cgroup = version_1 ? 0 : (uint64_t)tasks[0],
    };
    pid_t child = (pid_t)syscall(SYS_clone3, &clone, sizeof clone);
    if (child < 0)
        err(1, "clone3");
    if (child == 0)
        container(arguments[2], version_1, arguments + 3);
    int status;
    if (waitpid(child, &status, 0) != child)
        err(1, "wait");
    for (int i = 0; i < known; i++)
        if (rmdir(cgroups[i]))
            warn("%s", cgroups[i]);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}
