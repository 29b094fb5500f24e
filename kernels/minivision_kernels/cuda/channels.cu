// One number for each channel of an array (N, C, P), N images with P pixels in each of C channels.
//
//   bias_add_threads, bias_add     add it to all pixels, and ReLU if asked: one number for each thread, then four
//   channel_affine_threads, channel_affine     multiply them by one, add another, and ReLU if asked, likewise
//   channel_sum_threads            sum over all pixels: one thread for each channel
//   channel_sum, join_sums         blocks for each channel; then their sums together
//
// A sum has to bring many threads' results together. Threads of a warp exchange registers (warp_sum), warps of a block meet in
// shared memory (block_sum), and blocks, which cannot wait for each other, write to memory what the next kernel reads. In
// each of these the order is fixed, and so are the bits.
#include "words.cuh"

__device__ __forceinline__ real or_zero(real x, bool relu) { return relu && x <= 0 ? real(0) : x; }     // NaN <= 0 is false

extern "C" __global__ void bias_add_threads(real* y, const real* bias, int C, int P, long long size, int relu) {
  const long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x;
  if (i < size) y[i] = or_zero(y[i] + bias[i / P % C], relu);
}

// The images are taken `together`, so many that 32 bits count their numbers. Where P is a multiple of 4, the four numbers of
// a thread lie in one channel.
extern "C" __global__ void bias_add(real* y, const real* bias, int C, int P, int together, int N, int aligned,
                                    int relu) {
  const long long first = blockIdx.y * (long long)together, image = C * (long long)P;
  const Places p = my_four(min((long long)together, N - first) * image, aligned);
  if (p.count == 0) return;
  real values[4];
  y += first * image;
  load(y, p, values);
  if (p.side_by_side && P % 4 == 0) {
    const real here = bias[(unsigned)p.at[0] / P % C];
#pragma unroll
    for (int j = 0; j < 4; ++j) values[j] = or_zero(values[j] + here, relu);
  } else {
#pragma unroll
    for (int j = 0; j < 4; ++j)
      if (j < p.count) values[j] = or_zero(values[j] + bias[(unsigned)p.at[j] / P % C], relu);
  }
  store(y, p, values);
}

extern "C" __global__ void channel_affine_threads(const real* x, const real* weight, const real* bias, real* y, int C, int P,
                                                  long long size, int relu) {
  const long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x;
  if (i < size) y[i] = or_zero(x[i] * weight[i / P % C] + (bias ? bias[i / P % C] : 0), relu);
}

extern "C" __global__ void channel_affine(const real* x, const real* weight, const real* bias, real* y, int C, int P,
                                          int together, int N, int aligned, int relu) {
  const long long first = blockIdx.y * (long long)together, image = C * (long long)P;
  const Places p = my_four(min((long long)together, N - first) * image, aligned);
  if (p.count == 0) return;
  real values[4];
  load(x + first * image, p, values);
  if (p.side_by_side && P % 4 == 0) {
    const int c = (unsigned)p.at[0] / P % C;
    const real factor = weight[c], number = bias ? bias[c] : 0;
#pragma unroll
    for (int j = 0; j < 4; ++j) values[j] = or_zero(values[j] * factor + number, relu);
  } else {
#pragma unroll
    for (int j = 0; j < 4; ++j)
      if (j < p.count) {
        const int c = (unsigned)p.at[j] / P % C;
        values[j] = or_zero(values[j] * weight[c] + (bias ? bias[c] : 0), relu);
      }
  }
  store(y + first * image, p, values);
}

// Where P is 1, neighbouring threads read neighbouring numbers; else they read P apart, and each of them waits for a stretch
// of memory of its own. And a layer of 64 channels keeps two warps of the whole GPU busy. One long sum, number after number,
// would also lose digits, unlike one in the shape of a tree: hence the double.
extern "C" __global__ void channel_sum_threads(const real* g, real* sums, int N, int C, int P) {
  const int c = blockIdx.x * blockDim.x + threadIdx.x;
  if (c >= C) return;
  double sum = 0;
  for (int n = 0; n < N; ++n)
    for (int p = 0; p < P; ++p) sum += g[(n * (long long)C + c) * P + p];
  sums[c] = real(sum);
}

extern "C" __global__ void __launch_bounds__(256) channel_sum(const real* g, real* partial, Shares of) {
  __shared__ real warps[8];
  real sum = 0;
  each_four(of, [&](const Places& p) {
    real values[4];
    load(g, p, values);
    sum += (values[0] + values[1]) + (values[2] + values[3]);          // what is not there is loaded as 0
  });
  sum = block_sum(sum, warps);
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

extern "C" __global__ void join_sums(const real* partial, real* sums, int C, int splits) {
  const int c = blockIdx.x * blockDim.x + threadIdx.x;
  if (c >= C) return;
  real sum = 0;
  for (int s = 0; s < splits; ++s) sum += partial[c * splits + s];
  sums[c] = sum;
}
