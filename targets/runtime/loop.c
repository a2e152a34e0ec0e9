/* Runs layers for a few images at a time, so that these share weights and what the layers hand on stays in the cache.
 *
 * Values that live for one round lie in the scratch of the thread. Kernels count chunks, and address values, through all
 * images, so they are given the address where image 0 would lie. */
#include "sparsec.h"

/* `images` in rounds of `size`; `local` is where in scratch their values begin. */
typedef struct loop {
    const step *layers;
    int32_t count, images, size;
    int64_t local;
} loop;

static frame frame_of_round(const loop *loop, const frame *frame, void *scratch, int64_t round) {
    struct frame inner = *frame;
    inner.local = (char *)scratch + loop->local;
    inner.image = round * loop->size;
    return inner;
}

static void run_layer(const loop *loop, const step *layer, const frame *frame, void *scratch, int32_t isa) {
    int64_t chunks = layer->chunks / loop->images, stop = frame->image + loop->size;
    if (stop > loop->images) stop = loop->images;
    if (chunks > 0) layer->run[isa](frame, scratch, frame->image * chunks, stop * chunks);
}

static void run_loop(const loop *loop, const frame *frame, void *scratch, int32_t isa, int64_t begin, int64_t end) {
    for (int64_t round = begin; round < end; round++) {
        struct frame inner = frame_of_round(loop, frame, scratch, round);
        for (int32_t i = 0; i < loop->count; i++) run_layer(loop, &loop->layers[i], &inner, scratch, isa);
    }
}

/* Runs call `*index` of all that a run makes, if a loop makes it; if not, `*index` becomes the number of its layer. */
static int run_call_of_loop(const loop *loop, int32_t *index, const frame *frame, void *scratch, int32_t isa) {
    for (int32_t i = 0; i < SPARSEC_LOOPS; i++, loop++) {
        int32_t call = *index - (int32_t)(loop->layers - layers), rounds = (loop->images + loop->size - 1) / loop->size;
        if (call < 0) return 0;
        if (call < rounds * loop->count) {
            struct frame inner = frame_of_round(loop, frame, scratch, call / loop->count);
            run_layer(loop, &loop->layers[call % loop->count], &inner, scratch, isa);
            return 1;
        }
        *index -= (rounds - 1) * loop->count;
    }
    return 0;
}
