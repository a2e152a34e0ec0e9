/* Two models in one program, each called from two threads at once, which have teams of their own. Prints whether all
 * outputs of a model are the same. */
#include "model.h"
#include "other.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CALLERS = 4, RUNS = 3 };

#define CALLER(name)                                                                                                   \
    static void *call_##name(void *result) {                                                                           \
        float *x = malloc(name##_input_bytes(0)), *y = malloc(name##_output_bytes(0));                                 \
        void *workspace = malloc(name##_workspace_size());                                                             \
        for (size_t i = 0; i < name##_input_bytes(0) / sizeof *x; i++) x[i] = (float)(i % 255) / 255;                  \
        for (int i = 0; i < RUNS; i++) {                                                                               \
            const void *inputs[] = {x};                                                                                \
            void *outputs[] = {y};                                                                                     \
            if (name##_run(inputs, outputs, workspace) != 0) exit(1);                                                  \
        }                                                                                                              \
        *(float **)result = y;                                                                                         \
        free(workspace);                                                                                               \
        free(x);                                                                                                       \
        return NULL;                                                                                                   \
    }

CALLER(model)
CALLER(other)

int main(void) {
    pthread_t threads[CALLERS];
    float *outputs[CALLERS];
    for (int i = 0; i < CALLERS; i++)
        pthread_create(&threads[i], NULL, i % 2 == 0 ? call_model : call_other, &outputs[i]);
    for (int i = 0; i < CALLERS; i++) pthread_join(threads[i], NULL);
    int same = memcmp(outputs[0], outputs[2], model_output_bytes(0)) == 0 &&
               memcmp(outputs[1], outputs[3], other_output_bytes(0)) == 0;
    printf("%s\n", same ? "equal" : "different");
    for (int i = 0; i < CALLERS; i++) free(outputs[i]);
    return 0;
}
