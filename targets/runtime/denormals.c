/* Denormal numbers in artifacts with kernels of bf16, whose instructions take them for zeros: there all code does.
 *
 * Values in pairs of bf16 are denormal numbers to who reads the memory as f32, as kernels of panels do with the padding
 * behind the pixels. An FMA on these takes some 150 cycles: 1.39 ms instead of 0.08 for a sparse 1x1 layer on 7 x 7. */
#include "sparsec.h"

#if SPARSEC_DENORMALS_ARE_ZEROS && defined(__x86_64__)
/* Returns the mode before, for `restore_denormals`. Threads inherit the mode of who starts them. */
static uint32_t drop_denormals(void) {
    enum { FLUSH_TO_ZERO = 1 << 15, DENORMALS_ARE_ZEROS = 1 << 6 };
    uint32_t mode = __builtin_ia32_stmxcsr();
    __builtin_ia32_ldmxcsr(mode | FLUSH_TO_ZERO | DENORMALS_ARE_ZEROS);
    return mode;
}

static void restore_denormals(uint32_t mode) { __builtin_ia32_ldmxcsr(mode); }
#else
static uint32_t drop_denormals(void) { return 0; }

static void restore_denormals(uint32_t mode) { (void)mode; }
#endif
