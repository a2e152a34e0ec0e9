/* The C ABI of an artifact; documented in the generated header (model.h). */
#include "sparsec.h"

#define PUBLIC __attribute__((visibility("default")))

enum { OK = 0, NULL_POINTER = 1, CPU_UNFIT = 2, UNKNOWN_ISA = 3, UNKNOWN_STEP = 4, SIZE_UNFIT = 5 };

static const port *port_at(const port *ports, int32_t count, int32_t index) {
    return index >= 0 && index < count ? &ports[index] : NULL;
}

static int missing(const void *const *pointers, const port *ports, int32_t count) {
    if (count > 0 && !pointers) return 1;
    for (int32_t i = 0; i < count; i++)
        if (!pointers[i] && ports[i].bytes > 0) return 1;
    return 0;
}

static char *aligned(void *pointer) {
    return (char *)pointer + (-(uintptr_t)pointer & (ALIGNMENT - 1));
}

static void share_out(job *job, const MODEL(threads) *host) {
#if SPARSEC_THREADS > 1
    int32_t limit = host && host->threads > 0 && host->threads < SPARSEC_THREADS ? host->threads : SPARSEC_THREADS;
    int lent = host && host->parallel_for;
    job->threads = lent ? limit : team_size(limit);
    if (job->threads > 1) {
        if (lent)
            run_hosted(job, host);
        else
            run_team(job);
        return;
    }
#else
    (void)host;
#endif
    run_alone(job);
}

static void run_job(job *job, const MODEL(threads) *host) {
    uint32_t denormals = drop_denormals();
    share_out(job, host);
    restore_denormals(denormals);
}

static int32_t best_isa(void) {
    uint32_t usable = usable_isas() & (SPARSEC_ISAS < 31 ? (1u << SPARSEC_ISAS) - 1 : INT32_MAX);
    return usable ? __builtin_ctz(usable) : -1;
}

/* Checks what a run is given, and fills in the job for one with the largest sizes. */
static int32_t prepare(job *job, const void *const *inputs, void *const *outputs, void *workspace, int32_t isa) {
    if (!workspace || missing(inputs, input_ports, SPARSEC_INPUTS)) return NULL_POINTER;
    if (missing((const void *const *)outputs, output_ports, SPARSEC_OUTPUTS)) return NULL_POINTER;
    if (isa < 0 || isa >= SPARSEC_ISAS) return UNKNOWN_ISA;
    if (!MODEL(isa_usable)(isa)) return CPU_UNFIT;
    char *arena = aligned(workspace);
    struct frame frame = {inputs, outputs, arena, MODEL(_weights)};
    *job = (struct job){frame, steps, arena + SPARSEC_ARENA, SPARSEC_SCRATCH, isa, 1};
    return OK;
}

#if SPARSEC_LOOPS > 0
/* Runs call `*index` of all that a run makes, if a loop makes it; if not, `*index` becomes the number of its step. */
static int run_call_of_loop(const job *job, int32_t *index) {
    int32_t inside = 0; /* layers of loops before, less one each */
    for (const loop *loop = loops; loop < loops + SPARSEC_LOOPS; loop++) {
        int32_t call = *index - (int32_t)(loop->layers - layers), rounds = rounds_of(loop, &job->frame);
        if (call < 0) break;
        if (call < rounds * loop->count) {
            frame inner = frame_of_round(loop, &job->frame, job->scratch, call / loop->count);
            run_layer(loop, &loop->layers[call % loop->count], &inner, job->scratch, job->isa);
            return 1;
        }
        *index -= (rounds - 1) * loop->count;
        inside += loop->count - 1;
    }
    *index -= inside;
    return 0;
}
#endif

static void run_call(const job *job, int32_t index) {
#if SPARSEC_LOOPS > 0
    if (run_call_of_loop(job, &index)) return;
#endif
    run_whole(job, &job->steps[index]);
}

/* Makes one of the `calls` of a run. */
static int32_t run_one(const job *job, int32_t index, int32_t calls) {
    if (index < 0 || index >= calls) return UNKNOWN_STEP;
    uint32_t denormals = drop_denormals();
    run_call(job, index);
    restore_denormals(denormals);
    return OK;
}

#if SPARSEC_SIZES > 0
#include "sizes.c"
#endif

PUBLIC int32_t MODEL(run_isa)(const void *const *inputs, void *const *outputs, void *workspace,
                              const MODEL(threads) *host, int32_t isa) {
#if SPARSEC_SIZES > 0
    return run_with_sizes(highest_sizes(), inputs, outputs, workspace, host, isa);
#else
    job job;
    int32_t code = prepare(&job, inputs, outputs, workspace, isa);
    if (code == OK) run_job(&job, host);
    return code;
#endif
}

PUBLIC int32_t MODEL(run_with)(const void *const *inputs, void *const *outputs, void *workspace,
                               const MODEL(threads) *host) {
    int32_t isa = best_isa();
    return isa < 0 ? CPU_UNFIT : MODEL(run_isa)(inputs, outputs, workspace, host, isa);
}

PUBLIC int32_t MODEL(run)(const void *const *inputs, void *const *outputs, void *workspace) {
    return MODEL(run_with)(inputs, outputs, workspace, NULL);
}

PUBLIC int32_t MODEL(step_count)(void) { return SPARSEC_CALLS; }

PUBLIC int32_t MODEL(run_step)(const void *const *inputs, void *const *outputs, void *workspace, int32_t index) {
#if SPARSEC_SIZES > 0
    return MODEL(run_step_sized)(highest_sizes(), inputs, outputs, workspace, index);
#else
    job job;
    int32_t isa = best_isa();
    if (isa < 0) return CPU_UNFIT;
    if (index < 0 || index >= SPARSEC_CALLS) return UNKNOWN_STEP;
    int32_t code = prepare(&job, inputs, outputs, workspace, isa);
    return code == OK ? run_one(&job, index, SPARSEC_CALLS) : code;
#endif
}

PUBLIC size_t MODEL(workspace_size)(void) {
    return SPARSEC_WORKSPACE;
}

PUBLIC int32_t MODEL(isa_count)(void) { return SPARSEC_ISAS; }

PUBLIC const char *MODEL(isa_name)(int32_t isa) { return isa >= 0 && isa < SPARSEC_ISAS ? isas[isa].name : NULL; }

PUBLIC int32_t MODEL(isa_usable)(int32_t isa) {
    return isa >= 0 && isa < SPARSEC_ISAS ? (int32_t)(usable_isas() >> isa & 1) : 0;
}

#define PORT_QUERIES(kind, ports, count)                                                                              \
    PUBLIC int32_t MODEL(kind##_count)(void) { return count; }                                                        \
    PUBLIC const char *MODEL(kind##_name)(int32_t index) {                                                            \
        const port *port = port_at(ports, count, index);                                                              \
        return port ? port->name : NULL;                                                                              \
    }                                                                                                                 \
    PUBLIC const char *MODEL(kind##_dtype)(int32_t index) {                                                           \
        const port *port = port_at(ports, count, index);                                                              \
        return port ? port->dtype : NULL;                                                                             \
    }                                                                                                                 \
    PUBLIC int32_t MODEL(kind##_rank)(int32_t index) {                                                                \
        const port *port = port_at(ports, count, index);                                                              \
        return port ? port->rank : -1;                                                                                \
    }                                                                                                                 \
    PUBLIC const int64_t *MODEL(kind##_shape)(int32_t index) {                                                        \
        const port *port = port_at(ports, count, index);                                                              \
        return port ? port->shape : NULL;                                                                             \
    }                                                                                                                 \
    PUBLIC size_t MODEL(kind##_bytes)(int32_t index) {                                                                \
        const port *port = port_at(ports, count, index);                                                              \
        return port ? port->bytes : 0;                                                                                \
    }

PORT_QUERIES(input, input_ports, SPARSEC_INPUTS)
PORT_QUERIES(output, output_ports, SPARSEC_OUTPUTS)

PUBLIC const char *MODEL(manifest)(void) { return MODEL(_manifest); }

PUBLIC const char *MODEL(version)(void) { return SPARSEC_VERSION; }

PUBLIC const char *MODEL(error)(int32_t code) {
    switch (code) {
    case OK: return "no error";
    case NULL_POINTER: return "an input, an output, the workspace or the array of sizes is a null pointer";
    case CPU_UNFIT: return "this CPU lacks the instructions that the model was compiled for (" SPARSEC_ISA_NAMES ")";
    case UNKNOWN_ISA: return "the model has no code for an ISA of that index";
    case SIZE_UNFIT: return "a size is out of the range that the model was compiled for (" SPARSEC_RANGES ")";
    case UNKNOWN_STEP: return "the model has no step of that index";
    default: return "unknown error code";
    }
}
