// Kernels with a mistake each, and right ones beside them: what the emulator must notice.
#include "words.cuh"

// y = x reversed within each block, through shared memory.
extern "C" __global__ void reverse(const real* x, real* y, int barrier) {
  SHARED(real, tile);
  tile[threadIdx.x] = x[blockIdx.x * blockDim.x + threadIdx.x];
  if (barrier) __syncthreads();
  y[blockIdx.x * blockDim.x + threadIdx.x] = tile[blockDim.x - 1 - threadIdx.x];
}

// The second barrier of a loop over tiles: without it a fast thread overwrites what a slow one still reads.
extern "C" __global__ void window_sums(const real* x, real* y, int tiles, int barrier) {
  SHARED(real, tile);
  real sum = 0;
  for (int t = 0; t < tiles; ++t) {
    tile[threadIdx.x] = x[t * blockDim.x + threadIdx.x];
    __syncthreads();
    for (unsigned i = 0; i < blockDim.x; ++i) sum += tile[i];
    if (barrier) __syncthreads();
  }
  y[threadIdx.x] = sum;
}

extern "C" __global__ void overrun(const real* x, real* y, int size, int past) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < size + past) y[i] = x[i];
}

extern "C" __global__ void shared_overrun(const real* x, real* y, int past) {
  SHARED(real, tile);
  tile[threadIdx.x + past] = x[threadIdx.x];
  __syncthreads();
  y[threadIdx.x] = tile[threadIdx.x];
}

extern "C" __global__ void two_barriers(real* y, int apart) {
  if (apart && threadIdx.x % 2) {
    __syncthreads();
  } else {
    __syncthreads();
  }
  y[threadIdx.x] = 1;
}

extern "C" __global__ void warp_without_a_lane(const real* x, real* y, int gone) {
  if ((int)threadIdx.x == gone) return;
  y[threadIdx.x] = warp_sum(x[threadIdx.x]);
}

extern "C" __global__ void late_copies(const real* x, real* y, int wait) {
  SHARED(real, tile);
  copy_async<sizeof(real)>(&tile[threadIdx.x], &x[threadIdx.x], threadIdx.x % 2 == 0);
  close_copies();
  if (wait) wait_copies<0>();
  __syncthreads();
  y[threadIdx.x] = tile[blockDim.x - 1 - threadIdx.x];
}

extern "C" __global__ void sums(const real* x, real* y, real* largest) {
  SHARED(real, partial);
  const real value = x[threadIdx.x];
  y[threadIdx.x] = block_sum(value, partial);
  largest[threadIdx.x] = warp_max(value);
}

extern "C" __global__ void no_initial_value(real* y) {
  SHARED(real, tile);
  y[threadIdx.x] = tile[threadIdx.x];
}

#ifdef SCALED
template <int FACTOR, int OFFSET> __device__ void scaled_by(const real* x, real* y) { y[threadIdx.x] = x[threadIdx.x] * FACTOR + OFFSET; }
extern "C" __global__ void scaled(const real* x, real* y) { scaled_by<SCALED>(x, y); }
#endif

struct Sizes { int rows, columns; };
extern "C" __global__ void arguments(real* y, Sizes sizes, long long big, int small, real number, const real* absent, const int* index) {
  y[0] = sizes.rows; y[1] = sizes.columns; y[2] = (real)(big >> 32); y[3] = small; y[4] = number; y[5] = absent == nullptr; y[6] = index[1];
}

// One product of tensor cores: a (16, 8), b (8, 8), c (16, 8); each operand rounded, or split in two.
extern "C" __global__ void product(const float* a, const float* b, real* c, int split) {
  const int lane = threadIdx.x, group = lane / 4, t = lane % 4;
  unsigned large[4], small[4], right_large[2], right_small[2];
  for (int i = 0; i < 4; ++i) split_tf32(a[(group + i % 2 * 8) * 8 + t + i / 2 * 4], large[i], small[i]);
  for (int i = 0; i < 2; ++i) split_tf32(b[(t + i * 4) * 8 + group], right_large[i], right_small[i]);
  float sums[4] = {0, 0, 0, 0};
  if (split) {
    multiply_tf32(sums, small, right_large);
    multiply_tf32(sums, large, right_small);
  }
  multiply_tf32(sums, large, right_large);
  for (int i = 0; i < 4; ++i) c[(group + i / 2 * 8) * 8 + 2 * t + i % 2] = sums[i];
}
