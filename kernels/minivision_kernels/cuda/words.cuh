// The vocabulary of the kernels: the number type, vectors of four, the numbers of a thread and of a channel, sums over a warp
// and a block, copies that arrive later, and the tensor core's product. Each word that is an instruction of its own has a twin in plain C++ for the emulator
// (emulator.h), a few lines that say what the instruction does.
//
// Kernels include this file, products of matrices also tile.cuh, and no other. NVRTC, nvcc and the emulator compile the
// same text.
#pragma once

#ifndef REAL
#define REAL float                        // -DREAL=double for the gradient checker
#endif
typedef REAL real;

// Shared memory whose size the launch decides: SHARED(real, tile); then tile[i].
#ifdef EMULATOR
#define SHARED(type, name) type* name = (type*)emulator::block->shared
#else
#define SHARED(type, name) extern __shared__ __align__(128) unsigned char shared_bytes[]; type* name = (type*)shared_bytes
#endif

#define ALL_LANES 0xffffffffu

// ---------------------------------------------------------------------------------------------------- four at a time

// Four numbers that are loaded and stored as one where the address is a multiple of 16 bytes.
struct __align__(16) real4 { real x, y, z, w; };

__device__ __forceinline__ real4 load4(const real* from) { return *reinterpret_cast<const real4*>(from); }
__device__ __forceinline__ void store4(real* to, real4 value) { *reinterpret_cast<real4*>(to) = value; }

// Where a thread finds up to four numbers: side by side, loaded as one, or each at a place of its own.
struct Places { long long at[4]; int count; bool side_by_side; };

__device__ __forceinline__ void load(const real* from, const Places& p, real (&values)[4]) {
  if (p.side_by_side) {
    const real4 four = load4(from + p.at[0]);
    values[0] = four.x, values[1] = four.y, values[2] = four.z, values[3] = four.w;
  } else {
#pragma unroll
    for (int j = 0; j < 4; ++j) values[j] = j < p.count ? from[p.at[j]] : real(0);
  }
}

__device__ __forceinline__ void store(real* to, const Places& p, const real (&values)[4]) {
  if (p.side_by_side) {
    store4(to + p.at[0], {values[0], values[1], values[2], values[3]});
  } else {
#pragma unroll
    for (int j = 0; j < 4; ++j)
      if (j < p.count) to[p.at[j]] = values[j];
  }
}

// This thread's four of `size` numbers. Where the arrays do not start at a multiple of 16 bytes (`aligned` is 0), they lie a
// block's width apart, so that the lanes of a warp still read one stretch.
__device__ __forceinline__ Places my_four(long long size, int aligned, unsigned block) {
  const long long first = block * 4LL * blockDim.x, start = first + (aligned ? 4 : 1) * threadIdx.x;
  Places p = {{0, 0, 0, 0}, 0, aligned && start + 4 <= size};
#pragma unroll
  for (int j = 0; j < 4; ++j) {
    p.at[j] = start + (aligned ? j : j * (long long)blockDim.x);
    p.count += p.at[j] < size;
  }
  return p;
}

__device__ __forceinline__ Places my_four(long long size, int aligned) { return my_four(size, aligned, blockIdx.x); }

// An array (N, C, P) of N images with P pixels in each of C channels. The N P numbers of a channel are shared between
// `splits` blocks, `each` numbers (a multiple of 4) for every block but the last; blocks of one channel are neighbours.
struct Shares { int N, C, P, splits, each; };

// Go through this block's share, four numbers at a time: use(places).
template <class Use> __device__ __forceinline__ void each_four(const Shares& of, Use use) {
  const unsigned channel = blockIdx.x / of.splits, first = blockIdx.x % of.splits * (unsigned)of.each, P = of.P;
  const unsigned last = min(first + of.each, (unsigned)of.N * P);
  auto place = [&](unsigned i) { return (i / P * (long long)of.C + channel) * P + i % P; };
  Places p = {{0, 0, 0, 0}, 4, P % 4 == 0};
  if (p.side_by_side) {
    const unsigned start = first + 4 * threadIdx.x, step = 4 * blockDim.x;
    const int rounds = start < last ? (last - start + step - 1) / step : 0;
#pragma unroll 4                                               // counted, so that four loads can be under way at a time
    for (int round = 0; round < rounds; ++round) {
      p.at[0] = place(start + round * step);
      use(p);
    }
  } else {
    for (unsigned i = first + threadIdx.x; i < last; i += 4 * blockDim.x) {
      p.count = 0;
#pragma unroll
      for (int j = 0; j < 4; ++j)
        if (i + j * blockDim.x < last) p.at[j] = place(i + j * blockDim.x), ++p.count;
      use(p);
    }
  }
}

// ------------------------------------------------------------------------------------------- sums over many threads

// The sum over the 32 lanes of a warp, known to all of them. Lanes exchange in pairs at distance 16, 8, 4, 2, 1: every
// lane adds the same numbers in a tree of the same shape, so the result does not depend on who is first.
template <class T> __device__ __forceinline__ T warp_sum(T value) {
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) value += __shfl_xor_sync(ALL_LANES, value, distance);
  return value;
}

template <class T> __device__ __forceinline__ T warp_max(T value) {
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) {
    const T other = __shfl_xor_sync(ALL_LANES, value, distance);
    value = other > value || other != other ? other : value;           // NaN stays NaN
  }
  return value;
}

// The sum over a block of whole warps (at most 1024 threads), known to all threads. `partial` is shared memory for one
// number per warp. Warps sum by exchange; then every thread adds the warps' sums, in order.
template <class T> __device__ __forceinline__ T block_sum(T value, T* partial) {
  value = warp_sum(value);
  __syncthreads();                        // an earlier sum may still be read from `partial`
  if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = value;
  __syncthreads();
  T sum = partial[0];
  for (unsigned warp = 1; warp < blockDim.x / 32; ++warp) sum += partial[warp];
  return sum;
}

// ------------------------------------------------------------------------------------------- copies that arrive later

// Start copying BYTES (4, 8 or 16) from global to shared memory and go on; where `wanted` is false, zeros arrive. The copy
// is there after close_copies() and wait_copies<...>() by this thread, and a barrier for the others. From sm_80 on
// (cp.async, PTX ISA 9.7.9.25); before that, the copy is an ordinary one and waiting costs nothing.
template <int BYTES> __device__ __forceinline__ void copy_async(void* to, const void* from, bool wanted = true) {
#if defined(EMULATOR)
  emulator::copy_later(to, from, BYTES, wanted ? BYTES : 0);
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  const unsigned place = (unsigned)__cvta_generic_to_shared(to);
  const int valid = wanted ? BYTES : 0;
  if (BYTES == 16) asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(place), "l"(from), "r"(valid) : "memory");
  else asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(place), "l"(from), "n"(BYTES), "r"(valid) : "memory");
#else
#pragma unroll
  for (int i = 0; i < BYTES / 4; ++i) ((unsigned*)to)[i] = wanted ? ((const unsigned*)from)[i] : 0u;
#endif
}

// The copies started since the last call form a group.
__device__ __forceinline__ void close_copies() {
#if defined(EMULATOR)
  emulator::close_group();
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

// Wait until all groups have arrived but for the newest PENDING.
template <int PENDING> __device__ __forceinline__ void wait_copies() {
#if defined(EMULATOR)
  emulator::arrive_all_but(PENDING);
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory");
#endif
}

// --------------------------------------------------------------------------------------------------- tensor cores

// TF32 has the exponent of a float and 10 of its 23 bits of mantissa. The tensor core takes floats as they are and does not
// look at their last 13 bits. There is an instruction that rounds (cvt.rna.tf32), but the assembler makes three or four of it
// for sm_90: the loop of gemm.cu then has 769 instructions for 96 products, and with the arithmetic below 583.

// x for a single product: 2^-11.6 more, of which the core cuts off, so that the error points neither way. A TF32 number stays
// what it is, an infinity or NaN likewise.
__device__ __forceinline__ unsigned round_tf32(float x) { return __float_as_uint(x * 1.00032552f); }

// x as large + small: the nearest TF32 number, ties away from zero, and the rest, of which the core sees 11 digits; good to
// 21 bits or more. A product of two such sums needs three products of their parts to be as accurate as float's own (the
// fourth, small times small, is below the last bit). NaN may become another number in `large`, but is NaN in `small`, and so
// in the sum. Infinity less infinity is NaN, too, and numbers from 3.402e38 on round to infinity.
__device__ __forceinline__ void split_tf32(float x, unsigned& large, unsigned& small) {
  large = (__float_as_uint(x) + 0x1000u) & 0xffffe000u;
  small = __float_as_uint(x - __uint_as_float(large));
}

// c += a b, where a is 16 x 8, b is 8 x 8 and c is 16 x 8, spread over the lanes of a warp (mma.sync.m16n8k8, PTX ISA
// 9.7.14.5.8). With group = lane / 4 and t = lane % 4, a lane holds
//     a[0], a[1]   rows group and group + 8, column t         b[0], b[1]   column group, rows t and t + 4
//     a[2], a[3]   the same rows, column t + 4                c[0..1]      row group, columns 2 t and 2 t + 1
//                                                             c[2..3]      row group + 8, the same columns
// a and b are TF32; the sums are float. From sm_80 on.
__device__ __forceinline__ void multiply_tf32(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
#if defined(EMULATOR)
  struct Both { unsigned a[4], b[2]; } mine = {{a[0], a[1], a[2], a[3]}, {b[0], b[1]}}, all[32];
  emulator::show_and_see(mine, all);
  const int group = emulator::lane() / 4, t = emulator::lane() % 4;
  auto value = [](unsigned bits) { return __uint_as_float(bits & 0xffffe000u); };       // the rest is not looked at
  for (int k = 0; k < 8; ++k)
    for (int i = 0; i < 4; ++i) {
      const unsigned left = all[group * 4 + k % 4].a[k / 4 * 2 + i / 2];
      const unsigned right = all[(2 * t + i % 2) * 4 + k % 4].b[k / 4];
      c[i] += value(left) * value(right);
    }
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

// Four pieces of 8 rows x 4 floats of shared memory for a warp: lane 8 q + r has the address of row r of piece q, and to[q]
// is the number at (row lane / 4, column lane % 4) of piece q (ldmatrix, PTX ISA 9.7.14.5.15, to which a float is two halves).
__device__ __forceinline__ void load_quarters(float (&to)[4], const float* row) {
#if defined(EMULATOR)
  const float* all[32];
  emulator::show_and_see(row, all);
  for (int q = 0; q < 4; ++q) to[q] = all[8 * q + emulator::lane() / 4][emulator::lane() % 4];
#elif defined(__CUDA_ARCH__)
  const unsigned place = (unsigned)__cvta_generic_to_shared(row);
  unsigned bits[4];
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(bits[0]), "=r"(bits[1]), "=r"(bits[2]), "=r"(bits[3]) : "r"(place) : "memory");
#pragma unroll
  for (int q = 0; q < 4; ++q) to[q] = __uint_as_float(bits[q]);
#endif
}
