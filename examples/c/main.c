/* Runs a model that sparsec compiled as `model`, with memory that this program owns:
 *
 *     ./main [INPUT_FILE...]         raw bytes, one file for each input; a ramp from 0 to 1 where none is given */
#include "model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 16 };

static void *allocate(size_t bytes) {
    void *memory = aligned_alloc(64, (bytes + 63) / 64 * 64 + 64);
    if (!memory) exit(1);
    return memory;
}

static int read_input(const char *path, void *buffer, size_t bytes) {
    FILE *file = fopen(path, "rb");
    if (!file) return 0;
    size_t done = fread(buffer, 1, bytes, file);
    fclose(file);
    return done == bytes;
}

static void fill(void *buffer, int32_t input) {
    size_t count = model_input_bytes(input) / sizeof(float);
    if (strcmp(model_input_dtype(input), "float32") != 0) {
        memset(buffer, 0, model_input_bytes(input));
        return;
    }
    for (size_t i = 0; i < count; i++) ((float *)buffer)[i] = (float)i / (float)count;
}

static void print_port(const char *kind, const char *name, const char *dtype, int32_t rank, const int64_t *shape) {
    printf("%s %s: %s", kind, name, dtype);
    for (int32_t i = 0; i < rank; i++) printf("%s%lld", i == 0 ? " " : "x", (long long)shape[i]);
    printf("\n");
}

int main(int argc, char **argv) {
    void *inputs[MOST], *outputs[MOST];
    if (model_input_count() > MOST || model_output_count() > MOST) return 1;
    for (int32_t i = 0; i < model_input_count(); i++) {
        print_port("input", model_input_name(i), model_input_dtype(i), model_input_rank(i), model_input_shape(i));
        inputs[i] = allocate(model_input_bytes(i));
        fill(inputs[i], i);
        if (argc > i + 1 && !read_input(argv[i + 1], inputs[i], model_input_bytes(i))) {
            fprintf(stderr, "%s: cannot read %zu bytes\n", argv[i + 1], model_input_bytes(i));
            return 1;
        }
    }
    for (int32_t i = 0; i < model_output_count(); i++) outputs[i] = allocate(model_output_bytes(i));

    void *workspace = allocate(model_workspace_size());
    int32_t code = model_run((const void *const *)inputs, outputs, workspace);
    if (code != 0) {
        fprintf(stderr, "%s\n", model_error(code));
        return 1;
    }
    for (int32_t i = 0; i < model_output_count(); i++) {
        print_port("output", model_output_name(i), model_output_dtype(i), model_output_rank(i), model_output_shape(i));
        if (strcmp(model_output_dtype(i), "float32") == 0) printf("first value %g\n", *(const float *)outputs[i]);
    }
    return 0;
}
