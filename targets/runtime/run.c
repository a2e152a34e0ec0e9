/* Runs the steps of a model: on the caller alone, on a team of its own threads, or on threads that the host lends. */
#include "sparsec.h"

#include <stdatomic.h>

/* One run. `threads` counts the caller; each thread has its own scratch. */
typedef struct job {
    frame frame;
    const step *steps;
    char *scratch;
    size_t scratch_bytes; /* of one thread */
    int32_t isa;
    int32_t threads;
} job;

static void *scratch_of(const job *job, int32_t thread) { return job->scratch + (size_t)thread * job->scratch_bytes; }

/* Each thread has an equal share of a step's chunks, the same in every step, so that it finds in its caches what it
 * wrote: lines that another core wrote come at 6 to 7 GB/s (a chain of 1x1 convolutions at 28 x 28 on two cores gained
 * 1.3 times without this). It takes its share in up to four pieces, a half, a quarter, an eighth and an eighth, then
 * what is left of the others' shares: the small pieces even out threads of unequal speed to an eighth of a share. Where
 * there are fewer groups than threads, a share is one piece of one group: smaller ones would prepare it once more. */
typedef struct share {
    int64_t begin, units, unit; /* chunks; how many units of how many chunks */
    uint32_t pieces;
} share;

static int64_t least(int64_t x, int64_t y) { return x < y ? x : y; }

static share share_of(const job *job, const step *step, int32_t index) {
    int64_t groups = (step->chunks + step->group - 1) / step->group;
    int64_t unit = groups < job->threads ? 1 : step->group, all = (step->chunks + unit - 1) / unit;
    int64_t begin = all * index / job->threads, units = all * (index + 1) / job->threads - begin;
    return (share){begin * unit, units, unit, (uint32_t)least(units, unit == step->group ? 4 : 1)};
}

/* The first chunk of a piece of a share. */
static int64_t piece_begin(const step *step, const share *share, uint32_t piece) {
    static const int64_t eighths[] = {0, 4, 6, 7, 8};
    int64_t units = share->units < 4 || share->pieces == 1 ? share->units * piece / (int64_t)share->pieces
                                                           : share->units * eighths[piece] / 8;
    return least(share->begin + units * share->unit, step->chunks);
}

static uint32_t pieces_of(const job *job, const step *step) {
    uint32_t pieces = 0;
    for (int32_t i = 0; i < job->threads; i++) pieces += share_of(job, step, i).pieces;
    return pieces;
}

static void run_piece(const job *job, const step *step, const share *share, uint32_t piece, int32_t thread) {
    int64_t begin = piece_begin(step, share, piece), end = piece_begin(step, share, piece + 1);
    if (begin < end) step->run[job->isa](&job->frame, scratch_of(job, thread), begin, end);
}

static void run_whole(const job *job, const step *step) {
    if (step->chunks > 0) step->run[job->isa](&job->frame, job->scratch, 0, step->chunks);
}

static void run_alone(const job *job) {
    for (int32_t i = 0; i < SPARSEC_STEPS; i++) run_whole(job, &job->steps[i]);
}

#if SPARSEC_THREADS > 1
#include "hosted.c"
#include "team.c"
#endif
