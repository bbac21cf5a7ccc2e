/*
 * An LD_PRELOAD library (ld.so(8)) that makes every fsync(2) and fdatasync(2) of a program take SYNC_DELAY_MS milliseconds longer, as
 * on a disk that answers late. Calls that are under way at once do not wait for each other.
 *
 * It sees calls of the C library only. The responder's syncfs(2) is a raw system call and is not delayed; no upload waits for it.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

static void wait_longer(void) {
  const char *delay = getenv("SYNC_DELAY_MS");

  if (delay)
    usleep(1000 * (useconds_t)atoi(delay));
}

#define NEXT(name) ((__typeof__(name) *)dlsym(RTLD_NEXT, #name))

int fsync(int descriptor) {
  wait_longer();
  return NEXT(fsync)(descriptor);
}

int fdatasync(int descriptor) {
  wait_longer();
  return NEXT(fdatasync)(descriptor);
}
