/* Moves the wall clock of a process by the seconds that a file holds (an 8-byte integer), as somebody does who sets the
 * machine's clock while it runs: CLOCK_REALTIME and what follows it jump, CLOCK_MONOTONIC does not.
 *
 *     cc -shared -fPIC -O2 -o clock.so clock.c
 *     WALL_CLOCK_FILE=offset LD_PRELOAD=./clock.so command
 *
 * libfaketime 0.9.10 does not do for this: with a monotonic clock that stays, Python's time.sleep fails (EINVAL from
 * clock_nanosleep), and it knows neither C11's cnd_timedwait, which librdkafka waits by, nor the futexes of gRPC.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <pthread.h>
#include <semaphore.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

static volatile const int64_t zero, *offset_s = &zero;

__attribute__((constructor)) static void open_file(void) {
  const char *name = getenv("WALL_CLOCK_FILE");
  int file = name ? open(name, O_RDONLY | O_CLOEXEC) : -1;
  if (file < 0) return;
  void *found = mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, file, 0);
  if (found != MAP_FAILED) offset_s = found;
  close(file);
}

static long kernel(long number, long a, long b, long c, long d, long e, long f) {
  static long (*next)(long, ...);
  if (!next) next = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
  return next(number, a, b, c, d, e, f);
}

/* What waits for a point in time on the wall clock was told one on the clock that jumps; the kernel knows the other one. A time
 * on the monotonic clock, which some of these functions take as well, is the time since the machine's start. */
static const struct timespec *for_kernel(const struct timespec *until, struct timespec *moved) {
  const time_t year_2001 = 1000000000;
  if (!until || until->tv_sec < year_2001) return until;
  moved->tv_sec = until->tv_sec - *offset_s;
  moved->tv_nsec = until->tv_nsec;
  return moved;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
  int status = (int)kernel(SYS_clock_gettime, clock, (long)now, 0, 0, 0, 0);
  if (!status && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += *offset_s;
  return status;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
  int status = (int)kernel(SYS_gettimeofday, (long)now, (long)zone, 0, 0, 0, 0);
  if (!status) now->tv_sec += *offset_s;
  return status;
}

time_t time(time_t *where) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (where) *where = now.tv_sec;
  return now.tv_sec;
}

int timespec_get(struct timespec *now, int base) {
  return base == TIME_UTC && !clock_gettime(CLOCK_REALTIME, now) ? base : 0;
}

#define NEXT(name, version) \
  static __typeof__(&name) next; \
  if (!next) next = (__typeof__(&name))dlvsym(RTLD_NEXT, #name, version); \
  if (!next) next = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

int pthread_cond_timedwait(pthread_cond_t *restrict condition, pthread_mutex_t *restrict mutex,
                           const struct timespec *restrict until) {
  NEXT(pthread_cond_timedwait, "GLIBC_2.3.2");
  struct timespec moved;
  return next(condition, mutex, for_kernel(until, &moved));
}

int cnd_timedwait(cnd_t *restrict condition, mtx_t *restrict mutex, const struct timespec *restrict until) {
  NEXT(cnd_timedwait, "GLIBC_2.28");
  struct timespec moved;
  return next(condition, mutex, for_kernel(until, &moved));
}

int sem_timedwait(sem_t *restrict semaphore, const struct timespec *restrict until) {
  NEXT(sem_timedwait, "GLIBC_2.34");
  struct timespec moved;
  return next(semaphore, for_kernel(until, &moved));
}

int clock_nanosleep(clockid_t clock, int flags, const struct timespec *until, struct timespec *left) {
  NEXT(clock_nanosleep, "GLIBC_2.17");
  struct timespec moved;
  return next(clock, flags, flags & TIMER_ABSTIME ? for_kernel(until, &moved) : until, left);
}

long syscall(long number, ...) {
  va_list rest;
  va_start(rest, number);
  long a = va_arg(rest, long), b = va_arg(rest, long), c = va_arg(rest, long), d = va_arg(rest, long),
       e = va_arg(rest, long), f = va_arg(rest, long);
  va_end(rest);
  struct timespec moved;
  if (number == SYS_futex && (b & FUTEX_CMD_MASK) == FUTEX_WAIT_BITSET && (b & FUTEX_CLOCK_REALTIME))
    d = (long)for_kernel((const struct timespec *)d, &moved);
  long status = kernel(number, a, b, c, d, e, f);
  if (number == SYS_clock_gettime && !status && a == CLOCK_REALTIME) ((struct timespec *)b)->tv_sec += *offset_s;
  return status;
}
