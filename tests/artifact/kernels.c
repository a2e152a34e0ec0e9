/* Kernels of the toy model, as the code generator would emit them: y = scale * x + sum over rows of (scale * x).
 * ROWS x COLS; KERNEL(name) adds the ISA's suffix. */
#include <stdint.h>

void *memcpy(void *, const void *, __SIZE_TYPE__);

void KERNEL(scale)(const float *x, const float *scale, float *y, float *scratch, int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; row++) {
        memcpy(scratch, x + row * COLS, COLS * sizeof(float));
        for (int64_t i = 0; i < COLS; i++) y[row * COLS + i] = scale[row] * scratch[i];
    }
}

void KERNEL(sum)(const float *x, float *y, void *scratch, int64_t begin, int64_t end) {
    for (int64_t i = 0; i < COLS; i++) y[i] = 0;
    for (int64_t row = 0; row < ROWS; row++)
        for (int64_t i = 0; i < COLS; i++) y[i] += x[row * COLS + i];
}

void KERNEL(add)(const float *x, const float *row_sum, float *y, void *scratch, int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; row++)
        for (int64_t i = 0; i < COLS; i++) y[row * COLS + i] = x[row * COLS + i] + row_sum[i];
}
