/* Runs the model `toy` 200 times with two threads on one core: the program pins itself, and its own syscall() says that
 * two cores are allowed, as where a core is taken away later. Prints whether all runs gave the bytes of one thread. */
#define _GNU_SOURCE
#include "toy.h"

#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

static int asked;

static long raw(long number, const long a[6]) {
    register long a3 __asm__("r10") = a[3], a4 __asm__("r8") = a[4], a5 __asm__("r9") = a[5];
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(a3), "r"(a4), "r"(a5)
                     : "rcx", "r11", "memory");
    return result;
}

long syscall(long number, ...) {
    long arguments[6];
    va_list list;
    va_start(list, number);
    for (int i = 0; i < 6; i++) arguments[i] = va_arg(list, long);
    va_end(list);
    if (number != SYS_sched_getaffinity) return raw(number, arguments);
    asked = 1;
    *(long *)arguments[2] = 3;
    return sizeof(long);
}

int main(void) {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(sched_getcpu(), &one);
    if (sched_setaffinity(0, sizeof one, &one) != 0) return 1;
    float *x = malloc(toy_input_bytes(0)), *y = malloc(toy_output_bytes(0)), *z = malloc(toy_output_bytes(0));
    for (size_t i = 0; i < toy_input_bytes(0) / 4; i++) x[i] = (float)(i % 17) - 8;
    const void *inputs[] = {x};
    void *outputs[] = {y}, *others[] = {z}, *workspace = malloc(toy_workspace_size());
    toy_threads alone = {NULL, NULL, 1};
    int wrong = toy_run_with(inputs, outputs, workspace, &alone);
    for (int i = 0; i < 200; i++) {
        memset(z, 255, toy_output_bytes(0));
        wrong |= toy_run(inputs, others, workspace) || memcmp(y, z, toy_output_bytes(0));
    }
    printf("%s\n", wrong ? "differs" : asked ? "equal" : "not asked");
    return 0;
}
