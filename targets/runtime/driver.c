/* Runs an ARM artifact on files, for an emulator or a board:
 *
 *     driver MODEL.so NAME INPUTS OUTPUTS [THREADS [ISA]]
 *
 * INPUTS holds the bytes of all inputs one after another, OUTPUTS is written likewise. THREADS 0 is the model's own
 * number; ISA -1 the best. Prints the message and ends with 1 where the model refuses to run. */
#include "loader.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

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

int main(int argc, char **argv) {
    if (argc < 5) fail("usage: driver MODEL.so NAME INPUTS OUTPUTS [THREADS [ISA]]");
    const char *name = argv[2];
    library library = load_library(argv[1]);
    model model = {library_symbol(&library, name, "run_with"), library_symbol(&library, name, "run_isa"),
                   library_symbol(&library, name, "workspace_size"), library_symbol(&library, name, "error")};
    ports inputs = make_ports(&library, name, "input_count", "input_bytes");
    ports outputs = make_ports(&library, name, "output_count", "output_bytes");
    transfer(&inputs, argv[3], 1);
    threads host = {.threads = argc > 5 ? atoi(argv[5]) : 0};
    int32_t isa = argc > 6 ? atoi(argv[6]) : -1;
    const void *const *from = (const void *const *)inputs.buffers;
    void *workspace = allocate(model.workspace_size());
    int32_t code = isa < 0 ? model.run_with(from, outputs.buffers, workspace, &host)
                           : model.run_isa(from, outputs.buffers, workspace, &host, isa);
    if (code != 0) {
        fprintf(stderr, "%s\n", model.error(code));
        return 1;
    }
    transfer(&outputs, argv[4], 0);
    return 0;
}
