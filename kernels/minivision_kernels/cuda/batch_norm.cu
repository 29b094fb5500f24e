// Batch normalisation of an array (N, C, P) in training, and its gradients (Ioffe and Szegedy 2015).
//
//   forward_threads, backward_threads      one thread for each channel
//   moments, normalise                     blocks for each channel: its mean and variance, then the result
//   gradient_sums, gradient                the same for the gradients
//
// Two sums over a channel come first, and each of its numbers needs them, so a channel is read twice. Between two kernels is
// the only place where all blocks are known to have finished. The second kernel therefore begins by bringing together what
// the blocks of the first one wrote for its channel; each warp does that for itself, one lane for each block.
#include "words.cuh"

// ------------------------------------------------------------------------------------------------ one thread each
//
// Sums, number after number, are of double: in float each would lose digits that a sum in the shape of a tree keeps.

extern "C" __global__ void forward_threads(
    const real* x, const real* weight, const real* bias, real* y, real* means, real* vars, int N, int C, int P, real eps) {
  const int c = blockIdx.x * blockDim.x + threadIdx.x;
  if (c >= C) return;
  const double count = double(N) * P;
  auto at = [=](int n, int p) { return (n * (long long)C + c) * P + p; };
  double sum = 0, squares = 0;
  for (int n = 0; n < N; ++n)
    for (int p = 0; p < P; ++p) sum += x[at(n, p)];
  const double mean = sum / count;
  for (int n = 0; n < N; ++n)
    for (int p = 0; p < P; ++p) squares += (x[at(n, p)] - mean) * (x[at(n, p)] - mean);
  const real middle = real(mean), var = real(squares / count), scale = weight[c] / sqrt(var + eps);
  for (int n = 0; n < N; ++n)
    for (int p = 0; p < P; ++p) y[at(n, p)] = (x[at(n, p)] - middle) * scale + bias[c];
  means[c] = middle;
  vars[c] = var;
}

extern "C" __global__ void backward_threads(
    const real* g, const real* x, const real* weight, const real* means, const real* vars, real* dx, real* dweight,
    real* dbias, int N, int C, int P, real eps) {
  const int c = blockIdx.x * blockDim.x + threadIdx.x;
  if (c >= C) return;
  const real count = real(N) * P, mean = means[c], shrink = 1 / sqrt(vars[c] + eps);
  auto at = [=](int n, int p) { return (n * (long long)C + c) * P + p; };
  double sum = 0, product = 0;
  for (int n = 0; n < N; ++n)
    for (int p = 0; p < P; ++p) {
      sum += g[at(n, p)];
      product += g[at(n, p)] * ((x[at(n, p)] - mean) * shrink);
    }
  const real shift = real(sum), stretch = real(product);
  for (int n = 0; n < N; ++n)
    for (int p = 0; p < P; ++p) {
      const real z = (x[at(n, p)] - mean) * shrink;
      dx[at(n, p)] = weight[c] * shrink * (g[at(n, p)] - shift / count - z * (stretch / count));
    }
  dweight[c] = stretch;
  dbias[c] = shift;
}

// ------------------------------------------------------------------------------------------------ mean and variance

// Of `count` numbers: their mean, and the sum of their squared distances from it. Unlike a sum of squares, from which the
// square of a sum is subtracted at the end, this loses nothing where the mean is far from 0.
struct Moments { real count, mean, squares; };

// Of two sets of numbers together (Chan, Golub and LeVeque 1983, equations 2.1).
__device__ __forceinline__ Moments joined(Moments a, Moments b) {
  const real count = a.count + b.count;
  if (count == 0) return a;
  const real apart = b.mean - a.mean, share = b.count / count;
  return {count, a.mean + apart * share, a.squares + b.squares + apart * apart * (a.count * share)};
}

// Of the sets of all lanes, known to all of them. Of two lanes the lower one comes first, so that both find the same.
__device__ __forceinline__ Moments warp_joined(Moments mine) {
#pragma unroll
  for (int distance = 1; distance < 32; distance *= 2) {
    const Moments other = {__shfl_xor_sync(ALL_LANES, mine.count, distance), __shfl_xor_sync(ALL_LANES, mine.mean, distance),
                           __shfl_xor_sync(ALL_LANES, mine.squares, distance)};
    mine = threadIdx.x & distance ? joined(other, mine) : joined(mine, other);
  }
  return mine;
}

// The mean and the squares of each block's share, side by side in `partial`. Four numbers have their own mean first, so that
// there is one division for four.
extern "C" __global__ void __launch_bounds__(256) moments(const real* x, real* partial, Shares of) {
  __shared__ Moments warps[8];
  Moments mine = {0, 0, 0};
  each_four(of, [&](const Places& p) {
    real v[4];
    load(x, p, v);
    if (p.count == 4) {
      const real mean = ((v[0] + v[1]) + (v[2] + v[3])) / 4;
      real squares = 0;
#pragma unroll
      for (int j = 0; j < 4; ++j) squares += (v[j] - mean) * (v[j] - mean);
      mine = joined(mine, {4, mean, squares});
    } else {
#pragma unroll
      for (int j = 0; j < 3; ++j)
        if (j < p.count) mine = joined(mine, {1, v[j], 0});
    }
  });
  mine = warp_joined(mine);
  const int lane = threadIdx.x % 32;
  if (lane == 0) warps[threadIdx.x / 32] = mine;
  __syncthreads();
  mine = warp_joined(lane < 8 ? warps[lane] : Moments{0, 0, 0});
  if (threadIdx.x == 0) {
    partial[2 * blockIdx.x] = mine.mean;
    partial[2 * blockIdx.x + 1] = mine.squares;
  }
}

extern "C" __global__ void __launch_bounds__(256) normalise(
    const real* x, const real* partial, const real* weight, const real* bias, real* y, real* means, real* vars, Shares of,
    real eps) {
  const int c = blockIdx.x / of.splits, lane = threadIdx.x % 32;
  Moments all = {0, 0, 0};
  if (lane < of.splits) {
    const real* share = partial + 2 * (c * of.splits + lane);
    all = {real(min(of.each, of.N * of.P - lane * of.each)), share[0], share[1]};
  }
  all = warp_joined(all);
  const real mean = all.mean, var = all.squares / all.count, scale = weight[c] / sqrt(var + eps), shift = bias[c];
  each_four(of, [&](const Places& p) {
    real v[4];
    load(x, p, v);
#pragma unroll
    for (int j = 0; j < 4; ++j) v[j] = (v[j] - mean) * scale + shift;
    store(y, p, v);
  });
  if (threadIdx.x == 0 && blockIdx.x % of.splits == 0) {
    means[c] = mean;
    vars[c] = var;
  }
}

// ---------------------------------------------------------------------------------------------------- the gradients

// sum(g) and sum(g z) of each block's share, side by side in `partial`.
extern "C" __global__ void __launch_bounds__(256) gradient_sums(
    const real* g, const real* x, const real* means, const real* vars, real* partial, Shares of, real eps) {
  __shared__ real warps[8];
  const int c = blockIdx.x / of.splits;
  const real mean = means[c], shrink = 1 / sqrt(vars[c] + eps);
  real shift = 0, stretch = 0;
  each_four(of, [&](const Places& p) {
    real u[4], v[4];
    load(g, p, u);
    load(x, p, v);
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      shift += u[j];                                         // 0 where there is no number
      stretch += u[j] * ((v[j] - mean) * shrink);
    }
  });
  shift = block_sum(shift, warps);
  stretch = block_sum(stretch, warps);
  if (threadIdx.x == 0) {
    partial[2 * blockIdx.x] = shift;
    partial[2 * blockIdx.x + 1] = stretch;
  }
}

extern "C" __global__ void __launch_bounds__(256) gradient(
    const real* g, const real* x, const real* weight, const real* means, const real* vars, const real* partial, real* dx,
    real* dweight, real* dbias, Shares of, real eps) {
  const int c = blockIdx.x / of.splits, lane = threadIdx.x % 32;
  const real* share = partial + 2 * (c * of.splits + lane);
  const real shift = warp_sum(lane < of.splits ? share[0] : real(0)), stretch = warp_sum(lane < of.splits ? share[1] : real(0));
  const real count = real(of.N) * of.P, mean = means[c], shrink = 1 / sqrt(vars[c] + eps), scale = weight[c] * shrink;
  each_four(of, [&](const Places& p) {
    real u[4], v[4];
    load(g, p, u);
    load(x, p, v);
#pragma unroll
    for (int j = 0; j < 4; ++j) u[j] = scale * (u[j] - shift / count - (v[j] - mean) * shrink * (stretch / count));
    store(dx, p, u);
  });
  if (threadIdx.x == 0 && blockIdx.x % of.splits == 0) {
    dweight[c] = stretch;
    dbias[c] = shift;
  }
}
