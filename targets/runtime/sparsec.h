/* What the generated tables of an artifact (model.c) and the runtime share. Everything here is private to one
 * artifact: model.c includes the runtime's .c files, so that all of it is static and two models never clash. */
#ifndef SPARSEC_RUNTIME_H
#define SPARSEC_RUNTIME_H

#include <stddef.h>
#include <stdint.h>

#define HIDDEN __attribute__((visibility("hidden")))

enum { ALIGNMENT = 64, MOST_AXES = 64, THREAD_PADDING = 128 /* two lines: the prefetcher of x86 fetches lines in pairs */ };

/* The memory of one run; kernel arguments are relative to it. `windows`: those of the chain that runs, see chain.c.
 * `local`: what lives for a round of the loop that runs, whose first image is `image`, see loop.c. `sizes` are those of the
 * run, `places` where buffers lie in the arena, in units of ALIGNMENT, see sizes.c. */
typedef struct frame {
    const void *const *inputs;
    void *const *outputs;
    char *arena;
    const char *weights;
    char *const *windows;
    char *local;
    int64_t image;
#if SPARSEC_SIZES > 0
    const int64_t *sizes;
    const uint32_t *places;
#endif
} frame;

typedef void step_function(const frame *frame, void *scratch, int64_t begin, int64_t end);

/* One call of a kernel over the independent units [0, chunks), in the code of every ISA. The chunks of a group, which
 * follow one another, share what a call prepares for them. */
typedef struct step {
    int64_t chunks;
    int64_t group;
    step_function *run[SPARSEC_ISAS];
} step;

typedef struct port {
    const char *name;
    const char *dtype;
    const int64_t *shape;
    int32_t rank;
    size_t bytes, item_bytes;
} port;

#if SPARSEC_SIZES > 0
typedef struct size_range {
    const char *name;
    int64_t low, high;
} size_range;

/* The memory of runs whose sizes are at most these: bytes of the arena, and of the scratch of one thread. */
typedef struct corner {
    int64_t sizes[SPARSEC_SIZES];
    size_t arena, scratch;
} corner;

/* The input, and the axis of it, that is as long as a size. */
typedef struct size_source {
    int32_t input, axis;
} size_source;

/* Rounded down, for divisors above 0. */
static inline int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b < 0); }
#endif

/* Words of CPU feature bits; what they hold is known to cpu.c and to targets/cpu.py. */
enum { CPU_WORDS = 9 };

typedef struct isa {
    const char *name;
    uint32_t needs[CPU_WORDS];
} isa;

#endif
