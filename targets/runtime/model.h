/* @name@: a neural network compiled by sparsec @version@. Usable from C and C++.
 *
@ports@
 *
 * Tensors are row-major and contiguous, aligned as their elements are (64 bytes is fastest). Buffers must not overlap.
 * All functions may be called from many threads at once; concurrent runs need a workspace each. Nothing is allocated
 * and nothing is kept between runs.
 *
 *     void *workspace = malloc(@name@_workspace_size());
 *     const void *inputs[] = {@input_names@};
 *     void *outputs[] = {@output_names@};
 *     int32_t code = @name@_run(inputs, outputs, workspace);
 *     if (code != 0) fprintf(stderr, "%s\n", @name@_error(code));
 */
#ifndef SPARSEC_MODEL_@name@_H
#define SPARSEC_MODEL_@name@_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Bytes of workspace that a run needs, at any alignment. */
size_t @name@_workspace_size(void);

/* Runs the model with up to @threads@ thread(s), no more than the CPUs that the process may use. Returns 0, or a code
 * for @name@_error. Its threads live for the run only. */
int32_t @name@_run(const void *const *inputs, void *const *outputs, void *workspace);

/* The threads of a run. All zero means what @name@_run does.
 *
 * parallel_for(context, count, task, argument) calls task(argument, index) for each index in [0, count), once each, on
 * any threads, at the same time or one after another, and returns when all have returned. It is called for each step
 * of the model that can be split. NULL: the model starts its own threads.
 * threads: at most this many; 0 means @threads@, the most that the model was compiled for. 1 runs on the caller alone. */
typedef struct @name@_threads {
    void (*parallel_for)(void *context, int32_t count, void (*task)(void *argument, int32_t index), void *argument);
    void *context;
    int32_t threads;
} @name@_threads;

int32_t @name@_run_with(const void *const *inputs, void *const *outputs, void *workspace,
                        const @name@_threads *threads);

/* The instruction sets that the model carries code for, best first. A run takes the first that this CPU has;
 * @name@_run_isa forces one, for tests and measurements. */
int32_t @name@_isa_count(void);
const char *@name@_isa_name(int32_t isa);
int32_t @name@_isa_usable(int32_t isa);
int32_t @name@_run_isa(const void *const *inputs, void *const *outputs, void *workspace,
                       const @name@_threads *threads, int32_t isa);

/* The calls of kernels that a run makes, in order: the layers of the manifest, those with the same "loop" in turn, for
 * "rounds" times. @name@_run_step makes one of them on the caller, over what those before it left in the workspace, so
 * that a profiler can time each. */
int32_t @name@_step_count(void);
int32_t @name@_run_step(const void *const *inputs, void *const *outputs, void *workspace, int32_t index);

/* Inputs and outputs, in the order of the pointers of a run. dtype is NumPy's name ("float32"). An index out of range
 * gives NULL, 0 bytes, or rank -1. */
int32_t @name@_input_count(void);
const char *@name@_input_name(int32_t index);
const char *@name@_input_dtype(int32_t index);
int32_t @name@_input_rank(int32_t index);
const int64_t *@name@_input_shape(int32_t index);
size_t @name@_input_bytes(int32_t index);

int32_t @name@_output_count(void);
const char *@name@_output_name(int32_t index);
const char *@name@_output_dtype(int32_t index);
int32_t @name@_output_rank(int32_t index);
const int64_t *@name@_output_shape(int32_t index);
size_t @name@_output_bytes(int32_t index);

@sizes@/* What was compiled and why, as JSON. */
const char *@name@_manifest(void);

/* The sparsec that compiled the model. */
const char *@name@_version(void);

/* The text of a code that a run returned. */
const char *@name@_error(int32_t code);

#ifdef __cplusplus
}
#endif

#endif
