/* Runs the model MODEL once, by its C ABI, on whatever is in fresh memory. */
#include MODEL_HEADER

#include <stdlib.h>

#define JOIN(model, function) model##_##function
#define CALL(model, function) JOIN(model, function)

int main(void) {
    void *ports[2][64];
    int32_t inputs = CALL(MODEL, input_count)(), outputs = CALL(MODEL, output_count)();
    if (inputs > 64 || outputs > 64) return 2;
    for (int32_t i = 0; i < inputs; i++) ports[0][i] = malloc(CALL(MODEL, input_bytes)(i));
    for (int32_t i = 0; i < outputs; i++) ports[1][i] = malloc(CALL(MODEL, output_bytes)(i));
    void *workspace = malloc(CALL(MODEL, workspace_size)());
    return CALL(MODEL, run)((const void *const *)ports[0], ports[1], workspace);
}
