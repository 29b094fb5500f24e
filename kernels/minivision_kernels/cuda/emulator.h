// CUDA C++ on an ordinary processor: what a kernel needs of the language, in one header for g++ or clang++.
//
// A kernel is included unchanged behind this header. Its blocks run one after the other on one thread of the operating
// system; each CUDA thread of a block is a fiber, a stack of its own that runs until it waits. __syncthreads and the warp
// operations are the places where a fiber waits, and another one is taken up. So threads run in an order that we choose:
// a kernel that lacks a barrier reads what is not there yet, every time, in one order or the other.
//
// What a GPU leaves undefined is made visible where that costs little: dynamic shared memory starts as NaN, an
// asynchronous copy arrives only when it is waited for, and a block whose threads wait at different barriers is an error.
// Not modelled: speed, several blocks at a time, the order in which memory is seen, bank conflicts.
#pragma once
#include <algorithm>
#include <csetjmp>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>
#include <ucontext.h>

#define EMULATOR 1

// ---------------------------------------------------------------------------------------------------- the language

#define __global__
#define __device__
#define __host__
#define __constant__ static
#define __shared__ static
#define __forceinline__ inline
#define __restrict__ __restrict
#define __grid_constant__
#define __launch_bounds__(...)
#define __align__(n) alignas(n)

struct dim3 { unsigned x, y, z; };
struct alignas(16) float4 { float x, y, z, w; };
struct alignas(8) float2 { float x, y; };
struct alignas(16) double2 { double x, y; };
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline float2 make_float2(float x, float y) { return {x, y}; }
template <class T> inline T __ldg(const T* p) { return *p; }
template <class T> inline T min(T a, T b) { return b < a ? b : a; }
template <class T> inline T max(T a, T b) { return a < b ? b : a; }
template <class To, class From> inline To emulated_bits(From from) { To to; std::memcpy(&to, &from, sizeof to); return to; }
inline unsigned __float_as_uint(float x) { return emulated_bits<unsigned>(x); }
inline float __uint_as_float(unsigned x) { return emulated_bits<float>(x); }
using std::exp; using std::fabs; using std::fma; using std::fmax; using std::fmin; using std::log; using std::sqrt;

namespace emulator {

// ------------------------------------------------------------------------------------------------ threads as fibers

constexpr size_t STACK = 256 << 10;      // bytes; reserved, not touched, so that unused ones cost nothing
constexpr int WARP = 32;

struct Copy { void* to; const void* from; int bytes, valid; };

struct Fiber {
  jmp_buf place;                         // where it waits
  ucontext_t start;                      // used once, to enter its own stack
  dim3 index;                            // threadIdx
  int number;                            // its place in the block, x fastest
  bool started, done;
  int waits_at;                          // source line of the barrier it waits at, 0: none
  unsigned char box[64];                 // what it shows to its warp
  std::vector<std::vector<Copy>> groups; // asynchronous copies under way; the last group is still open
};

struct Barrier { int arrived = 0, generation = 0; };

struct Block {
  dim3 index, size, grid;
  std::vector<Fiber> fibers;
  std::vector<std::vector<int>> order;   // in which the fibers are taken up: warp by warp, its lanes
  std::vector<Barrier> warps;
  Barrier all;
  int alive = 0;
  char* stacks = nullptr;
  char* shared = nullptr;                // dynamic shared memory
  jmp_buf scheduler;
  Fiber* current = nullptr;
  std::function<void()> body;
  std::string problem;
};

inline Block* block = nullptr;

inline void yield() {
  Fiber* me = block->current;
  if (!_setjmp(me->place)) _longjmp(block->scheduler, 1);
}

// Waits until `expected` fibers have arrived; the last one opens the barrier for all.
inline void wait(Barrier& barrier, int expected) {
  const int generation = barrier.generation;
  if (++barrier.arrived == expected) { barrier.arrived = 0; ++barrier.generation; }
  else while (barrier.generation == generation) yield();
}

inline void sync_block(int line) {
  Fiber* me = block->current;
  for (const Fiber& other : block->fibers)
    if (!other.done && other.waits_at && other.waits_at != line && block->problem.empty())
      block->problem = "thread " + std::to_string(me->number) + " waits at __syncthreads in line " + std::to_string(line) +
                       ", thread " + std::to_string(other.number) + " in line " + std::to_string(other.waits_at);
  me->waits_at = line;
  Barrier& barrier = block->all;
  const int generation = barrier.generation;
  if (++barrier.arrived == block->alive) {
    barrier.arrived = 0; ++barrier.generation;
    for (Fiber& fiber : block->fibers) fiber.waits_at = 0;
  } else while (barrier.generation == generation) yield();
}

inline void sync_warp() {
  const int warp = block->current->number / WARP, first = warp * WARP;
  int alive = 0;
  for (int i = first; i < first + WARP && i < (int)block->fibers.size(); ++i) alive += !block->fibers[i].done;
  wait(block->warps[warp], alive);
}

inline int lane() { return block->current->number % WARP; }

// Every lane shows `mine` to its warp and receives what all lanes show. Lanes that are not there show zeros.
template <class T> inline void show_and_see(const T& mine, T (&all)[WARP]) {
  static_assert(sizeof(T) <= sizeof(Fiber::box), "too large to be shown");
  std::memcpy(block->current->box, &mine, sizeof(T));
  sync_warp();
  const int first = block->current->number - lane();
  for (int i = 0; i < WARP; ++i) {
    std::memset((void*)&all[i], 0, sizeof(T));
    if (first + i < (int)block->fibers.size()) std::memcpy((void*)&all[i], block->fibers[first + i].box, sizeof(T));
  }
  sync_warp();
}

template <class T> inline T from_lane(T mine, int source) {
  T all[WARP];
  show_and_see(mine, all);
  return source >= 0 && source < WARP ? all[source] : mine;
}

// ---------------------------------------------------------------------------------------------- asynchronous copies

inline void copy_later(void* to, const void* from, int bytes, int valid) {
  auto& groups = block->current->groups;
  if (groups.empty()) groups.emplace_back();
  groups.back().push_back({to, from, bytes, valid});
}

inline void close_group() {
  auto& groups = block->current->groups;
  if (groups.empty()) groups.emplace_back();
  groups.emplace_back();
}

// All closed groups arrive but for the newest `pending`.
inline void arrive_all_but(int pending) {
  auto& groups = block->current->groups;
  while ((int)groups.size() - 1 > pending) {
    for (const Copy& copy : groups.front()) {
      if (copy.valid) std::memcpy(copy.to, copy.from, copy.valid);
      std::memset((char*)copy.to + copy.valid, 0, copy.bytes - copy.valid);
    }
    groups.erase(groups.begin());
  }
}

// ------------------------------------------------------------------------------------------------------- the launch

inline void enter() {
  block->body();
  block->current->done = true;
  _longjmp(block->scheduler, 1);
}

inline void left(Block& b) {             // a thread that has returned is no longer waited for
  --b.alive;
  if (b.all.arrived && b.all.arrived == b.alive) {
    b.all.arrived = 0; ++b.all.generation;
    for (Fiber& fiber : b.fibers) fiber.waits_at = 0;
  }
}

inline void resume(Block& b, Fiber& fiber) {
  b.current = &fiber;
  if (_setjmp(b.scheduler)) return;      // the fiber waits, or is done
  if (fiber.started) _longjmp(fiber.place, 1);
  fiber.started = true;
  getcontext(&fiber.start);
  fiber.start.uc_stack.ss_sp = b.stacks + (size_t)fiber.number * STACK;
  fiber.start.uc_stack.ss_size = STACK;
  fiber.start.uc_link = nullptr;
  makecontext(&fiber.start, enter, 0);
  setcontext(&fiber.start);
}

// Runs all threads of the block to their end. A warp goes on until its lanes wait for other warps, so that a missing barrier
// shows also where the lanes wait for each other. A full round in which no thread moves on is a deadlock.
inline void run_block(Block& b) {
  b.alive = (int)b.fibers.size();
  b.all = {};
  for (Barrier& warp : b.warps) warp = {};
  for (Fiber& fiber : b.fibers) { fiber.started = fiber.done = false; fiber.waits_at = 0; fiber.groups.clear(); }
  for (int idle = 0; b.alive && b.problem.empty() && idle < 2;) {
    const int alive = b.alive, generation = b.all.generation;
    int moved = 0;
    for (const Barrier& warp : b.warps) moved -= warp.generation;
    for (const std::vector<int>& lanes : b.order)
      for (int before = -1; b.problem.empty() && before != b.warps[lanes[0] / WARP].generation;) {
        before = b.warps[lanes[0] / WARP].generation;
        for (int i : lanes) {
          Fiber& fiber = b.fibers[i];
          if (fiber.done || !b.problem.empty()) continue;
          resume(b, fiber);
          if (fiber.done) left(b);
        }
      }
    for (const Barrier& warp : b.warps) moved += warp.generation;
    idle = (moved || b.alive != alive || b.all.generation != generation) ? 0 : idle + 1;
  }
  if (b.alive && b.problem.empty())
    b.problem = std::to_string(b.alive) + " of " + std::to_string(b.fibers.size()) +
                " threads wait for ever: the others have returned, or wait at another kind of barrier";
}

// order 0: warps and their lanes in order; 1: the last ones first; any other number: both shuffled, the number is the seed.
inline std::vector<int> shuffled(int count, unsigned& seed) {
  std::vector<int> result(count);
  for (int i = 0; i < count; ++i) result[i] = seed == 1 ? count - 1 - i : i;
  for (int i = count - 1; seed > 1 && i > 0; --i) {
    seed = seed * 1664525u + 1013904223u;
    std::swap(result[i], result[(seed >> 8) % (unsigned)(i + 1)]);
    if (seed <= 1) seed += 2;
  }
  return result;
}

inline std::vector<std::vector<int>> make_order(int threads, unsigned order) {
  std::vector<std::vector<int>> result;
  for (int warp : shuffled((threads + WARP - 1) / WARP, order)) {
    result.push_back(shuffled(std::min(WARP, threads - warp * WARP), order));
    for (int& lane : result.back()) lane += warp * WARP;
  }
  return result;
}

template <class... Parameters, size_t... I>
std::function<void()> call(void (*kernel)(Parameters...), void** arguments, std::index_sequence<I...>) {
  return [=] { kernel(*(std::remove_reference_t<Parameters>*)arguments[I]...); };
}

// Runs the kernel on all blocks of the grid, one after the other. Returns whether there was a problem, in words in `message`.
template <class... Parameters>
int launch(void (*kernel)(Parameters...), const unsigned* shape, size_t shared, void** arguments, unsigned order,
           char* message, size_t room) {
  Block b;
  b.grid = {shape[0], shape[1], shape[2]};
  b.size = {shape[3], shape[4], shape[5]};
  const int threads = (int)(b.size.x * b.size.y * b.size.z);
  b.fibers = std::vector<Fiber>(threads);
  b.warps.resize((threads + WARP - 1) / WARP);
  b.order = make_order(threads, order);
  b.stacks = (char*)std::malloc((size_t)threads * STACK);
  b.shared = (char*)std::aligned_alloc(128, (shared + 127) / 128 * 128 + 128);
  for (int i = 0; i < threads; ++i) {
    b.fibers[i].number = i;
    b.fibers[i].index = {i % b.size.x, i / b.size.x % b.size.y, i / (b.size.x * b.size.y)};
  }
  b.body = call(kernel, arguments, std::index_sequence_for<Parameters...>{});
  block = &b;
  for (unsigned z = 0; z < b.grid.z && b.problem.empty(); ++z)
    for (unsigned y = 0; y < b.grid.y && b.problem.empty(); ++y)
      for (unsigned x = 0; x < b.grid.x && b.problem.empty(); ++x) {
        b.index = {x, y, z};
        std::memset(b.shared, 0xff, shared);             // NaN, and no sensible integer
        run_block(b);
        if (!b.problem.empty())
          b.problem = "block (" + std::to_string(x) + ", " + std::to_string(y) + ", " + std::to_string(z) + "): " + b.problem;
      }
  block = nullptr;
  std::snprintf(message, room, "%s", b.problem.c_str());
  std::free(b.stacks);
  std::free(b.shared);
  return b.problem.empty() ? 0 : 1;
}

}  // namespace emulator

#define threadIdx (emulator::block->current->index)
#define blockIdx (emulator::block->index)
#define blockDim (emulator::block->size)
#define gridDim (emulator::block->grid)
#define warpSize 32
#define __syncthreads() emulator::sync_block(__LINE__)
#define __syncwarp(...) emulator::sync_warp()
#define __threadfence() ((void)0)

template <class T> inline T __shfl_sync(unsigned, T value, int source) { return emulator::from_lane(value, source & 31); }
template <class T> inline T __shfl_xor_sync(unsigned, T value, int mask) {
  return emulator::from_lane(value, emulator::lane() ^ mask);
}
template <class T> inline T __shfl_down_sync(unsigned, T value, int delta) {
  return emulator::from_lane(value, emulator::lane() + delta);
}
template <class T> inline T __shfl_up_sync(unsigned, T value, int delta) {
  return emulator::from_lane(value, emulator::lane() - delta);
}
template <class T> inline T atomicAdd(T* place, T value) { const T old = *place; *place = old + value; return old; }

// One entry for each kernel, under a name that Python can find; the builder writes these lines.
#define EMULATE(kernel)                                                                                                \
  extern "C" int emulate_##kernel(const unsigned* shape, size_t shared, void** arguments, unsigned order, char* message, \
                                  size_t room) {                                                                       \
    return emulator::launch(::kernel, shape, shared, arguments, order, message, room);                                 \
  }
