/* Threads for an artifact (m_threads in its header) that note when each call of parallel_for begins and ends.
 *
 * cc -O2 -shared -fPIC -pthread threads_host.c -o threads_host.so */
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <time.h>

enum { MOST_THREADS = 64, MOST_CALLS = 4096 };

typedef void task_function(void *argument, int32_t index);

/* Nanoseconds of a call: its begin and end, and what its threads computed, all together. */
typedef struct call {
    int64_t begin, end, busy;
} call;

static struct {
    task_function *task;
    void *argument;
    int32_t count;
    _Alignas(128) _Atomic uint32_t published;
    _Alignas(128) _Atomic uint32_t finished;
    _Alignas(128) _Atomic int64_t busy;
} team;

static call calls[MOST_CALLS];
static int32_t call_count, worker_count;
static pthread_t workers[MOST_THREADS];

static int64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000ll + time.tv_nsec;
}

static void compute(int32_t index) {
    int64_t begin = now();
    team.task(team.argument, index);
    atomic_fetch_add(&team.busy, now() - begin);
}

static void *work(void *argument) {
    int32_t index = (int32_t)(intptr_t)argument;
    for (uint32_t number = 0;;) {
        while (atomic_load_explicit(&team.published, memory_order_acquire) == number) __builtin_ia32_pause();
        number++;
        if (!team.task) return NULL;
        if (index < team.count) compute(index);
        atomic_fetch_add(&team.finished, 1);
    }
}

static void publish(task_function *task, void *argument, int32_t count) {
    team.task = task, team.argument = argument, team.count = count;
    atomic_store(&team.busy, 0);
    atomic_store(&team.finished, 0);
    atomic_fetch_add(&team.published, 1);
}

void host_parallel_for(void *context, int32_t count, task_function *task, void *argument) {
    (void)context;
    call *call = &calls[call_count < MOST_CALLS - 1 ? call_count++ : call_count];
    call->begin = now();
    publish(task, argument, count);
    compute(0);
    while (atomic_load_explicit(&team.finished, memory_order_acquire) != (uint32_t)worker_count) __builtin_ia32_pause();
    call->busy = atomic_load(&team.busy);
    call->end = now();
}

/* Starts `threads` threads, the caller counted; what was noted before is forgotten. */
void host_start(int32_t threads) {
    worker_count = 0, call_count = 0;
    atomic_store(&team.published, 0);
    for (int32_t i = 1; i < threads && i < MOST_THREADS; i++)
        if (pthread_create(&workers[worker_count], NULL, work, (void *)(intptr_t)i) == 0) worker_count++;
}

void host_stop(void) {
    publish(NULL, NULL, 0);
    for (int32_t i = 0; i < worker_count; i++) pthread_join(workers[i], NULL);
}

/* Forgets the calls, and says when. */
int64_t host_reset(void) {
    call_count = 0;
    return now();
}

int32_t host_call_count(void) { return call_count; }
const call *host_calls(void) { return calls; }
int64_t host_now(void) { return now(); }
