/* Threads lent by the host: one parallel_for for each step that has more than one piece. Its return is the barrier. */

typedef struct hosted_step {
    const job *job;
    const step *step;
    uint32_t pieces;
    _Atomic uint32_t next;
} hosted_step;

static void hosted_task(void *argument, int32_t thread) {
    hosted_step *work = argument;
    uint32_t piece;
    while ((piece = atomic_fetch_add_explicit(&work->next, 1, memory_order_relaxed)) < work->pieces)
        run_piece(work->job, work->step, piece, thread);
}

static void run_hosted(const job *job, const MODEL(threads) *host) {
    for (int32_t i = 0; i < SPARSEC_STEPS; i++) {
        hosted_step work = {.job = job, .step = &steps[i], .pieces = pieces_of(job, &steps[i])};
        if (work.pieces > 1)
            host->parallel_for(host->context, job->threads, hosted_task, &work);
        else
            hosted_task(&work, 0);
    }
}
