/* memcpy, memmove and memset for objects that need nothing of a libc; the linker hides them from everybody else.
 * Compiled with -fno-builtin, so that the loops do not become calls of themselves. In the L1 they take 1.2 to 1.8 times as
 * long as those of glibc with AVX-512 (memset of 16 KB: 156 and 88 ns), beyond it as long. */
#include <stddef.h>
#include <stdint.h>

typedef uint64_t words __attribute__((vector_size(16), aligned(1), may_alias));

enum { WORDS = sizeof(words) };

/* The last words are read before any is written, and written last: they may overlap with those before them. */
static void copy_up(char *to, const char *from, size_t bytes) {
    words last = *(const words *)(from + bytes - WORDS);
    for (size_t i = 0; i < bytes - WORDS; i += WORDS) *(words *)(to + i) = *(const words *)(from + i);
    *(words *)(to + bytes - WORDS) = last;
}

static void copy_down(char *to, const char *from, size_t bytes) {
    words first = *(const words *)from;
    for (size_t i = bytes; i > WORDS; i -= WORDS) *(words *)(to + i - WORDS) = *(const words *)(from + i - WORDS);
    *(words *)to = first;
}

void *memmove(void *to, const void *from, size_t bytes) {
    char *target = to;
    const char *source = from;
    int down = (uintptr_t)target - (uintptr_t)source < bytes; /* the target begins inside of the source */
    if (bytes >= WORDS && down)
        copy_down(target, source, bytes);
    else if (bytes >= WORDS)
        copy_up(target, source, bytes);
    else if (down)
        while (bytes-- > 0) target[bytes] = source[bytes];
    else
        for (size_t i = 0; i < bytes; i++) target[i] = source[i];
    return to;
}

void *memcpy(void *restrict to, const void *restrict from, size_t bytes) { return memmove(to, from, bytes); }

void *memset(void *to, int value, size_t bytes) {
    char *target = to;
    uint64_t word = (uint8_t)value * 0x0101010101010101u;
    words pattern = {word, word};
    if (bytes < WORDS) {
        for (size_t i = 0; i < bytes; i++) target[i] = (char)value;
        return to;
    }
    for (size_t i = 0; i < bytes - WORDS; i += WORDS) *(words *)(target + i) = pattern;
    *(words *)(target + bytes - WORDS) = pattern;
    return to;
}
