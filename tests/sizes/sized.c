/* Prints what the model `two` says of its sizes, and of runs with right and wrong ones. */
#include MODEL_HEADER

#include <stdio.h>
#include <stdlib.h>

enum { BATCH = 2, SEQ = 5, WIDTH = 16 };

static int32_t run(const int64_t *sizes, float *x, float *scale, float *y, void *workspace) {
    const void *inputs[] = {x, scale};
    void *outputs[] = {y};
    return two_run_sized(sizes, inputs, outputs, workspace, NULL);
}

int main(void) {
    int64_t sizes[] = {BATCH, SEQ}, large[] = {BATCH, 41}, small[] = {0, SEQ}, dims[3];
    static float x[3 * 40 * WIDTH], scale[3 * 40], y[3 * 40 * WIDTH];
    for (int i = 0; i < 3 * 40 * WIDTH; i++) x[i] = (float)i, scale[i / WIDTH] = 2;
    printf("{\"sizes\": [");
    for (int32_t i = 0; i < two_size_count(); i++)
        printf("%s[\"%s\", %d, %d]", i ? ", " : "", two_size_name(i), (int)two_size_low(i), (int)two_size_high(i));
    int32_t rank = two_output_shape_for(0, sizes, dims);
    printf("], \"rank\": %d, \"dims\": [%d, %d, %d]", rank, (int)dims[0], (int)dims[1], (int)dims[2]);
    printf(", \"bytes\": %zu, \"workspace\": %zu", two_output_bytes_for(0, sizes), two_workspace_size_for(sizes));
    void *workspace = malloc(two_workspace_size_for(sizes));
    int32_t code = run(sizes, x, scale, y, workspace), wrong = 0;
    for (int i = 0; i < BATCH * SEQ * WIDTH; i++) wrong += y[i] != 2 * x[i];
    int32_t codes[] = {run(large, x, scale, y, workspace), run(small, x, scale, y, workspace),
                       run(NULL, x, scale, y, workspace)};
    printf(", \"codes\": [%d, %d, %d, %d]", code, codes[0], codes[1], codes[2]);
    printf(", \"error\": \"%s\", \"wrong\": %d", two_error(codes[0]), wrong);
    wrong = two_workspace_size_for(large) != 0 || two_input_bytes_for(0, small) != 0;
    wrong += two_output_shape_for(1, sizes, dims) != -1 || two_size_name(2) != NULL;
    void *most = malloc(two_workspace_size());
    const void *inputs[] = {x, scale};
    void *outputs[] = {y};
    wrong += two_run(inputs, outputs, most) != 0 || y[3 * 40 * WIDTH - 1] != 2 * x[3 * 40 * WIDTH - 1];
    printf(", \"plain\": %d}", wrong);
    free(workspace);
    free(most);
}
