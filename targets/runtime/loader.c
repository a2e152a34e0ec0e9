/* Maps a shared object of sparsec into a static program, as the ELF specification and its supplements for AArch64 and
 * x86-64 say: load segments, four kinds of relocation, no thread-local data, no constructors. libc is this program's
 * own. */
#include "loader.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct {
    const char *name;
    void *address;
} LIBC[] = {{"memcpy", memcpy},       {"memset", memset},
            {"memmove", memmove},     {"pthread_create", pthread_create},
            {"getauxval", getauxval}, {"pthread_join", pthread_join}};

#if defined(__aarch64__)
enum {
    MACHINE = EM_AARCH64,
    RELATIVE = R_AARCH64_RELATIVE,
    ABSOLUTE = R_AARCH64_ABS64,
    DATA = R_AARCH64_GLOB_DAT,
    CALL = R_AARCH64_JUMP_SLOT
};
#elif defined(__x86_64__)
enum {
    MACHINE = EM_X86_64,
    RELATIVE = R_X86_64_RELATIVE,
    ABSOLUTE = R_X86_64_64,
    DATA = R_X86_64_GLOB_DAT,
    CALL = R_X86_64_JUMP_SLOT
};
#endif

static void fail(const char *message, const char *detail) {
    fprintf(stderr, "%s: %s\n", message, detail);
    exit(2);
}

static int open_file(const char *path, const char **contents, size_t *bytes) {
    struct stat info;
    int file = open(path, O_RDONLY);
    if (file < 0 || fstat(file, &info) != 0) fail("cannot open", path);
    *bytes = (size_t)info.st_size;
    *contents = mmap(NULL, *bytes, PROT_READ, MAP_PRIVATE, file, 0);
    if (*contents == MAP_FAILED) fail("cannot map", path);
    return file;
}

/* Reserves the span of all segments, then maps the file's part of each over it; the rest is zero. All is writable: the
 * program is for tests, and relocation is simpler so. */
static char *map_segments(const char *contents, int file, const char *path) {
    const Elf64_Ehdr *header = (const Elf64_Ehdr *)contents;
    const Elf64_Phdr *segment = (const Elf64_Phdr *)(contents + header->e_phoff);
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    size_t span = 0;
    for (int i = 0; i < header->e_phnum; i++)
        if (segment[i].p_type == PT_LOAD) span = segment[i].p_vaddr + segment[i].p_memsz;
    char *base = mmap(NULL, span, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (int i = 0; i < header->e_phnum && base != MAP_FAILED; i++) {
        if (segment[i].p_type != PT_LOAD || segment[i].p_filesz == 0) continue;
        uintptr_t lead = segment[i].p_vaddr % page, shift = segment[i].p_vaddr - lead;
        int access = PROT_READ | (segment[i].p_flags & PF_X ? PROT_EXEC : PROT_WRITE);
        void *mapped = mmap(base + shift, segment[i].p_filesz + lead, access, MAP_PRIVATE | MAP_FIXED, file,
                            (off_t)(segment[i].p_offset - lead));
        if (mapped == MAP_FAILED) fail("cannot map a segment of", path);
        size_t end = segment[i].p_vaddr + segment[i].p_filesz;
        if (segment[i].p_flags & PF_W) memset(base + end, 0, -(uintptr_t)(base + end) % page);
    }
    if (base == MAP_FAILED) fail("no memory for", path);
    return base;
}

/* The number of symbols of a GNU hash table: one after the end of the last chain. */
static size_t count_symbols(const uint32_t *table) {
    uint32_t buckets = table[0], first = table[1], last = 0;
    const uint32_t *bucket = table + 4 + table[2] * 2, *chain = bucket + buckets;
    for (uint32_t i = 0; i < buckets; i++)
        if (bucket[i] > last) last = bucket[i];
    if (last < first) return first;
    while (!(chain[last - first] & 1)) last++;
    return last + 1;
}

static void read_dynamic(library *library, const Elf64_Dyn *entry) {
    for (; entry->d_tag != DT_NULL; entry++) {
        char *address = library->base + entry->d_un.d_ptr;
        switch (entry->d_tag) {
        case DT_SYMTAB: library->symbols = (const Elf64_Sym *)address; break;
        case DT_STRTAB: library->names = address; break;
        case DT_RELA: library->relocations[0] = (const Elf64_Rela *)address; break;
        case DT_RELASZ: library->relocation_count[0] = entry->d_un.d_val / sizeof(Elf64_Rela); break;
        case DT_JMPREL: library->relocations[1] = (const Elf64_Rela *)address; break;
        case DT_PLTRELSZ: library->relocation_count[1] = entry->d_un.d_val / sizeof(Elf64_Rela); break;
        case DT_GNU_HASH: library->symbol_count = count_symbols((const uint32_t *)address); break;
        }
    }
}

static char *resolve(const library *library, const Elf64_Sym *symbol) {
    const char *name = library->names + symbol->st_name;
    if (symbol->st_shndx != SHN_UNDEF) return library->base + symbol->st_value;
    for (size_t i = 0; i < sizeof LIBC / sizeof LIBC[0]; i++)
        if (strcmp(LIBC[i].name, name) == 0) return LIBC[i].address;
    if (ELF64_ST_BIND(symbol->st_info) != STB_WEAK) fail("undefined symbol", name);
    return NULL;
}

static void relocate(const library *library) {
    for (int table = 0; table < 2; table++)
        for (size_t i = 0; i < library->relocation_count[table]; i++) {
            const Elf64_Rela *entry = &library->relocations[table][i];
            char **where = (char **)(library->base + entry->r_offset);
            const Elf64_Sym *symbol = &library->symbols[ELF64_R_SYM(entry->r_info)];
            switch (ELF64_R_TYPE(entry->r_info)) {
            case RELATIVE: *where = library->base + entry->r_addend; break;
            case ABSOLUTE:
            case DATA:
            case CALL: *where = resolve(library, symbol) + entry->r_addend; break;
            default: fail("unknown relocation", library->names + symbol->st_name);
            }
        }
}

library load_library(const char *path) {
    const char *contents;
    size_t bytes;
    int file = open_file(path, &contents, &bytes);
    const Elf64_Ehdr *header = (const Elf64_Ehdr *)contents;
    if (bytes < sizeof *header || memcmp(header->e_ident, ELFMAG, SELFMAG) != 0 || header->e_machine != MACHINE)
        fail("not a library for this machine", path);
    const Elf64_Phdr *segment = (const Elf64_Phdr *)(contents + header->e_phoff);
    library library = {.base = map_segments(contents, file, path)};
    for (int i = 0; i < header->e_phnum; i++)
        if (segment[i].p_type == PT_DYNAMIC) read_dynamic(&library, (const Elf64_Dyn *)(library.base + segment[i].p_vaddr));
    relocate(&library);
    return library;
}

void *library_symbol(const library *library, const char *prefix, const char *name) {
    char wanted[256];
    snprintf(wanted, sizeof wanted, "%s_%s", prefix, name);
    for (size_t i = 0; i < library->symbol_count; i++)
        if (library->symbols[i].st_shndx != SHN_UNDEF && strcmp(library->names + library->symbols[i].st_name, wanted) == 0)
            return library->base + library->symbols[i].st_value;
    fail("no such function", wanted);
    return NULL;
}
