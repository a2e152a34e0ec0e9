/* A plugin of QEMU's TCG: how often each block of translated code ran. At the end a line for each: its address, its
 * instructions, and how often it ran. Debian ships no header for plugins, so that what is used of it is declared here. */
#include <inttypes.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define SHOWN __attribute__((visibility("default")))

typedef uint64_t plugin_id;
typedef struct qemu_plugin_tb block;
typedef void translated(plugin_id, block *);
typedef void ended(plugin_id, void *);

void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, translated *);
void qemu_plugin_register_vcpu_tb_exec_inline(block *, int operation, void *target, uint64_t value);
void qemu_plugin_register_atexit_cb(plugin_id, ended *, void *);
size_t qemu_plugin_tb_n_insns(const block *);
uint64_t qemu_plugin_tb_vaddr(const block *);

SHOWN int qemu_plugin_version = 1;

enum { ADD = 0 };

typedef struct count {
    uint64_t address, instructions, runs;
    struct count *next;
} count;

static count *counts;
static const char *path;

static void begin(plugin_id id, block *block) {
    (void)id;
    count *made = calloc(1, sizeof *made);
    if (!made) abort();
    *made = (count){qemu_plugin_tb_vaddr(block), qemu_plugin_tb_n_insns(block), 0, counts};
    counts = made;
    qemu_plugin_register_vcpu_tb_exec_inline(block, ADD, &made->runs, 1);
}

static void finish(plugin_id id, void *unused) {
    (void)id, (void)unused;
    FILE *file = fopen(path, "w");
    if (!file) abort();
    for (const count *at = counts; at; at = at->next)
        fprintf(file, "%" PRIx64 " %" PRIu64 " %" PRIu64 "\n", at->address, at->instructions, at->runs);
    fclose(file);
}

/* The argument `path=FILE` says where the lines go. */
SHOWN int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv) {
    (void)info;
    if (argc != 1) return 1;
    path = argv[0];
    while (*path && *path++ != '=') {}
    qemu_plugin_register_vcpu_tb_trans_cb(id, begin);
    qemu_plugin_register_atexit_cb(id, finish, NULL);
    return 0;
}
