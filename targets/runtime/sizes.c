/* Runs whose sizes only the caller knows; documented in the generated header (model_sizes.h).
 *
 * `corners` are sizes for which memory was planned, those that take the least memory first: a run takes the first one
 * that is nowhere smaller. */
#include "sparsec.h"

static const corner *corner_of(const int64_t *sizes) {
    for (int32_t i = 0; i < SPARSEC_SIZES; i++)
        if (sizes[i] < size_ranges[i].low || sizes[i] > size_ranges[i].high) return NULL;
    for (int32_t c = 0; c < SPARSEC_CORNERS; c++) {
        int32_t held = 0;
        while (held < SPARSEC_SIZES && sizes[held] <= corners[c].sizes[held]) held++;
        if (held == SPARSEC_SIZES) return &corners[c];
    }
    return NULL;
}

static const int64_t *highest_sizes(void) { return corners[SPARSEC_CORNERS - 1].sizes; }

static size_t workspace_of(const corner *corner) {
    return ALIGNMENT - 1 + corner->arena + corner->scratch * SPARSEC_THREADS;
}

/* The steps and the memory of a run of `sizes`; 0 where these are out of range. */
static int take_sizes(job *job, step *table, const int64_t *sizes) {
    const corner *corner = corner_of(sizes);
    if (!corner) return 0;
    __builtin_memcpy(table, steps, sizeof(steps));
    set_chunks(table, sizes);
    job->steps = table;
    job->frame.sizes = sizes;
    job->frame.places = places[corner - corners];
    job->scratch = job->frame.arena + corner->arena;
    job->scratch_bytes = corner->scratch;
    return 1;
}

static int32_t run_with_sizes(const int64_t *sizes, const void *const *inputs, void *const *outputs, void *workspace,
                              const MODEL(threads) *host, int32_t isa) {
    step table[SPARSEC_STEPS];
    job job;
    if (!sizes) return NULL_POINTER;
    int32_t code = prepare(&job, inputs, outputs, workspace, isa);
    if (code != OK) return code;
    if (!take_sizes(&job, table, sizes)) return SIZE_UNFIT;
    run_job(&job, host);
    return OK;
}

PUBLIC int32_t MODEL(run_isa_sized)(const int64_t *sizes, const void *const *inputs, void *const *outputs,
                                    void *workspace, const MODEL(threads) *host, int32_t isa) {
    return run_with_sizes(sizes, inputs, outputs, workspace, host, isa);
}

PUBLIC int32_t MODEL(run_sized)(const int64_t *sizes, const void *const *inputs, void *const *outputs, void *workspace,
                                const MODEL(threads) *host) {
    int32_t isa = best_isa();
    return isa < 0 ? CPU_UNFIT : run_with_sizes(sizes, inputs, outputs, workspace, host, isa);
}

PUBLIC int32_t MODEL(run_step_sized)(const int64_t *sizes, const void *const *inputs, void *const *outputs,
                                     void *workspace, int32_t index) {
    step table[SPARSEC_STEPS];
    job job;
    int32_t isa = best_isa();
    if (isa < 0) return CPU_UNFIT;
    if (!sizes) return NULL_POINTER;
    int32_t code = prepare(&job, inputs, outputs, workspace, isa);
    if (code != OK) return code;
    if (!take_sizes(&job, table, sizes)) return SIZE_UNFIT;
    return run_one(&job, index, (int32_t)count_calls(sizes));
}

PUBLIC int32_t MODEL(step_count_for)(const int64_t *sizes) {
    return sizes && corner_of(sizes) ? (int32_t)count_calls(sizes) : -1;
}

PUBLIC size_t MODEL(workspace_size_for)(const int64_t *sizes) {
    const corner *corner = sizes ? corner_of(sizes) : NULL;
    return corner ? workspace_of(corner) : 0;
}

PUBLIC int32_t MODEL(size_count)(void) { return SPARSEC_SIZES; }

PUBLIC const char *MODEL(size_name)(int32_t index) {
    return index >= 0 && index < SPARSEC_SIZES ? size_ranges[index].name : NULL;
}

PUBLIC int64_t MODEL(size_low)(int32_t index) {
    return index >= 0 && index < SPARSEC_SIZES ? size_ranges[index].low : -1;
}

PUBLIC int64_t MODEL(size_high)(int32_t index) {
    return index >= 0 && index < SPARSEC_SIZES ? size_ranges[index].high : -1;
}

static size_t bytes_at(const port *port, const int64_t *dims) {
    size_t bytes = port->item_bytes;
    for (int32_t i = 0; i < port->rank; i++) bytes *= (size_t)dims[i];
    return bytes;
}

#define SIZED_QUERIES(kind, ports, count)                                                                             \
    PUBLIC int32_t MODEL(kind##_shape_for)(int32_t index, const int64_t *sizes, int64_t *dims) {                      \
        const port *port = port_at(ports, count, index);                                                              \
        if (!port || !sizes || !corner_of(sizes)) return -1;                                                          \
        kind##_dims(index, sizes, dims);                                                                              \
        return port->rank;                                                                                            \
    }                                                                                                                 \
    PUBLIC size_t MODEL(kind##_bytes_for)(int32_t index, const int64_t *sizes) {                                      \
        int64_t dims[MOST_AXES];                                                                                      \
        return MODEL(kind##_shape_for)(index, sizes, dims) < 0 ? 0 : bytes_at(port_at(ports, count, index), dims);    \
    }

SIZED_QUERIES(input, input_ports, SPARSEC_INPUTS)
SIZED_QUERIES(output, output_ports, SPARSEC_OUTPUTS)
