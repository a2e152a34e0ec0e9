/* How the threads of a team wait for one another, and how many CPUs there are for them. */
#include <limits.h>
#include <pthread.h>

#if defined(__linux__) && !defined(SPARSEC_POSIX) /* defined to test the other branch on Linux */
#include "syscall.h"

#include <linux/futex.h>

/* Weak: a host program without threads in its libc has no pthread_create, and then the caller works alone. */
#pragma weak pthread_create
#pragma weak pthread_join

typedef struct parking_lot {
} parking_lot;

static const parking_lot EMPTY_LOT = {};

/* Sleeps while `*word == value`; returns early at times. */
static void sleep_on(parking_lot *lot, _Atomic uint32_t *word, uint32_t value) {
    (void)lot;
    system_call(SYS_futex, (long)word, FUTEX_WAIT_PRIVATE, value, 0);
}

static void wake(parking_lot *lot, _Atomic uint32_t *word) {
    (void)lot;
    system_call(SYS_futex, (long)word, FUTEX_WAKE_PRIVATE, INT_MAX, 0);
}

static int can_start_threads(void) { return pthread_create && pthread_join; }

/* The CPUs that this process may use, so that no thread waits for a core that another one spins on. */
static int32_t allowed_cpus(void) {
    unsigned long mask[128];
    long bytes = system_call(SYS_sched_getaffinity, 0, sizeof mask, (long)mask, 0);
    int32_t count = 0;
    for (long i = 0; i < bytes / (long)sizeof mask[0]; i++) count += __builtin_popcountl(mask[i]);
    return count > 0 ? count : 1;
}

#else
#include <unistd.h>

typedef struct parking_lot {
    pthread_mutex_t mutex;
    pthread_cond_t change;
} parking_lot;

static const parking_lot EMPTY_LOT = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER};

static void sleep_on(parking_lot *lot, _Atomic uint32_t *word, uint32_t value) {
    pthread_mutex_lock(&lot->mutex);
    while (atomic_load(word) == value) pthread_cond_wait(&lot->change, &lot->mutex);
    pthread_mutex_unlock(&lot->mutex);
}

/* The mutex is taken so that nobody is between looking at the word, which has changed, and falling asleep. */
static void wake(parking_lot *lot, _Atomic uint32_t *word) {
    (void)word;
    pthread_mutex_lock(&lot->mutex);
    pthread_cond_broadcast(&lot->change);
    pthread_mutex_unlock(&lot->mutex);
}

static int can_start_threads(void) { return 1; }

static int32_t allowed_cpus(void) {
    long count = sysconf(_SC_NPROCESSORS_ONLN);
    return count > 0 && count < INT32_MAX ? (int32_t)count : 1;
}

#endif
