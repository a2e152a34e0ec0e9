/* Runs the steps of a model: on the caller alone, on a team of its own threads, or on threads that the host lends. */
#include "sparsec.h"

#include <stdatomic.h>

/* One run. `threads` counts the caller; each thread has its own scratch. */
typedef struct job {
    frame frame;
    char *scratch;
    int32_t isa;
    int32_t threads;
} job;

static void *scratch_of(const job *job, int32_t thread) { return job->scratch + (size_t)thread * SPARSEC_SCRATCH; }

/* How the chunks of a step are dealt out: `units` pieces of `grain` chunks, taken in order by whoever is free. Eight
 * pieces a thread keep the wait for the last one under an eighth of the step, at about 50 ns for taking a piece. */
typedef struct deal {
    int64_t grain;
    uint32_t units;
} deal;

static deal deal_of(const job *job, const step *step) {
    int64_t pieces = job->threads == 1 ? 1 : 8 * (int64_t)job->threads;
    int64_t grain = step->chunks / pieces + (step->chunks % pieces != 0);
    if (grain == 0) return (deal){1, 0};
    return (deal){grain, (uint32_t)((step->chunks + grain - 1) / grain)};
}

static void run_unit(const job *job, const step *step, deal deal, uint32_t unit, int32_t thread) {
    int64_t begin = unit * deal.grain, end = begin + deal.grain;
    if (end > step->chunks) end = step->chunks;
    step->run[job->isa](&job->frame, scratch_of(job, thread), begin, end);
}

static void run_alone(const job *job) {
    for (int32_t i = 0; i < SPARSEC_STEPS; i++)
        if (steps[i].chunks > 0) steps[i].run[job->isa](&job->frame, job->scratch, 0, steps[i].chunks);
}

#if SPARSEC_THREADS > 1
#include "hosted.c"
#include "team.c"
#endif
