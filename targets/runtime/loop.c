/* Runs layers for a few images at a time, so that these share weights and what the layers hand on stays in the cache.
 *
 * Values that live for one round lie in the scratch of the thread. Kernels count chunks, and address values, through all
 * images, so they are given the address where image 0 would lie. */
#include "sparsec.h"

/* `images` in rounds of `size`; `local` is where in scratch their values begin. Where a run tells how many images there
 * are, these are the most, for which the layers count their chunks. */
typedef struct loop {
    const step *layers;
    int32_t count, images, size;
    int64_t local;
} loop;

static int64_t images_of(const loop *loop, const frame *frame) {
#if SPARSEC_SIZES > 0
    (void)loop;
    return images_of_run(frame->sizes);
#else
    (void)frame;
    return loop->images;
#endif
}

static int32_t rounds_of(const loop *loop, const frame *frame) {
    return (int32_t)((images_of(loop, frame) + loop->size - 1) / loop->size);
}

static frame frame_of_round(const loop *loop, const frame *frame, void *scratch, int64_t round) {
    struct frame inner = *frame;
    inner.local = (char *)scratch + loop->local;
    inner.image = round * loop->size;
    return inner;
}

static void run_layer(const loop *loop, const step *layer, const frame *frame, void *scratch, int32_t isa) {
    int64_t chunks = layer->chunks / loop->images, stop = frame->image + loop->size;
    int64_t images = images_of(loop, frame);
    if (stop > images) stop = images;
    if (chunks > 0) layer->run[isa](frame, scratch, frame->image * chunks, stop * chunks);
}

static void run_loop(const loop *loop, const frame *frame, void *scratch, int32_t isa, int64_t begin, int64_t end) {
    for (int64_t round = begin; round < end; round++) {
        struct frame inner = frame_of_round(loop, frame, scratch, round);
        for (int32_t i = 0; i < loop->count; i++) run_layer(loop, &loop->layers[i], &inner, scratch, isa);
    }
}

