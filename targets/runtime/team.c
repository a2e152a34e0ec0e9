/* A team of threads for the duration of one run. Its state lives on the caller's stack.
 *
 * There is no barrier. The ticket of a share holds the number of a step and the share's next piece; whoever is free adds
 * one to it and runs the piece that the old value names. The caller publishes step i + 1 once every piece of step i is
 * finished, so it only ever waits for pieces that somebody is running: a worker that the system took off its core while
 * idle holds up nobody, and on one core the caller does everything. Idle threads spin for a while and then sleep.
 *
 * Measured on two cores of a KVM guest (Xeon with AVX-512, 2.6 GHz), medians of 2000 runs with 2 threads: a run costs
 * 15 to 65 µs for starting and joining the worker, a step that is shared 1.0 to 1.7 µs (steps of 41 µs on one core take
 * 22), a step of one piece nothing. With both threads on one core, a run takes 1.05 times as long as with one thread.
 */
/* How often a thread looks before it sleeps: 23 µs here, up to 90 on other CPUs, about what falling asleep and being
 * woken costs. WebAssembly has no instruction to pause between looks. */
#if defined(__wasm__)
#include "workers.c"
enum { SPINS = 20000 };
#else
#include "sleep.c"
enum { SPINS = 2000 };
#endif

static const uint32_t STOP = UINT32_MAX;

typedef struct ticket {
    _Alignas(THREAD_PADDING) _Atomic uint64_t next; /* number of the step (from 1) << 32 | next piece */
} ticket;

typedef struct team {
    const job *job;
    ticket tickets[SPARSEC_THREADS]; /* of each share */
    _Alignas(THREAD_PADDING) _Atomic uint32_t finished; /* pieces of this step that the workers finished */
    _Atomic uint32_t caller_sleeps;
    _Alignas(THREAD_PADDING) _Atomic uint32_t published; /* the step of the tickets, a word to sleep on */
    _Atomic uint32_t sleepers;
    parking_lot lot;
} team;

typedef struct member {
    team *team;
    int32_t index;
    pthread_t thread;
} member;

static void relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb" ::: "memory"); /* `yield` is a no-op on most cores */
#endif
}

/* Returns once `*word != value`. The sleeper says so in `sleepers` before it looks at the word again, and the waker
 * writes the word before it looks at `sleepers`; both in sequentially consistent order, so that no wake is lost. */
static void await_change(parking_lot *lot, _Atomic uint32_t *word, uint32_t value, _Atomic uint32_t *sleepers) {
    for (int32_t i = 0; i < SPINS; i++) {
        if (atomic_load_explicit(word, memory_order_acquire) != value) return;
        relax();
    }
    atomic_fetch_add(sleepers, 1);
    while (atomic_load(word) == value) sleep_on(lot, word, value);
    atomic_fetch_sub(sleepers, 1);
}

/* Whether the ticket of a share names one of its pieces. */
static int names_piece(const job *job, int32_t index, uint64_t ticket) {
    uint32_t number = (uint32_t)(ticket >> 32);
    return number != 0 && (uint32_t)ticket < share_of(job, &job->steps[number - 1], index).pieces;
}

/* Runs what is left of a share, and returns how many pieces that was: all of one step, as none ends before its pieces
 * are counted. A share that is used up is looked at, not written to. */
static uint32_t take(team *team, int32_t index, int32_t thread) {
    for (uint32_t taken = 0;; taken++) {
        uint64_t ticket = atomic_load_explicit(&team->tickets[index].next, memory_order_relaxed);
        if (!names_piece(team->job, index, ticket)) return taken;
        ticket = atomic_fetch_add_explicit(&team->tickets[index].next, 1, memory_order_acquire);
        if (!names_piece(team->job, index, ticket)) return taken;
        const step *step = &team->job->steps[(ticket >> 32) - 1];
        share share = share_of(team->job, step, index);
        run_piece(team->job, step, &share, (uint32_t)ticket, thread);
    }
}

/* Runs pieces of the thread's own share, then of the others', and returns how many. */
static uint32_t take_all(team *team, int32_t thread) {
    uint32_t taken = 0;
    for (int32_t i = 0; i < team->job->threads; i++) taken += take(team, (thread + i) % team->job->threads, thread);
    return taken;
}

static void *work(void *argument) {
    const member *self = argument;
    team *team = self->team;
    for (;;) {
        uint32_t number = atomic_load_explicit(&team->published, memory_order_acquire);
        if (number == STOP) return NULL;
        uint32_t taken = take_all(team, self->index);
        if (taken == 0) {
            await_change(&team->lot, &team->published, number, &team->sleepers);
            continue;
        }
        atomic_fetch_add(&team->finished, taken);
        if (atomic_load(&team->caller_sleeps)) wake(&team->lot, &team->finished);
    }
}

static void publish(team *team, uint32_t number) {
    for (int32_t i = 0; number != STOP && i < team->job->threads; i++)
        atomic_store_explicit(&team->tickets[i].next, (uint64_t)number << 32, memory_order_release);
    atomic_store(&team->published, number);
    if (atomic_load(&team->sleepers)) wake(&team->lot, &team->published);
}

static void await_workers(team *team, uint32_t pieces) {
    uint32_t finished;
    while ((finished = atomic_load_explicit(&team->finished, memory_order_acquire)) != pieces)
        await_change(&team->lot, &team->finished, finished, &team->caller_sleeps);
}

static void run_shared(team *team, int32_t index, uint32_t pieces) {
    atomic_store_explicit(&team->finished, 0, memory_order_relaxed);
    publish(team, (uint32_t)index + 1);
    await_workers(team, pieces - take_all(team, 0));
}

static int32_t team_size(int32_t limit) {
    if (limit == 1 || !can_start_threads()) return 1;
    int32_t cpus = allowed_cpus();
    return cpus < limit ? cpus : limit;
}

/* Starts workers 1 to job->threads - 1 and returns how many started: fewer where the system refuses more. */
static int32_t start_workers(team *team, member *members) {
    int32_t count = 0;
    for (; count < team->job->threads - 1; count++) {
        members[count] = (member){.team = team, .index = count + 1};
        if (pthread_create(&members[count].thread, NULL, work, &members[count]) != 0) break;
    }
    return count;
}

static void run_team(const job *job) {
    team team = {.job = job, .lot = EMPTY_LOT};
    member members[SPARSEC_THREADS - 1];
    int32_t workers = start_workers(&team, members);
    for (int32_t i = 0; i < SPARSEC_STEPS; i++) {
        uint32_t pieces = pieces_of(job, &job->steps[i]);
        if (pieces > 1)
            run_shared(&team, i, pieces);
        else
            run_whole(job, &job->steps[i]);
    }
    publish(&team, STOP);
    for (int32_t i = 0; i < workers; i++) pthread_join(members[i].thread, NULL);
}
