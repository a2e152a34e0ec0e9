/* Runs an artifact on files, for an emulator or a board:
 *
 *     driver MODEL.so NAME INPUTS OUTPUTS THREADS ISA SIZES [SECONDS]
 *
 * INPUTS holds the bytes of all inputs one after another, OUTPUTS is written likewise. THREADS 0 is the model's own
 * number; ISA -1 the best. SIZES are those of the model's symbols with commas between, or - where all sizes are fixed.
 * With SECONDS runs for that long after a warm-up and prints a JSON array, for each run its
 * nanoseconds by the clock and of CPU time. Prints the message and ends with 1 where the model refuses to run. */
#include "loader.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { WARM_UP = 3, MOST_RUNS = 20000, MOST_SIZES = 32 };

typedef struct threads {
    void (*parallel_for)(void *, int32_t, void (*)(void *, int32_t), void *);
    void *context;
    int32_t threads;
} threads;

/* The functions of a model with fixed sizes, or (`sized`) of another. */
typedef struct model {
    int32_t (*run_with)(const void *const *, void *const *, void *, const threads *);
    int32_t (*run_isa)(const void *const *, void *const *, void *, const threads *, int32_t);
    size_t (*workspace_size)(void);
    int32_t (*run_sized)(const int64_t *, const void *const *, void *const *, void *, const threads *);
    int32_t (*run_isa_sized)(const int64_t *, const void *const *, void *const *, void *, const threads *, int32_t);
    size_t (*workspace_size_for)(const int64_t *);
    const char *(*error)(int32_t);
} model;

typedef struct sizes {
    int32_t count;
    int64_t values[MOST_SIZES];
} sizes;

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

static ports make_ports(const library *library, const char *name, const char *kind, const sizes *sizes) {
    char function[32];
    snprintf(function, sizeof(function), "%s_count", kind);
    int32_t (*count_of)(void) = library_symbol(library, name, function);
    snprintf(function, sizeof(function), sizes->count ? "%s_bytes_for" : "%s_bytes", kind);
    void *bytes_of = library_symbol(library, name, function);
    ports ports = {.count = count_of()};
    if (ports.count > 256) fail("more than 256 inputs or outputs");
    for (int32_t i = 0; i < ports.count; i++) {
        ports.bytes[i] = sizes->count ? ((size_t (*)(int32_t, const int64_t *))bytes_of)(i, sizes->values)
                                      : ((size_t (*)(int32_t))bytes_of)(i);
        ports.buffers[i] = allocate(ports.bytes[i]);
    }
    return ports;
}

static sizes parse_sizes(const char *text) {
    sizes sizes = {0};
    while (text[0] != '-' && text[0]) {
        char *end;
        if (sizes.count == MOST_SIZES) fail("more than 32 sizes");
        sizes.values[sizes.count++] = strtoll(text, &end, 10);
        text = *end == ',' ? end + 1 : end;
        if (end[0] && end[0] != ',') fail("sizes are numbers with commas between");
    }
    return sizes;
}

static model load_model(const library *library, const char *name, int sized) {
    model model = {.error = library_symbol(library, name, "error")};
    if (sized) {
        model.run_sized = library_symbol(library, name, "run_sized");
        model.run_isa_sized = library_symbol(library, name, "run_isa_sized");
        model.workspace_size_for = library_symbol(library, name, "workspace_size_for");
    } else {
        model.run_with = library_symbol(library, name, "run_with");
        model.run_isa = library_symbol(library, name, "run_isa");
        model.workspace_size = library_symbol(library, name, "workspace_size");
    }
    return model;
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
    sizes sizes;
} call;

static int32_t run(const call *call) {
    const void *const *inputs = (const void *const *)call->inputs.buffers;
    void *const *outputs = call->outputs.buffers;
    const int64_t *sizes = call->sizes.values;
    if (call->sizes.count) {
        if (call->isa < 0) return call->model.run_sized(sizes, inputs, outputs, call->workspace, &call->host);
        return call->model.run_isa_sized(sizes, inputs, outputs, call->workspace, &call->host, call->isa);
    }
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
    if (argc < 8) fail("usage: driver MODEL.so NAME INPUTS OUTPUTS THREADS ISA SIZES [SECONDS]");
    const char *name = argv[2];
    library library = load_library(argv[1]);
    call call = {.sizes = parse_sizes(argv[7]), .isa = atoi(argv[6])};
    int sized = call.sizes.count > 0;
    call.model = load_model(&library, name, sized);
    call.inputs = make_ports(&library, name, "input", &call.sizes);
    call.outputs = make_ports(&library, name, "output", &call.sizes);
    transfer(&call.inputs, argv[3], 1);
    call.host.threads = atoi(argv[5]);
    call.workspace = allocate(sized ? call.model.workspace_size_for(call.sizes.values) : call.model.workspace_size());
    int32_t code = run(&call);
    if (code != 0) {
        fprintf(stderr, "%s\n", call.model.error(code));
        return 1;
    }
    transfer(&call.outputs, argv[4], 0);
    if (argc > 8) time_runs(&call, atof(argv[8]));
    return 0;
}
