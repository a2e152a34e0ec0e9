/* Runs an artifact on files, for an emulator or a board:
 *
 *     driver MODEL.so NAME INPUTS OUTPUTS THREADS ISA [SECONDS]
 *
 * INPUTS holds the bytes of all inputs one after another, OUTPUTS is written likewise. THREADS 0 is the model's own
 * number; ISA -1 the best. With SECONDS runs for that long after a warm-up and prints a JSON array, for each run its
 * nanoseconds by the clock and of CPU time. Prints the message and ends with 1 where the model refuses to run. */
#include "loader.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { WARM_UP = 3, MOST_RUNS = 20000 };

typedef struct threads {
    void (*parallel_for)(void *, int32_t, void (*)(void *, int32_t), void *);
    void *context;
    int32_t threads;
} threads;

typedef struct model {
    int32_t (*run_with)(const void *const *, void *const *, void *, const threads *);
    int32_t (*run_isa)(const void *const *, void *const *, void *, const threads *, int32_t);
    size_t (*workspace_size)(void);
    const char *(*error)(int32_t);
} model;

typedef struct ports {
    int32_t count;
    size_t bytes[256];
    void *buffers[256];
} ports;

static void fail(const char *message) {
    fprintf(stderr, "%s\n", message);
    exit(2);
}

static void *allocate(size_t bytes) {
    void *memory = aligned_alloc(64, (bytes + 127) / 64 * 64);
    if (!memory) fail("out of memory");
    return memory;
}

static ports make_ports(const library *library, const char *name, const char *count, const char *bytes) {
    int32_t (*count_of)(void) = library_symbol(library, name, count);
    size_t (*bytes_of)(int32_t) = library_symbol(library, name, bytes);
    ports ports = {.count = count_of()};
    if (ports.count > 256) fail("more than 256 inputs or outputs");
    for (int32_t i = 0; i < ports.count; i++) ports.buffers[i] = allocate(ports.bytes[i] = bytes_of(i));
    return ports;
}

static void transfer(const ports *ports, const char *path, int reading) {
    FILE *file = fopen(path, reading ? "rb" : "wb");
    if (!file) fail("cannot open the file of inputs or outputs");
    for (int32_t i = 0; i < ports->count; i++) {
        void *buffer = ports->buffers[i];
        size_t size = ports->bytes[i], done = reading ? fread(buffer, 1, size, file) : fwrite(buffer, 1, size, file);
        if (done != size) fail(reading ? "the file of inputs is too short" : "cannot write the outputs");
    }
    if (fclose(file) != 0) fail("cannot write the outputs");
}

/* A run with all that it needs. */
typedef struct call {
    model model;
    ports inputs, outputs;
    void *workspace;
    threads host;
    int32_t isa;
} call;

static int32_t run(const call *call) {
    const void *const *inputs = (const void *const *)call->inputs.buffers;
    void *const *outputs = call->outputs.buffers;
    if (call->isa < 0) return call->model.run_with(inputs, outputs, call->workspace, &call->host);
    return call->model.run_isa(inputs, outputs, call->workspace, &call->host, call->isa);
}

static int64_t now(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
}

static void time_runs(const call *call, double seconds) {
    static int64_t times[MOST_RUNS][2];
    int32_t count = 0;
    for (int32_t i = 0; i < WARM_UP; i++) run(call);
    int64_t end = now(CLOCK_MONOTONIC) + (int64_t)(seconds * 1e9);
    do {
        int64_t wall = now(CLOCK_MONOTONIC), cpu = now(CLOCK_PROCESS_CPUTIME_ID);
        run(call);
        times[count][0] = now(CLOCK_MONOTONIC) - wall;
        times[count++][1] = now(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    } while (count < MOST_RUNS && now(CLOCK_MONOTONIC) < end);
    for (int32_t i = 0; i < count; i++)
        printf("%s[%lld, %lld]", i ? ", " : "[", (long long)times[i][0], (long long)times[i][1]);
    printf("]\n");
}

int main(int argc, char **argv) {
    if (argc < 7) fail("usage: driver MODEL.so NAME INPUTS OUTPUTS THREADS ISA [SECONDS]");
    const char *name = argv[2];
    library library = load_library(argv[1]);
    call call = {{library_symbol(&library, name, "run_with"), library_symbol(&library, name, "run_isa"),
                  library_symbol(&library, name, "workspace_size"), library_symbol(&library, name, "error")},
                 make_ports(&library, name, "input_count", "input_bytes"),
                 make_ports(&library, name, "output_count", "output_bytes")};
    transfer(&call.inputs, argv[3], 1);
    call.host.threads = atoi(argv[5]);
    call.isa = atoi(argv[6]);
    call.workspace = allocate(call.model.workspace_size());
    int32_t code = run(&call);
    if (code != 0) {
        fprintf(stderr, "%s\n", call.model.error(code));
        return 1;
    }
    transfer(&call.outputs, argv[4], 0);
    if (argc > 7) time_runs(&call, atof(argv[7]));
    return 0;
}
