/* Runs `model` from four threads at once, each with a workspace of its own, and then on a pool of threads that this
 * program owns and lends. All give the same bytes.
 *
 *     cc -O2 threads.c model.o -lpthread -o threads && ./threads */
#include "model.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CALLERS = 4, POOL = 2, RUNS = 10, MOST = 16 };

/* What one caller owns. */
typedef struct session {
    void *inputs[MOST], *outputs[MOST], *workspace;
    int32_t code;
} session;

static void *allocate(size_t bytes) {
    void *memory = aligned_alloc(64, bytes / 64 * 64 + 64);
    if (!memory) exit(1);
    memset(memory, 0, bytes);
    return memory;
}

static session open_session(void) {
    session session = {.workspace = allocate(model_workspace_size())};
    if (model_input_count() > MOST || model_output_count() > MOST) exit(1);
    for (int32_t i = 0; i < model_input_count(); i++) session.inputs[i] = allocate(model_input_bytes(i));
    for (int32_t i = 0; i < model_output_count(); i++) session.outputs[i] = allocate(model_output_bytes(i));
    return session;
}

static void close_session(session *session) {
    for (int32_t i = 0; i < MOST; i++) free(session->inputs[i]), free(session->outputs[i]);
    free(session->workspace);
}

static int same_outputs(const session *a, const session *b) {
    for (int32_t i = 0; i < model_output_count(); i++)
        if (memcmp(a->outputs[i], b->outputs[i], model_output_bytes(i)) != 0) return 0;
    return 1;
}

static void *call(void *argument) {
    session *session = argument;
    for (int32_t i = 0; i < RUNS && session->code == 0; i++)
        session->code = model_run((const void *const *)session->inputs, session->outputs, session->workspace);
    return NULL;
}

/* A pool. Its threads wait for a job, call the task with indices until none is left, and say so. */
typedef struct pool {
    pthread_t threads[POOL];
    pthread_mutex_t mutex;
    pthread_cond_t work, idle;
    void (*task)(void *, int32_t);
    void *argument;
    int32_t count, next, running, stop;
} pool;

/* With the mutex held: calls the task as long as there are indices. */
static void take(pool *pool) {
    while (pool->next < pool->count) {
        int32_t index = pool->next++;
        pool->running++;
        pthread_mutex_unlock(&pool->mutex);
        pool->task(pool->argument, index);
        pthread_mutex_lock(&pool->mutex);
        if (--pool->running == 0) pthread_cond_signal(&pool->idle);
    }
}

static void *serve(void *argument) {
    pool *pool = argument;
    pthread_mutex_lock(&pool->mutex);
    while (!pool->stop) {
        take(pool);
        if (!pool->stop) pthread_cond_wait(&pool->work, &pool->mutex);
    }
    pthread_mutex_unlock(&pool->mutex);
    return NULL;
}

/* The hook of the model: returns when all indices are done. */
static void parallel_for(void *context, int32_t count, void (*task)(void *, int32_t), void *argument) {
    pool *pool = context;
    pthread_mutex_lock(&pool->mutex);
    pool->task = task, pool->argument = argument, pool->count = count, pool->next = 0;
    pthread_cond_broadcast(&pool->work);
    take(pool);
    while (pool->running > 0) pthread_cond_wait(&pool->idle, &pool->mutex);
    pthread_mutex_unlock(&pool->mutex);
}

static void run_on_pool(session *session) {
    pool pool = {.mutex = PTHREAD_MUTEX_INITIALIZER, .work = PTHREAD_COND_INITIALIZER, .idle = PTHREAD_COND_INITIALIZER};
    model_threads lent = {parallel_for, &pool, 0};
    for (int32_t i = 0; i < POOL; i++) pthread_create(&pool.threads[i], NULL, serve, &pool);
    for (int32_t i = 0; i < RUNS && session->code == 0; i++)
        session->code =
            model_run_with((const void *const *)session->inputs, session->outputs, session->workspace, &lent);
    pthread_mutex_lock(&pool.mutex);
    pool.stop = 1;
    pthread_cond_broadcast(&pool.work);
    pthread_mutex_unlock(&pool.mutex);
    for (int32_t i = 0; i < POOL; i++) pthread_join(pool.threads[i], NULL);
}

int main(void) {
    session alone = open_session(), lent = open_session(), sessions[CALLERS];
    pthread_t callers[CALLERS];
    call(&alone);
    for (int32_t i = 0; i < CALLERS; i++) {
        sessions[i] = open_session();
        pthread_create(&callers[i], NULL, call, &sessions[i]);
    }
    for (int32_t i = 0; i < CALLERS; i++) pthread_join(callers[i], NULL);
    run_on_pool(&lent);
    int32_t code = alone.code | lent.code, same = same_outputs(&alone, &lent);
    for (int32_t i = 0; i < CALLERS; i++) {
        code |= sessions[i].code;
        same &= same_outputs(&alone, &sessions[i]);
        close_session(&sessions[i]);
    }
    close_session(&alone);
    close_session(&lent);
    printf("%s\n", code != 0 ? model_error(code) : same ? "equal" : "different");
    return code != 0 || !same;
}
