// Answers to the calls that -fsanitize=thread puts before every load and store: who touches which array, and when.
//
// Global memory is the arrays that Python names by watch_array, each between guard zones; shared memory is the section
// "shared_memory" of this library. Everything else (registers that were spilled, the emulator itself) is not looked at.
// Two threads race for a word if both touch it, one of them writes, and no barrier lies between: in one block the barrier
// of the block (or of the warp, for its lanes); between blocks nothing.
#include "emulator.h"
#include <dlfcn.h>

extern "C" {

extern char __start_shared_memory[] __attribute__((weak));
extern char __stop_shared_memory[] __attribute__((weak));
int watch_atomic = 0;

struct Problem {
  int kind, array, writes, other_writes;        // kind 1: out of bounds, 2: race
  long long place, length;
  unsigned thread[3], block[3], other[3];
  long long caller;                             // the place in the library
};
Problem watch_problem;
}

namespace {

struct Touch { int block, thread, barrier, warp_barrier; bool any, written; unsigned index[3]; };
struct Array { char* start; long long bytes; int item; long long guard, reads, writes; Touch* words; };

const int MOST = 16;
const long long SHARED_WORDS = 65536 / 4;
Array arrays[MOST];
int count = 0;
Touch shared_words[SHARED_WORDS];
long long shared_of_block = -1;

void note(Problem& p, int kind, int array, bool writes, long long place, long long length, void* caller) {
  emulator::Block& b = *emulator::block;
  p.kind = kind; p.array = array; p.writes = writes; p.place = place; p.length = length;
  p.thread[0] = b.current->index.x; p.thread[1] = b.current->index.y; p.thread[2] = b.current->index.z;
  p.block[0] = b.index.x; p.block[1] = b.index.y; p.block[2] = b.index.z;
  Dl_info info;
  p.caller = dladdr(caller, &info) ? (char*)caller - (char*)info.dli_fbase : 0;
}

void look(Touch& last, int array, long long place, bool writes, bool across_blocks, void* caller) {
  emulator::Block& b = *emulator::block;
  const int thread = b.current->number;
  const int block = (int)((b.index.z * b.grid.y + b.index.y) * b.grid.x + b.index.x);
  const int barrier = b.all.generation, warp_barrier = b.warps.data()[thread / emulator::WARP].generation;
  if (watch_atomic) return;
  const bool same_block = last.block == block;
  const bool ordered = same_block && (last.barrier != barrier || last.thread == thread ||
      (last.thread / emulator::WARP == thread / emulator::WARP && last.warp_barrier != warp_barrier));
  if (last.any && !ordered && (same_block || across_blocks) && (writes || last.written) && !watch_problem.kind) {
    note(watch_problem, 2, array, writes, place, 0, caller);
    watch_problem.other_writes = last.written;
    for (int i = 0; i < 3; ++i) watch_problem.other[i] = last.index[i];
  }
  // Of several readers the first is remembered, and a write is remembered before any reader.
  if (last.any && same_block && last.barrier == barrier && last.written && !writes) return;
  last = {block, thread, barrier, warp_barrier, true, writes,
          {b.current->index.x, b.current->index.y, b.current->index.z}};
}

void touch(void* address, int bytes, bool writes, void* caller) {
  if (!emulator::block || !emulator::block->current) return;
  char* at = (char*)address;
  if (at >= __start_shared_memory && at < __stop_shared_memory) {
    const long long block = ((long long)emulator::block->index.z << 40) + ((long long)emulator::block->index.y << 20) +
                            emulator::block->index.x;
    if (block != shared_of_block) {
      shared_of_block = block;
      std::memset(shared_words, 0, sizeof shared_words);
    }
    for (int i = 0; i < bytes; i += 4)
      if ((at + i - __start_shared_memory) / 4 < SHARED_WORDS)
        look(shared_words[(at + i - __start_shared_memory) / 4], -1, (at + i - __start_shared_memory) / 4, writes, false, caller);
    return;
  }
  for (int k = 0; k < count; ++k) {
    Array& a = arrays[k];
    if (at < a.start - a.guard || at >= a.start + a.bytes + a.guard) continue;
    if (at < a.start || at >= a.start + a.bytes) {
      long long place = (at - a.start) / a.item;
      if (at < a.start && (at - a.start) % a.item) --place;
      if (!watch_problem.kind) note(watch_problem, 1, k, writes, place, a.bytes / a.item, caller);
      return;
    }
    (writes ? a.writes : a.reads) += bytes < a.item ? 1 : bytes / a.item;
    for (int i = 0; i < bytes; i += 4) look(a.words[(at + i - a.start) / 4], k, (at + i - a.start) / a.item, writes, true, caller);
    return;
  }
}

}  // namespace

extern "C" {

void watch_clear() {
  for (int k = 0; k < count; ++k) std::free(arrays[k].words);
  count = 0;
  watch_problem = {};
  shared_of_block = -1;
  for (char* p = __start_shared_memory; p < __stop_shared_memory; ++p) *p = (char)0xff;      // NaN
}

void watch_array(void* start, long long bytes, int item, int guard) {
  if (count < MOST)
    arrays[count++] = {(char*)start, bytes, item, guard, 0, 0, (Touch*)std::calloc((size_t)(bytes / 4 + 1), sizeof(Touch))};
}

long long watch_reads(int k) { return arrays[k].reads; }
long long watch_writes(int k) { return arrays[k].writes; }

#define HERE __builtin_return_address(0)
#define ACCESS(n)                                                                   \
  void __tsan_read##n(void* p) { touch(p, n, false, HERE); }                        \
  void __tsan_write##n(void* p) { touch(p, n, true, HERE); }                        \
  void __tsan_unaligned_read##n(void* p) { touch(p, n, false, HERE); }              \
  void __tsan_unaligned_write##n(void* p) { touch(p, n, true, HERE); }
ACCESS(1) ACCESS(2) ACCESS(4) ACCESS(8) ACCESS(16)
void __tsan_read_range(void* p, unsigned long n) { touch(p, (int)n, false, HERE); }
void __tsan_write_range(void* p, unsigned long n) { touch(p, (int)n, true, HERE); }
void __tsan_vptr_read(void**) {}
void __tsan_vptr_update(void**, void*) {}
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void* __tsan_memcpy(void* to, const void* from, size_t n) { return std::memcpy(to, from, n); }
void* __tsan_memset(void* to, int value, size_t n) { return std::memset(to, value, n); }
void* __tsan_memmove(void* to, const void* from, size_t n) { return std::memmove(to, from, n); }
}
