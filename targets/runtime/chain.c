/* Runs the members of a chain together; sparsec/chains.py says how, and what the sizes of windows are.
 *
 * Results that only members read lie in windows, in the scratch of the thread. Kernels number panels through all images,
 * so a member is given the address where panel 0 would lie. */
#include "sparsec.h"

/* Rows [low, high) of a member read rows [low * stride - pad, (high - 1) * stride - pad + reach) of another's result. */
typedef struct chain_read {
    int32_t member, stride, pad, reach;
} chain_read;

/* Units, chunks of a unit, rows of a unit, rows of the result, and its panels, of one image each. `capacity`: panels of
 * the window, 0 for a result that lies in the arena or in an output. */
typedef struct chain_member {
    step_function *run[SPARSEC_ISAS];
    int32_t units, chunks, rows, height, panel_rows, panels, capacity;
    int64_t panel_bytes, place;
    int32_t reads, read_count;
} chain_member;

typedef struct chain {
    const chain_member *members;
    const chain_read *reads;
    int32_t count;
    int64_t windows;
} chain;

/* The walk through one image: units done, the first panel in each window, and the windows. */
typedef struct walk {
    const chain *chain;
    frame frame;
    void *scratch;
    int64_t image;
    int32_t isa;
    int32_t done[SPARSEC_CHAIN_MEMBERS], base[SPARSEC_CHAIN_MEMBERS];
    char *windows[SPARSEC_CHAIN_MEMBERS];
} walk;

static int32_t smaller(int32_t a, int32_t b) { return a < b ? a : b; }
static int32_t larger(int32_t a, int32_t b) { return a > b ? a : b; }
static int32_t quotient_up(int32_t a, int32_t b) { return (a + b - 1) / b; }

static int32_t rows_of(const chain_member *member, int32_t units) {
    return smaller(units * member->rows, member->height);
}

static int32_t panels_of(const chain_member *member, int32_t units) {
    return quotient_up(rows_of(member, units), member->panel_rows);
}

static int32_t lowest_read(const chain_read *read, int32_t row) { return larger(0, row * read->stride - read->pad); }

/* Units of a member that `reader` reads for its first `units` units. */
static int32_t wanted(const chain *chain, const chain_read *read, const chain_member *reader, int32_t units) {
    const chain_member *member = &chain->members[read->member];
    int32_t row = (units * reader->rows - 1) * read->stride - read->pad + read->reach;
    return quotient_up(larger(0, smaller(row, member->height)), member->rows);
}

/* The first row of a member's result that is still to be read. */
static int32_t first_row(const walk *walk, int32_t index) {
    const chain *chain = walk->chain;
    int32_t row = INT32_MAX;
    for (int32_t i = index + 1; i < chain->count; i++) {
        const chain_member *member = &chain->members[i];
        for (int32_t r = member->reads; r < member->reads + member->read_count; r++)
            if (chain->reads[r].member == index)
                row = smaller(row, lowest_read(&chain->reads[r], walk->done[i] * member->rows));
    }
    return row;
}

/* The first panel that is still to be read, or the next one that is written. */
static int32_t first_panel(const walk *walk, int32_t index) {
    const chain_member *member = &walk->chain->members[index];
    return smaller(first_row(walk, index) / member->panel_rows, panels_of(member, walk->done[index]));
}

static char *window_of(const walk *walk, int32_t index) {
    return (char *)walk->scratch + walk->chain->windows + walk->chain->members[index].place;
}

static void place_window(walk *walk, int32_t index, int32_t base) {
    const chain_member *member = &walk->chain->members[index];
    int64_t panel = walk->image * member->panels + base;
    walk->base[index] = base;
    walk->windows[index] = (char *)((uintptr_t)window_of(walk, index) - (uintptr_t)(panel * member->panel_bytes));
}

/* Moves what is still to be read to the front of a window that ends before the panels of the first `units` units. */
static void make_room(walk *walk, int32_t index, int32_t units) {
    const chain_member *member = &walk->chain->members[index];
    if (member->capacity == 0 || panels_of(member, units) - walk->base[index] <= member->capacity) return;
    int32_t base = first_panel(walk, index), filled = panels_of(member, walk->done[index]);
    char *kept = window_of(walk, index) + (base - walk->base[index]) * member->panel_bytes;
    __builtin_memmove(window_of(walk, index), kept, (size_t)((filled - base) * member->panel_bytes));
    place_window(walk, index, base);
}

static int is_ready(const walk *walk, const chain_member *member, int32_t units) {
    const chain *chain = walk->chain;
    for (int32_t r = member->reads; r < member->reads + member->read_count; r++)
        if (wanted(chain, &chain->reads[r], member, units) > walk->done[chain->reads[r].member]) return 0;
    return 1;
}

/* Computes the units of a member before `stop`, those of others first that they read. */
static void advance(walk *walk, int32_t index, int32_t stop) {
    const chain *chain = walk->chain;
    const chain_member *member = &chain->members[index];
    int64_t first = walk->image * member->units;
    while (walk->done[index] < stop) {
        int32_t done = walk->done[index], ready = done + 1;
        for (int32_t r = member->reads; r < member->reads + member->read_count; r++)
            advance(walk, chain->reads[r].member, wanted(chain, &chain->reads[r], member, ready));
        while (ready < stop && is_ready(walk, member, ready + 1)) ready++;
        make_room(walk, index, ready);
        member->run[walk->isa](&walk->frame, walk->scratch, (first + done) * member->chunks,
                               (first + ready) * member->chunks);
        walk->done[index] = ready;
    }
}

/* Every member at the first unit that it must compute where `unit` is the last one's first. */
static void start(walk *walk, int32_t unit) {
    int32_t last = walk->chain->count - 1;
    walk->done[last] = unit;
    for (int32_t i = last - 1; i >= 0; i--) walk->done[i] = first_row(walk, i) / walk->chain->members[i].rows;
    for (int32_t i = 0; i <= last; i++) place_window(walk, i, first_panel(walk, i));
}

/* Units [begin, end) of the last member, counted through all images. */
static void run_chain(const chain *chain, const frame *frame, void *scratch, int32_t isa, int64_t begin, int64_t end) {
    walk walk = {.chain = chain, .frame = *frame, .scratch = scratch, .isa = isa};
    int32_t last = chain->count - 1;
    int64_t units = chain->members[last].units;
    walk.frame.windows = walk.windows;
    while (begin < end) {
        walk.image = begin / units;
        int64_t first = walk.image * units, stop = end - first < units ? end - first : units;
        start(&walk, (int32_t)(begin - first));
        advance(&walk, last, (int32_t)stop);
        begin = first + stop;
    }
}
