// Runs a batch of kernels in one process under qemu-user, without libc. Linked with the kernels and `kernel_table`.
//
// stdin:  runs; then for each run: kernel, arguments, scratch bytes, begin, end; then for each argument: 1 if it ends at a
//         page without access, its size and bytes.
// stdout: the bytes of all arguments of all runs, in order. Numbers are 64-bit little-endian.
// Exit status 3: a kernel wrote next to an argument.

typedef unsigned long u64;
typedef void kernel(u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64);

extern kernel *const kernel_table[];

enum { READ = 63, WRITE = 64, EXIT = 94, MMAP = 222, MPROTECT = 226, PAGE = 4096, GUARD = 256, MOST = 20 };

static long call(long number, u64 a, u64 b, u64 c, u64 d, u64 e, u64 f) {
  register u64 x0 __asm__("x0") = a, x1 __asm__("x1") = b, x2 __asm__("x2") = c, x3 __asm__("x3") = d;
  register u64 x4 __asm__("x4") = e, x5 __asm__("x5") = f, x8 __asm__("x8") = (u64)number;
  __asm__ volatile("svc 0" : "+r"(x0) : "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5), "r"(x8) : "memory");
  return (long)x0;
}

static void leave(int status) {
  call(EXIT, (u64)status, 0, 0, 0, 0, 0);
}

void *memset(void *to, int byte, u64 size) {
  for (volatile char *at = to; size--;) *at++ = (char)byte;
  return to;
}

void *memcpy(void *to, const void *from, u64 size) {
  volatile char *at = to;
  for (const char *source = from; size--;) *at++ = *source++;
  return to;
}

static void transfer(long number, u64 file, char *at, u64 size) {
  while (size) {
    long done = call(number, file, (u64)at, size, 0, 0, 0);
    if (done <= 0) leave(2);
    at += done;
    size -= (u64)done;
  }
}

static u64 number(void) {
  u64 value;
  transfer(READ, 0, (char *)&value, sizeof value);
  return value;
}

// Zeroed memory behind GUARD marked bytes: 64-byte aligned, with as many behind it, or before a page without access.
static char *allocate(u64 size, u64 flush) {
  u64 inner = (size + 2 * GUARD + PAGE - 1) / PAGE * PAGE;
  long at = call(MMAP, 0, inner + PAGE, 3, 0x22, ~0ul, 0);
  if (at < 0 && at > -4096) leave(2);
  if (call(MPROTECT, (u64)at + inner, PAGE, 0, 0, 0, 0)) leave(2);
  char *start = (char *)at + (flush ? inner - size : GUARD);
  memset(start - GUARD, 0x5a, GUARD);
  if (!flush) memset(start + size, 0x5a, GUARD);
  return start;
}

static void check(const char *at, u64 size, u64 flush) {
  for (u64 i = 0; i < GUARD; i++)
    if (at[-1 - (long)i] != 0x5a || (!flush && at[size + i] != 0x5a)) leave(3);
}

static void run(void) {
  u64 which = number(), count = number(), scratch = number(), begin = number(), end = number();
  u64 a[MOST] = {0}, size[MOST], flush[MOST];
  for (u64 i = 0; i < count; i++) {
    flush[i] = number(), size[i] = number();
    a[i] = (u64)allocate(size[i], flush[i]);
    transfer(READ, 0, (char *)a[i], size[i]);
  }
  size[count] = scratch, flush[count] = 0;
  a[count] = (u64)allocate(scratch, 0), a[count + 1] = begin, a[count + 2] = end;
  kernel_table[which](a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8], a[9], a[10], a[11], a[12], a[13], a[14],
                      a[15], a[16], a[17], a[18], a[19]);
  for (u64 i = 0; i <= count; i++) check((char *)a[i], size[i], flush[i]);
  for (u64 i = 0; i < count; i++) transfer(WRITE, 1, (char *)a[i], size[i]);
}

void _start(void) {
  for (u64 runs = number(); runs--;) run();
  leave(0);
}
