/* Threads lent by the host: one parallel_for for each step that has more than one piece. Its return is the barrier. */

typedef struct hosted_step {
    const job *job;
    const step *step;
    _Atomic uint32_t next[SPARSEC_THREADS]; /* piece of each share */
} hosted_step;

static void hosted_task(void *argument, int32_t thread) {
    hosted_step *work = argument;
    uint32_t denormals = drop_denormals();
    for (int32_t i = 0; i < work->job->threads; i++) {
        int32_t index = (thread + i) % work->job->threads;
        share share = share_of(work->job, work->step, index);
        uint32_t piece;
        while ((piece = atomic_fetch_add_explicit(&work->next[index], 1, memory_order_relaxed)) < share.pieces)
            run_piece(work->job, work->step, &share, piece, thread);
    }
    restore_denormals(denormals);
}

static void run_hosted(const job *job, const MODEL(threads) *host) {
    for (int32_t i = 0; i < SPARSEC_STEPS; i++) {
        if (pieces_of(job, &job->steps[i]) > 1) {
            hosted_step work = {.job = job, .step = &job->steps[i]};
            host->parallel_for(host->context, job->threads, hosted_task, &work);
        } else {
            run_whole(job, &job->steps[i]);
        }
    }
}
