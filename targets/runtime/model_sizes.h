/* Sizes that a run tells, in this order:
 *
@ranges@
 *
 * The functions above take the highest ones. These take an array of all sizes, and answer for them:
 *
 *     int64_t sizes[] = {@highs@};
 *     void *workspace = malloc(@name@_workspace_size_for(sizes));
 *     int32_t code = @name@_run_sized(sizes, inputs, outputs, workspace, NULL);
 *
 * A size out of its range gives a code for @name@_error, 0 bytes, or rank -1. */
int32_t @name@_size_count(void);
const char *@name@_size_name(int32_t index);
int64_t @name@_size_low(int32_t index);
int64_t @name@_size_high(int32_t index);

size_t @name@_workspace_size_for(const int64_t *sizes);
int32_t @name@_run_sized(const int64_t *sizes, const void *const *inputs, void *const *outputs, void *workspace,
                         const @name@_threads *threads);
int32_t @name@_run_isa_sized(const int64_t *sizes, const void *const *inputs, void *const *outputs, void *workspace,
                             const @name@_threads *threads, int32_t isa);
int32_t @name@_step_count_for(const int64_t *sizes);
int32_t @name@_run_step_sized(const int64_t *sizes, const void *const *inputs, void *const *outputs, void *workspace,
                              int32_t index);

/* Shapes go to `dims`, which has room for the rank; the result is the rank. */
int32_t @name@_input_shape_for(int32_t index, const int64_t *sizes, int64_t *dims);
size_t @name@_input_bytes_for(int32_t index, const int64_t *sizes);
int32_t @name@_output_shape_for(int32_t index, const int64_t *sizes, int64_t *dims);
size_t @name@_output_bytes_for(int32_t index, const int64_t *sizes);

