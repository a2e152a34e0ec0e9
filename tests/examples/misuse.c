/* What the header forbids, to see that sanitizers see it: an output that is too short, two runs in one workspace. */
#include "model.h"

#include <pthread.h>
#include <stdlib.h>

typedef struct call {
    const void *inputs[1];
    void *outputs[1], *workspace;
} call;

static void *run(void *argument) {
    call *call = argument;
    for (int i = 0; i < 10; i++) model_run(call->inputs, call->outputs, call->workspace);
    return NULL;
}

int main(void) {
    void *workspace = malloc(model_workspace_size()), *x = calloc(model_input_bytes(0), 1);
    call calls[2] = {{{x}, {malloc(model_output_bytes(0) - SHORT)}, workspace},
                     {{x}, {malloc(model_output_bytes(0) - SHORT)}, workspace}};
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) pthread_create(&threads[i], NULL, run, &calls[i]);
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    return 0;
}
