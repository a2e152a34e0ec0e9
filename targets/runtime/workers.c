/* The threads of a wasm module: workers of the host, each of which calls m_work(index) once and stays in it. They take
 * the place of pthreads for team.c. */
#include "sparsec.h"

#include <stdatomic.h>

enum { ABSENT, IDLE, BUSY };

typedef struct worker {
    _Alignas(THREAD_PADDING) _Atomic uint32_t state; /* also the word to sleep on */
    void *(*start)(void *);
    void *argument;
} worker;

typedef worker *pthread_t;

static worker workers[SPARSEC_THREADS - 1];

typedef struct parking_lot {
    char unused;
} parking_lot;

static const parking_lot EMPTY_LOT = {0};

/* Sleeps while `*word == value`; returns early at times. Out of line: the baseline compiler of V8 11 (Node 20) loses values
 * of the function that waits. */
__attribute__((noinline)) static void sleep_on(parking_lot *lot, _Atomic uint32_t *word, uint32_t value) {
    (void)lot;
    __builtin_wasm_memory_atomic_wait32((int *)word, (int)value, -1);
}

static void wake(parking_lot *lot, _Atomic uint32_t *word) {
    (void)lot;
    __builtin_wasm_memory_atomic_notify((int *)word, INT32_MAX);
}

static void enter(worker *self, uint32_t state) {
    atomic_store(&self->state, state);
    wake(NULL, &self->state);
}

/* Never returns: the host ends the worker. */
__attribute__((visibility("default"))) void MODEL(work)(int32_t index) {
    worker *self = &workers[index];
    for (;;) {
        enter(self, IDLE);
        while (atomic_load(&self->state) == IDLE) sleep_on(NULL, &self->state, IDLE);
        self->start(self->argument);
    }
}

/* Takes an idle worker; 1 where there is none. Runs in one memory follow one another, so nobody else takes it. */
static int32_t pthread_create(pthread_t *thread, void *unused, void *(*start)(void *), void *argument) {
    (void)unused;
    for (int32_t i = 0; i < SPARSEC_THREADS - 1; i++) {
        if (atomic_load(&workers[i].state) != IDLE) continue;
        workers[i].start = start;
        workers[i].argument = argument;
        enter(&workers[i], BUSY);
        *thread = &workers[i];
        return 0;
    }
    return 1;
}

static void pthread_join(pthread_t thread, void *unused) {
    (void)unused;
    while (atomic_load(&thread->state) == BUSY) sleep_on(NULL, &thread->state, BUSY);
}

static int can_start_threads(void) { return 1; }

/* As many as there are workers, and the caller. */
static int32_t allowed_cpus(void) {
    int32_t count = 1;
    for (int32_t i = 0; i < SPARSEC_THREADS - 1; i++) count += atomic_load(&workers[i].state) == IDLE;
    return count;
}
