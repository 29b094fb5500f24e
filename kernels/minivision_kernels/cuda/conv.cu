// Convolution and its gradients to the image and to the filters: how they become products of matrices.
//
//   naive        a thread for each result, which fetches all that it needs from far away
//   shared       an implicit matrix product: a block of threads fetches tiles of both matrices once for all its results
//   registers    8 x 8 results for each thread
//
// Each of them once for convolution and its gradient to the image, which are the same kind of sum (conv.cuh says how), and
// once, called ..._weight, for the gradient to the filters. The next steps are in conv_staged.cu, convolutions of single
// channels in depthwise.cu.
//
// The matrix product behind a convolution (Chetlur et al. 2014, "cuDNN: Efficient Primitives for Deep Learning", section 3)
// has a row for each channel that comes out, a column for each pixel of each image, and between them, summed away, the taps
// of all channels. The left matrix holds the weights. The right one, the pixels that windows see, is never written down: a
// tile of it is gathered from the image when its turn comes. The gradient to the filters is a product too, summed over the
// pixels: g times that same matrix turned over.
//
//                            rows M          columns N             terms K
//     forward                F / groups      N OH OW               C / groups, KH, KW
//     gradient to x          C / groups      N H W of a phase      F / groups, taps of the phase
//     gradient to w          F / groups      C / groups, KH, KW    N OH OW
//
// blockIdx.x counts tiles, blockIdx.y groups, blockIdx.z phases or slices of the terms. Neighbouring threads fetch for
// neighbouring pixels, which lie beside each other in NCHW. Offsets inside an image are ints, from image to image 64 bits.
// The figures in the docstrings of conv.py are those of the literature for kernels of the same kind.
#include "conv.cuh"
#include "tile.cuh"

// ------------------------------------------------------------------------------------------------------------- naive

// A thread for each y[n, m, row, column]. Threads of a warp have neighbouring columns, so they load neighbouring pixels (at
// stride 1) and all the same weight; but every pixel comes once for each tap and each channel that comes out.
extern "C" __global__ void naive(const real* x, const real* w, real* y, Sum s, long long size) {
  const long long number = blockIdx.x * (long long)blockDim.x + threadIdx.x;
  if (number >= size) return;
  const int column = number % s.columns.out, row = number / s.columns.out % s.rows.out;
  const long long plane = number / s.columns.out / s.rows.out, channels = (long long)s.groups * s.results;
  const int m = plane % channels, pixels = s.rows.in * s.columns.in, taps = s.rows.taps * s.columns.taps;
  const real* from = x + (plane / channels * s.groups + m / s.results) * s.terms * pixels;
  const real* weights = w + (long long)(m / s.results) * s.results * s.terms * taps + m % s.results * s.result_step;
  real sum = 0;
  for (int k = 0; k < s.terms; ++k, from += pixels, weights += s.term_step)
    for (int i = 0; i < s.rows.taps; ++i)
      for (int j = 0; j < s.columns.taps; ++j) {
        const int place = seen(s, row, column, i, j);
        if (place >= 0) sum += weights[i * s.columns.taps + j] * from[place];
      }
  y[number] = sum;
}

// A thread for each dw[m, k, i, j]; s is the forward's. A few thousand threads, each with a sum over all images.
extern "C" __global__ void naive_weight(const real* x, const real* g, real* dw, Sum s, long long size) {
  const long long number = blockIdx.x * (long long)blockDim.x + threadIdx.x;
  if (number >= size) return;
  const int taps = s.rows.taps * s.columns.taps, k = number / taps % s.terms, m = number / taps / s.terms;
  const int i = number % taps / s.columns.taps, j = number % s.columns.taps;
  const int pixels = s.rows.in * s.columns.in, outputs = s.rows.out * s.columns.out;
  real sum = 0;
  for (long long image = 0; image < s.images; ++image) {
    const real* from = x + ((image * s.groups + m / s.results) * s.terms + k) * pixels;
    const real* upstream = g + (image * s.groups * s.results + m) * outputs;
    for (int row = 0; row < s.rows.out; ++row)
      for (int column = 0; column < s.columns.out; ++column) {
        const int place = seen(s, row, column, i, j);
        if (place >= 0) sum += upstream[row * s.columns.out + column] * from[place];
      }
  }
  dw[number] = sum;
}

// ------------------------------------------------------------------------------------------------- tiles, by division

// a[m][k] and b[k][n] of the products, number by number: each thread finds out by division what a term or a pixel is.

struct Windows {                                    // what window n sees through tap k, which has the place `tap_row`, ...
  const real* x;
  const Sum& s;
  const Product& p;
  __device__ __forceinline__ real operator()(int k, int n) const {
    const int taps = p.rows.taps * p.columns.taps, i = k % taps / p.columns.taps, j = k % p.columns.taps;
    const int row = p.rows.start + n % p.outputs / p.columns.outputs * p.rows.scale + i * p.rows.reach;
    const int column = p.columns.start + n % p.columns.outputs * p.columns.scale + j * p.columns.reach;
    if (!inside(row, s.rows.in) || !inside(column, s.columns.in)) return 0;
    return x[(((long long)(n / p.outputs) * s.groups + blockIdx.y) * s.terms + k / taps) * (s.rows.in * s.columns.in) +
             row * s.columns.in + column];
  }
};

struct Upstream {                                   // g of channel m and pixel k
  const real* g;
  const Sum& s;
  const Product& p;
  __device__ __forceinline__ real operator()(int m, int k) const { return g[p.place(s, k) + (long long)m * p.outputs]; }
};

struct WindowsTurned {                              // pixels are the terms, and taps the columns
  Windows windows;
  __device__ __forceinline__ real operator()(int k, int n) const { return windows(n, k); }
};

// A block of 16 x 16 threads brings 16 x 16 numbers of each matrix to shared memory, and each is used by 16 threads. Threads
// of a warp read neighbours in memory: of a along k, of b along k or n. Lines of 17 keep them in different banks. Result m, n
// goes to y[m step + where(n)].
constexpr int SIDE = 16;
template <bool B_ALONG_K, class Left, class Right, class Where>
__device__ __forceinline__ void shared_product(int M, int N, int K, Left a, Right b, real* y, long long step, Where where) {
  __shared__ real left[SIDE][SIDE + 1], right[SIDE][SIDE + 1];
  if (blockIdx.x >= (unsigned)((M + SIDE - 1) / SIDE * ((N + SIDE - 1) / SIDE))) return;       // of a small phase
  const Place first = place_of_block<SIDE, SIDE>(M, N);
  const int x = threadIdx.x % SIDE, line = threadIdx.x / SIDE;
  real sum = 0;
  for (int begin = 0; begin < K; begin += SIDE) {
    const int b_k = B_ALONG_K ? x : line, column = B_ALONG_K ? line : x;
    left[line][x] = first.row + line < M && begin + x < K ? a(first.row + line, begin + x) : real(0);
    right[b_k][column] = begin + b_k < K && first.column + column < N ? b(begin + b_k, first.column + column) : real(0);
    __syncthreads();                      // the tiles are there
#pragma unroll
    for (int k = 0; k < SIDE; ++k) sum += left[line][k] * right[k][x];
    __syncthreads();                      // and read, so that they may be overwritten
  }
  if (first.row + line < M && first.column + x < N) y[(first.row + line) * step + where(first.column + x)] = sum;
}

// 256 threads for a tile of 128 x 128, of which each has 8 x 8, in registers: 16 loads from shared memory for 64 products.
// Its rows and columns are every 16th.
constexpr int LARGE = 128, DEEP = 8, EACH = 8, APART = LARGE / EACH;
template <bool B_ALONG_K, class Left, class Right, class Where>
__device__ __forceinline__ void registers_product(int M, int N, int K, Left a, Right b, real* y, long long step, Where where) {
  __shared__ real left[DEEP][LARGE + 4], right[DEEP][LARGE + 4];
  if (blockIdx.x >= (unsigned)((M + LARGE - 1) / LARGE * ((N + LARGE - 1) / LARGE))) return;
  const Place first = place_of_block<LARGE, LARGE>(M, N);
  const int x = threadIdx.x % APART, line = threadIdx.x / APART;
  real sums[EACH][EACH] = {};
  for (int begin = 0; begin < K; begin += DEEP) {
#pragma unroll 1
    for (int i = threadIdx.x; i < LARGE * DEEP; i += 256) {
      const int m = first.row + i / DEEP, k = begin + i % DEEP;
      left[i % DEEP][i / DEEP] = m < M && k < K ? a(m, k) : real(0);
    }
#pragma unroll 1
    for (int i = threadIdx.x; i < LARGE * DEEP; i += 256) {
      const int column = B_ALONG_K ? i / DEEP : i % LARGE, k = B_ALONG_K ? i % DEEP : i / LARGE;
      const int n = first.column + column;
      right[k][column] = begin + k < K && n < N ? b(begin + k, n) : real(0);
    }
    __syncthreads();
#pragma unroll
    for (int k = 0; k < DEEP; ++k) {
      real rows[EACH], columns[EACH];
#pragma unroll
      for (int i = 0; i < EACH; ++i) { rows[i] = left[k][line + APART * i]; columns[i] = right[k][x + APART * i]; }
#pragma unroll
      for (int i = 0; i < EACH; ++i)
#pragma unroll
        for (int j = 0; j < EACH; ++j) sums[i][j] += rows[i] * columns[j];
    }
    __syncthreads();
  }
#pragma unroll
  for (int j = 0; j < EACH; ++j) {
    const int n = first.column + x + APART * j;
    if (n >= N) continue;
    real* results = y + where(n);
#pragma unroll
    for (int i = 0; i < EACH; ++i)
      if (first.row + line + APART * i < M) results[(first.row + line + APART * i) * step] = sums[i][j];
  }
}

extern "C" __global__ void shared(const real* x, const real* w, real* y, Sum s) {
  const Product p(s, blockIdx.z);
  shared_product<false>(p.M, p.N, p.K, Weights{w, s, p}, Windows{x, s, p},
                        y, s.rows.out * s.columns.out, [&](int n) { return p.place(s, n); });
}

extern "C" __global__ void shared_weight(const real* x, const real* g, real* dw, Sum s) {
  const Product p(s, 0);
  dw += (long long)blockIdx.y * p.M * p.K;
  shared_product<true>(p.M, p.K, p.N, Upstream{g, s, p}, WindowsTurned{{x, s, p}},
                       dw, p.K, [](int n) { return n; });
}

extern "C" __global__ void __launch_bounds__(256) registers(const real* x, const real* w, real* y, Sum s) {
  const Product p(s, blockIdx.z);
  registers_product<false>(p.M, p.N, p.K, Weights{w, s, p}, Windows{x, s, p},
                           y, s.rows.out * s.columns.out, [&](int n) { return p.place(s, n); });
}

extern "C" __global__ void __launch_bounds__(256) registers_weight(const real* x, const real* g, real* dw, Sum s) {
  const Product p(s, 0);
  dw += (long long)blockIdx.y * p.M * p.K;
  registers_product<true>(p.M, p.K, p.N, Upstream{g, s, p}, WindowsTurned{{x, s, p}},
                          dw, p.K, [](int n) { return n; });
}
