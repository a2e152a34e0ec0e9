/* Runs the model `toy` 200 times with two threads that lose all but one core as the second one starts. Prints whether all
 * runs gave the bytes of one thread. */
#define _GNU_SOURCE
#include "toy.h"

#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int started;

/* Goes before libc's. The new thread inherits what its starter may use. */
int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *argument) {
    int (*create)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *) = dlsym(RTLD_NEXT, "pthread_create");
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(sched_getcpu(), &one);
    started++;
    return sched_setaffinity(0, sizeof one, &one) == 0 ? create(thread, attributes, start, argument) : -1;
}

int main(void) {
    cpu_set_t all;
    memset(&all, 255, sizeof all); /* Linux leaves out those that there are not */
    float *x = malloc(toy_input_bytes(0)), *y = malloc(toy_output_bytes(0)), *z = malloc(toy_output_bytes(0));
    for (size_t i = 0; i < toy_input_bytes(0) / 4; i++) x[i] = (float)(i % 17) - 8;
    const void *inputs[] = {x};
    void *outputs[] = {y}, *others[] = {z}, *workspace = malloc(toy_workspace_size());
    toy_threads alone = {NULL, NULL, 1};
    int wrong = toy_run_with(inputs, outputs, workspace, &alone);
    for (int i = 0; i < 200; i++) {
        memset(z, 255, toy_output_bytes(0));
        if (sched_setaffinity(0, sizeof all, &all) != 0) return 1;
        wrong |= toy_run(inputs, others, workspace) || memcmp(y, z, toy_output_bytes(0));
    }
    printf("%s\n", wrong ? "differs" : started == 200 ? "equal" : "one core only");
    return 0;
}
