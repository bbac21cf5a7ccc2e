/*
 * An LD_PRELOAD library (ld.so(8)) that makes system calls of a running program fail, or stops the program before one.
 *
 * FAULTS_RULE names a file that is empty or holds one rule: CALL PATH ERRNO TIMES. The next TIMES calls of CALL on a path that contains
 * PATH fail with ERRNO; with ERRNO 0 the program stops before them (SIGSTOP). CALL is sync, write, rewrite (at the first byte behind the
 * first block, where a segment of the write-ahead log is used again), open or mark (the times of a file). The file is read at every call, so a test can set and remove a fault while the program
 * runs. Each failure appends a byte to the file FAULTS_RULE.hits: its length is the number of failures so far.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Raw system calls: those of the C library are replaced below. */
static int raw_open(const char *path, int flags) {
  return (int)syscall(SYS_openat, AT_FDCWD, path, flags | O_CLOEXEC, 0600);
}

/* Reads the rule; 0 if there is none. */
static int read_rule(const char *rule, char *text, size_t size) {
  int file = raw_open(rule, O_RDONLY);
  long length;

  if (file < 0)
    return 0;
  length = syscall(SYS_read, file, text, size - 1);
  syscall(SYS_close, file);
  text[length > 0 ? length : 0] = 0;
  return length > 0;
}

/* Whether this call fails; sets errno. */
static int fails(const char *call, const char *path) {
  const char *rule = getenv("FAULTS_RULE");
  char text[256], again[256], wanted[16], part[128], hits[512];
  int number, times, file, is_hit;
  struct stat met = {0};

  if (!rule || !path || !read_rule(rule, text, sizeof text))
    return 0;
  if (sscanf(text, "%15s %127s %d %d", wanted, part, &number, &times) != 4)
    return 0;
  if (strcmp(wanted, call) != 0 || !strstr(path, part))
    return 0;
  snprintf(hits, sizeof hits, "%s.hits", rule);
  if ((file = raw_open(hits, O_WRONLY | O_APPEND | O_CREAT)) < 0)
    return 0;
  /* One thread at a time counts, and only while the rule is still there. */
  syscall(SYS_flock, file, LOCK_EX);
  fstat(file, &met);
  is_hit = met.st_nlink > 0 && met.st_size < times && read_rule(rule, again, sizeof again) && strcmp(text, again) == 0;
  if (is_hit)
    syscall(SYS_write, file, "x", 1);
  syscall(SYS_close, file);
  if (!is_hit)
    return 0;
  if (number == 0) {
    kill(getpid(), SIGSTOP);
    return 0;
  }
  errno = number;
  return 1;
}

/* The same for a call on a descriptor. */
static int fails_on(const char *call, int descriptor) {
  char link[64], path[512];
  long length;
  int before = errno;

  snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
  length = syscall(SYS_readlinkat, AT_FDCWD, link, path, sizeof path - 1);
  if (length > 0) {
    path[length] = 0;
    if (fails(call, path))
      return 1;
  }
  errno = before;
  return 0;
}

#define NEXT(name) ((__typeof__(name) *)dlsym(RTLD_NEXT, #name))

int fsync(int descriptor) {
  return fails_on("sync", descriptor) ? -1 : NEXT(fsync)(descriptor);
}

int fdatasync(int descriptor) {
  return fails_on("sync", descriptor) ? -1 : NEXT(fdatasync)(descriptor);
}

ssize_t write(int descriptor, const void *bytes, size_t length) {
  return fails_on("write", descriptor) ? -1 : NEXT(write)(descriptor, bytes, length);
}

ssize_t send(int descriptor, const void *bytes, size_t length, int flags) {
  return fails_on("write", descriptor) ? -1 : NEXT(send)(descriptor, bytes, length, flags);
}

ssize_t pwrite64(int descriptor, const void *bytes, size_t length, off64_t at) {
  return fails_on("write", descriptor) || (at == 4096 && fails_on("rewrite", descriptor)) ? -1 : NEXT(pwrite64)(descriptor, bytes, length, at);
}

ssize_t pwrite(int descriptor, const void *bytes, size_t length, off_t at) {
  return fails_on("write", descriptor) ? -1 : NEXT(pwrite)(descriptor, bytes, length, at);
}

int futimens(int descriptor, const struct timespec times[2]) {
  return fails_on("mark", descriptor) ? -1 : NEXT(futimens)(descriptor, times);
}

/* The mode is read whether it was given or not, as the C library does. */
#define OPEN(name)                                                                                                                     \
  int name(const char *path, int flags, ...) {                                                                                         \
    va_list rest;                                                                                                                      \
    va_start(rest, flags);                                                                                                             \
    mode_t mode = va_arg(rest, mode_t);                                                                                                \
    va_end(rest);                                                                                                                      \
    return fails("open", path) ? -1 : NEXT(name)(path, flags, mode);                                                                   \
  }

OPEN(open)
OPEN(open64)
