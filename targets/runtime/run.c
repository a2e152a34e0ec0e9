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

/* The chunks of a step are dealt out in pieces, taken in order by whoever is free: four for each thread, of a half, a
 * quarter, an eighth and an eighth of its share. The small ones at the end even out threads of unequal speed to an
 * eighth of a share; so do eight equal ones, but with twice the traffic between the cores (on two cores 3.0 µs a step,
 * against 1.7). A step of few chunks is dealt out one by one. */
static uint32_t pieces_of(const job *job, const step *step) {
    int64_t most = 4 * (int64_t)job->threads;
    return (uint32_t)(step->chunks < most ? step->chunks : most);
}

/* The first chunk of a piece. In eighths of a share, the pieces are 4, 2, 1 and 1 wide. */
static int64_t piece_begin(const job *job, const step *step, int64_t piece) {
    int64_t threads = job->threads, eighths;
    if (step->chunks <= 4 * threads) return piece;
    if (piece < threads)
        eighths = 4 * piece;
    else
        eighths = piece < 2 * threads ? 2 * (piece + threads) : piece + 4 * threads;
    return step->chunks * eighths / (8 * threads);
}

static void run_piece(const job *job, const step *step, uint32_t piece, int32_t thread) {
    int64_t begin = piece_begin(job, step, piece), end = piece_begin(job, step, (int64_t)piece + 1);
    if (begin < end) step->run[job->isa](&job->frame, scratch_of(job, thread), begin, end);
}

static void run_alone(const job *job) {
    for (int32_t i = 0; i < SPARSEC_STEPS; i++)
        if (steps[i].chunks > 0) steps[i].run[job->isa](&job->frame, job->scratch, 0, steps[i].chunks);
}

#if SPARSEC_THREADS > 1
#include "hosted.c"
#include "team.c"
#endif
