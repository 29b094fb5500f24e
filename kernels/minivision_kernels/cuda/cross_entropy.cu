// The loss -log softmax(logits)[label] of each row of an array (N, C), and its gradient.
//
//   losses_threads, gradient_threads       one thread for each row
//   losses_warps, gradient_warps           a warp for each row
//   losses_blocks, gradient_blocks         a block for each row, for many classes
//
// A label that is no class cannot be complained of here: a kernel has no way to say so but by its result, and nobody should
// wait for that. Its row gets NaN, and nothing outside the row is read.
#include "words.cuh"

#define INFINITE real(__uint_as_float(0x7f800000u))
#define NO_NUMBER real(__uint_as_float(0x7fc00000u))

// The largest of some numbers, and the sum of exp(number - largest): softmax without overflow, in one pass. When a larger
// number comes, the sum so far shrinks by exp(old - new) (Milakov and Gimelshein 2018, algorithm 3).
struct Softmax { real largest, sum; };

__device__ __forceinline__ void take(Softmax& s, real x) {
  if (x > s.largest) {
    s.sum = s.sum * exp(s.largest - x) + (x - x + 1);        // x - x is NaN for infinity, as it should be
    s.largest = x;
  } else if (!(x == -INFINITE)) {                            // which adds nothing; NaN comes here, and stays
    s.sum += exp(x - s.largest);
  }
}

__device__ __forceinline__ Softmax joined(Softmax a, Softmax b) {
  const real largest = a.largest > b.largest ? a.largest : b.largest;
  const real left = a.largest == largest ? a.sum : a.sum * exp(a.largest - largest);
  const real right = b.largest == largest ? b.sum : b.sum * exp(b.largest - largest);
  return {largest, left + right};
}

// Of the numbers rank, rank + threads, ... of a row.
__device__ __forceinline__ Softmax partly(const real* row, int C, int rank, int threads) {
  Softmax s = {-INFINITE, 0};
#pragma unroll 4
  for (int c = rank; c < C; c += threads) take(s, row[c]);
  return s;
}

__device__ __forceinline__ Softmax warp_joined(Softmax mine) {
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2)
    mine = joined(mine, {__shfl_xor_sync(ALL_LANES, mine.largest, distance), __shfl_xor_sync(ALL_LANES, mine.sum, distance)});
  return mine;
}

__device__ __forceinline__ Softmax block_joined(Softmax mine, Softmax* warps) {
  mine = warp_joined(mine);
  const int lane = threadIdx.x % 32;
  if (lane == 0) warps[threadIdx.x / 32] = mine;
  __syncthreads();
  return warp_joined(lane < blockDim.x / 32 ? warps[lane] : Softmax{-INFINITE, 0});
}

__device__ __forceinline__ real loss(const real* row, long long label, int C, Softmax s) {
  return label < 0 || label >= C ? NO_NUMBER : log(s.sum) - (row[label] - s.largest);
}

__device__ __forceinline__ void gradient(
    const real* row, real* dx, long long label, real g, int C, Softmax s, int rank, int threads) {
  for (int c = rank; c < C; c += threads) {
    const real share = exp(row[c] - s.largest) / s.sum - (c == label ? 1 : 0);
    dx[c] = label < 0 || label >= C ? NO_NUMBER : share * g;
  }
}

// Neighbouring threads read C numbers apart: of each 32 bytes that the memory sends, 4 are used at once.
extern "C" __global__ void losses_threads(const real* logits, const long long* labels, real* losses, int N, int C) {
  const int n = blockIdx.x * blockDim.x + threadIdx.x;
  if (n >= N) return;
  const real* row = logits + n * (long long)C;
  losses[n] = loss(row, labels[n], C, partly(row, C, 0, 1));
}

extern "C" __global__ void gradient_threads(
    const real* logits, const long long* labels, const real* g, real* dx, int N, int C) {
  const int n = blockIdx.x * blockDim.x + threadIdx.x;
  if (n >= N) return;
  const real* row = logits + n * (long long)C;
  gradient(row, dx + n * (long long)C, labels[n], g[n], C, partly(row, C, 0, 1), 0, 1);
}

// The lanes of a warp read neighbouring numbers, and join what they have by five exchanges. No shared memory, no barrier.
extern "C" __global__ void losses_warps(const real* logits, const long long* labels, real* losses, int N, int C) {
  const int n = (blockIdx.x * blockDim.x + threadIdx.x) / 32, lane = threadIdx.x % 32;
  if (n >= N) return;
  const real* row = logits + n * (long long)C;
  const Softmax s = warp_joined(partly(row, C, lane, 32));
  if (lane == 0) losses[n] = loss(row, labels[n], C, s);
}

extern "C" __global__ void gradient_warps(
    const real* logits, const long long* labels, const real* g, real* dx, int N, int C) {
  const int n = (blockIdx.x * blockDim.x + threadIdx.x) / 32, lane = threadIdx.x % 32;
  if (n >= N) return;
  const real* row = logits + n * (long long)C;
  gradient(row, dx + n * (long long)C, labels[n], g[n], C, warp_joined(partly(row, C, lane, 32)), lane, 32);
}

extern "C" __global__ void __launch_bounds__(256) losses_blocks(
    const real* logits, const long long* labels, real* losses, int C) {
  __shared__ Softmax warps[8];
  const long long n = blockIdx.x;
  const real* row = logits + n * C;
  const Softmax s = block_joined(partly(row, C, threadIdx.x, blockDim.x), warps);
  if (threadIdx.x == 0) losses[n] = loss(row, labels[n], C, s);
}

extern "C" __global__ void __launch_bounds__(256) gradient_blocks(
    const real* logits, const long long* labels, const real* g, real* dx, int C) {
  __shared__ Softmax warps[8];
  const long long n = blockIdx.x;
  const real* row = logits + n * C;
  const Softmax s = block_joined(partly(row, C, threadIdx.x, blockDim.x), warps);
  gradient(row, dx + n * C, labels[n], g[n], C, s, threadIdx.x, blockDim.x);
}
