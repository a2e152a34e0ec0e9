/* Two models in one program: prints the sum of the first outputs of each, and whether their manifests differ. */
#include "first.h"
#include "second.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(void) {
    float *x = calloc(first_input_bytes(0), 1), *y = malloc(first_output_bytes(0)), *z = malloc(second_output_bytes(0));
    x[0] = 1;
    const void *inputs[] = {x};
    void *first_outputs[] = {y}, *second_outputs[] = {z};
    void *workspace = malloc(first_workspace_size() + second_workspace_size());
    if (first_run(inputs, first_outputs, workspace) != 0 || second_run(inputs, second_outputs, workspace) != 0) return 1;
    printf("%g %g %d\n", y[0], z[0], strcmp(first_manifest(), second_manifest()) != 0);
    return 0;
}
