/* A loader of sparsec's artifacts for static programs, which have no dlopen. */
#ifndef SPARSEC_LOADER_H
#define SPARSEC_LOADER_H

#include <elf.h>
#include <stddef.h>

typedef struct library {
    char *base;
    const Elf64_Sym *symbols;
    const char *names;
    const Elf64_Rela *relocations[2]; /* of data, and of calls */
    size_t relocation_count[2];
    size_t symbol_count;
} library;

/* Maps and relocates the shared object `path`. Ends the program with a message where that fails. */
library load_library(const char *path);

/* The address of `prefix`_`name` in the library; ends the program where there is none. */
void *library_symbol(const library *library, const char *prefix, const char *name);

#endif
