/* Which ISAs of the artifact this CPU can run. The words are in the order of targets/cpu.py. */
#include "sparsec.h"

#include <stdatomic.h>

#if defined(__x86_64__)
#include "syscall.h"

#include <cpuid.h>

enum { STATE = 8 /* the word of XCR0 */, TILES = 0x60000 /* its bits for AMX */ };

static uint32_t enabled_state(void) {
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

/* Feature bits, and in the last word the register state that the operating system saves (XCR0). */
static void read_cpu(uint32_t has[CPU_WORDS]) {
    enum { OSXSAVE = 1u << 27 };
    uint32_t a, b, unused;
    if (__get_cpuid(1, &a, &b, &has[0], &has[1]) && (has[0] & OSXSAVE)) has[STATE] = enabled_state();
    if (__get_cpuid_count(7, 0, &a, &has[2], &has[3], &has[4]) && a >= 1)
        __get_cpuid_count(7, 1, &has[5], &b, &unused, &has[6]);
    __get_cpuid(0x80000001, &a, &b, &has[7], &unused);
}

/* Linux saves the tiles only of processes that ask for them, once. Where it refuses, they count as absent. */
static void ask_for_tiles(uint32_t has[CPU_WORDS]) {
    enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 };
    uint32_t needed = 0;
    for (int32_t i = 0; i < SPARSEC_ISAS; i++) needed |= isas[i].needs[STATE];
    if ((needed & has[STATE] & TILES) && system_call(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA, 0, 0) != 0)
        has[STATE] &= ~(uint32_t)TILES;
}

#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>

/* Weak: a program without an operating system has none. The CPU tells there, as a kernel of Linux does by the same
 * instructions where the libc lacks the function. */
#pragma weak getauxval

static uint32_t field(uint64_t word, int32_t shift) { return (uint32_t)(word >> shift) & 15; }

static void ask_cpu(uint32_t has[CPU_WORDS]) {
    uint64_t pfr0, isar0, isar1;
    __asm__("mrs %0, ID_AA64PFR0_EL1" : "=r"(pfr0));
    __asm__("mrs %0, ID_AA64ISAR0_EL1" : "=r"(isar0));
    __asm__("mrs %0, ID_AA64ISAR1_EL1" : "=r"(isar1));
    uint32_t half = field(pfr0, 20) == 1, sve = field(pfr0, 32) >= 1;
    uint32_t atomics = field(isar0, 20) >= 2, dot = field(isar0, 44) >= 1;
    uint32_t bf16 = field(isar1, 44) >= 1, matmul = field(isar1, 52) >= 1;
    has[0] = atomics << 8 | half << 10 | dot << 20 | sve << 22;
    has[1] = matmul << 13 | bf16 << 14;
}

static void read_cpu(uint32_t has[CPU_WORDS]) {
    if (!getauxval) {
        ask_cpu(has);
        return;
    }
    has[0] = (uint32_t)getauxval(AT_HWCAP);
    has[1] = (uint32_t)getauxval(AT_HWCAP2);
}

static void ask_for_tiles(uint32_t has[CPU_WORDS]) { (void)has; }

#elif defined(__APPLE__)
#include <sys/sysctl.h>

/* In the words of Linux for ARM. SVE there is none. */
static void read_cpu(uint32_t has[CPU_WORDS]) {
    static const struct {
        const char *name;
        uint32_t word, bit;
    } FEATURES[] = {{"hw.optional.arm.FEAT_LSE", 0, 8},
                    {"hw.optional.arm.FEAT_FP16", 0, 10},
                    {"hw.optional.arm.FEAT_DotProd", 0, 20},
                    {"hw.optional.arm.FEAT_I8MM", 1, 13},
                    {"hw.optional.arm.FEAT_BF16", 1, 14}};
    has[0] = 1 << 8 | 1 << 10 | 1 << 20; /* Apple's M1 and all after it; macOS 11 has no names for them */
    for (size_t i = 0; i < sizeof FEATURES / sizeof FEATURES[0]; i++) {
        int present = 0;
        size_t size = sizeof present;
        if (sysctlbyname(FEATURES[i].name, &present, &size, NULL, 0) == 0 && present)
            has[FEATURES[i].word] |= 1u << FEATURES[i].bit;
    }
}

static void ask_for_tiles(uint32_t has[CPU_WORDS]) { (void)has; }

#else

static void read_cpu(uint32_t has[CPU_WORDS]) { (void)has; }

static void ask_for_tiles(uint32_t has[CPU_WORDS]) { (void)has; }

#endif

static int fits(const uint32_t has[CPU_WORDS], const isa *isa) {
    for (int32_t word = 0; word < CPU_WORDS; word++)
        if (isa->needs[word] & ~has[word]) return 0;
    return 1;
}

/* The CPU is asked only where an ISA needs something of it: kernels of Linux before 4.11 refuse ask_cpu's instructions. */
static uint32_t detect_isas(void) {
    uint32_t has[CPU_WORDS] = {0}, usable = 0;
    for (int32_t i = 0; i < SPARSEC_ISAS; i++) usable |= (uint32_t)fits(has, &isas[i]) << i;
    if (usable == (1ull << SPARSEC_ISAS) - 1) return usable;
    read_cpu(has);
    ask_for_tiles(has);
    for (int32_t i = 0; i < SPARSEC_ISAS; i++) usable |= (uint32_t)fits(has, &isas[i]) << i;
    return usable;
}

/* A bit for each ISA that runs here. cpuid traps in virtual machines (7 µs each on a KVM guest, 58 µs for the eight of
 * read_cpu), so the answer is kept: the one variable of an artifact. Threads that race compute and store the
 * same word, and nothing else is published by it, so relaxed order is enough. */
static uint32_t usable_isas(void) {
    static _Atomic uint32_t cache;
    const uint32_t known = 1u << 31;
    uint32_t value = atomic_load_explicit(&cache, memory_order_relaxed);
    if (value == 0) atomic_store_explicit(&cache, value = detect_isas() | known, memory_order_relaxed);
    return value;
}
