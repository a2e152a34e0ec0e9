/* Runs the model MODEL once with each of its buffers between two pages without access: stdin holds the inputs, stdout
 * gets the outputs. The argument says where buffers lie: at the "start" of their pages or at the "end". */
#include MODEL_HEADER

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define JOIN(model, function) model##_##function
#define CALL(model, function) JOIN(model, function)

static size_t page;

static char *guarded(size_t size, int at_end) {
    size_t inner = (size + page - 1) / page * page;
    char *base = mmap(0, inner + 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED || mprotect(base, page, PROT_NONE) || mprotect(base + page + inner, page, PROT_NONE)) _exit(2);
    memset(base + page, 0xff, inner); /* NaNs: results that depend on what nobody wrote are not finite */
    return base + page + (at_end ? inner - size : 0);
}

static void transfer(char *buffer, size_t size, int reading) {
    while (size) {
        ssize_t done = reading ? read(0, buffer, size) : write(1, buffer, size);
        if (done <= 0) _exit(2);
        buffer += done;
        size -= (size_t)done;
    }
}

int main(int argc, char **argv) {
    int at_end = argc > 1 && !strcmp(argv[1], "end");
    char *ports[2][16];
    int32_t inputs = CALL(MODEL, input_count)(), outputs = CALL(MODEL, output_count)();
    if (inputs > 16 || outputs > 16) return 2;
    page = (size_t)sysconf(_SC_PAGESIZE);
    for (int32_t i = 0; i < inputs; i++)
        transfer(ports[0][i] = guarded(CALL(MODEL, input_bytes)(i), at_end), CALL(MODEL, input_bytes)(i), 1);
    for (int32_t i = 0; i < outputs; i++) ports[1][i] = guarded(CALL(MODEL, output_bytes)(i), at_end);
    char *workspace = guarded(CALL(MODEL, workspace_size)(), at_end);
    int32_t code = CALL(MODEL, run)((const void *const *)ports[0], (void *const *)ports[1], workspace);
    for (int32_t i = 0; i < outputs && !code; i++) transfer(ports[1][i], CALL(MODEL, output_bytes)(i), 0);
    return code;
}
