// The matrix product y = a b on the GPU, from one thread per number to tensor cores.
//
//   naive        a thread for each number of y, neighbours below each other
//   coalesced    neighbours beside each other
//   shared       tiles of 32 x 32, read once for 32 uses
//   registers    8 x 8 numbers for each thread
//   staged       16 bytes for each load, warps arranged in the tile, copies that arrive several steps later
//   tensor       the same with tensor cores: three products of TF32 parts, or one of rounded numbers
//   add_slices   the sum of partial results
//
// a is M x K, b is K x N. The linear layer needs three products, which differ only in how their operands lie in memory:
//
//   linear_forward   x w^T     a[m][k] = x[m K + k]    b[k][n] = w[n K + k]     both with terms side by side
//   linear_input     g w       a[m][k] = g[m K + k]    b[k][n] = w[k N + n]     a with terms, b with columns side by side
//   linear_weight    g^T x     a[m][k] = g[k M + m]    b[k][n] = x[k N + n]     both with rows or columns side by side
//
// The first kernels take the distances as numbers: a's rows and terms, b's terms and columns. From `staged` on each way to
// lie is a template constant (ALONG_K: terms side by side), and its loads are as wide as it allows.
//
// What limits each rung is the way to the numbers. A multiprocessor can do 128 multiply-adds a cycle and load 32 words of
// shared memory, and memory brings it 10 to 20 bytes in that time (H100: 3.35 TB/s over 132 of them at 1.7 GHz).
// The figures in the docstrings of gemm.py are those of the literature for kernels of the same kind.
#include "tile.cuh"

#if !defined(STAGED) && !defined(TENSOR)            // one kernel at a time where there are template constants

// Every number of y by itself: 2 K loads for K multiply-adds. Threads of a warp have 32 neighbouring rows, so that a load
// of a touches 32 stretches of memory, of each of which 4 bytes are used, and so does the store.
extern "C" __global__ void naive(const real* a, const real* b, real* y, int M, int N, int K, long long a_row,
                                 long long a_term, long long b_term, long long b_column) {
  const long long number = blockIdx.x * (long long)blockDim.x + threadIdx.x, m = number % M, n = number / M;
  if (n >= N) return;
  real sum = 0;
  for (int k = 0; k < K; ++k) sum += a[m * a_row + k * a_term] * b[k * b_term + n * b_column];
  y[m * N + n] = sum;
}

// The same with threads of a warp in 32 neighbouring columns: a's number is the same for all of them, b's and y's are one
// stretch of 128 bytes. Where b has its terms side by side (linear_forward), b is what is read in 32 pieces.
extern "C" __global__ void coalesced(const real* a, const real* b, real* y, int M, int N, int K, long long a_row,
                                     long long a_term, long long b_term, long long b_column) {
  const long long number = blockIdx.x * (long long)blockDim.x + threadIdx.x, m = number / N, n = number % N;
  if (m >= M) return;
  real sum = 0;
  for (int k = 0; k < K; ++k) sum += a[m * a_row + k * a_term] * b[k * b_term + n * b_column];
  y[m * N + n] = sum;
}

// A block of 32 x 32 threads brings 32 x 32 numbers of each operand to shared memory, and every number is used by 32
// threads. Threads of a warp read neighbours in memory, whichever way the operand lies; lines of 33 keep them in 32
// different banks when they write them down a column.
constexpr int SIDE = 32;
extern "C" __global__ void shared(const real* a, const real* b, real* y, int M, int N, int K, long long a_row,
                                  long long a_term, long long b_term, long long b_column) {
  __shared__ real left[SIDE][SIDE + 1], right[SIDE][SIDE + 1];
  const int x = threadIdx.x % SIDE, line = threadIdx.x / SIDE;
  const Place first = place_of_block<SIDE, SIDE>(M, N);
  const bool a_along = a_term == 1, b_along = b_term == 1;
  real sum = 0;
  for (int begin = 0; begin < K; begin += SIDE) {
    const int row = a_along ? line : x, a_k = a_along ? x : line, column = b_along ? line : x, b_k = b_along ? x : line;
    const bool in_a = first.row + row < M && begin + a_k < K, in_b = first.column + column < N && begin + b_k < K;
    left[row][a_k] = in_a ? a[(first.row + row) * a_row + (begin + a_k) * a_term] : real(0);
    right[b_k][column] = in_b ? b[(begin + b_k) * b_term + (first.column + column) * b_column] : real(0);
    __syncthreads();                      // the tiles are there
#pragma unroll
    for (int k = 0; k < SIDE; ++k) sum += left[line][k] * right[k][x];
    __syncthreads();                      // and read, so that they may be overwritten
  }
  if (first.row + line < M && first.column + x < N) y[(first.row + line) * (long long)N + first.column + x] = sum;
}

// 256 threads for a tile of 128 x 128, of which each has 8 x 8, in registers: two loads from shared memory gave one product
// before, now 16 give 64. Its rows and columns are every 16th. Shared lines of 132: when 8 terms of 4 rows are written,
// bank 4 k + row differs for all 32.
constexpr int LARGE = 128, DEEP = 8, EACH = 8, APART = LARGE / EACH;
extern "C" __global__ void __launch_bounds__(256) registers(const real* a, const real* b, real* y, int M, int N, int K,
                                                            long long a_row, long long a_term, long long b_term,
                                                            long long b_column) {
  __shared__ real left[DEEP][LARGE + 4], right[DEEP][LARGE + 4];
  const int x = threadIdx.x % APART, line = threadIdx.x / APART;
  const Place first = place_of_block<LARGE, LARGE>(M, N);
  const bool a_along = a_term == 1, b_along = b_term == 1;
  real sums[EACH][EACH] = {};
  for (int begin = 0; begin < K; begin += DEEP) {
    for (int i = threadIdx.x; i < LARGE * DEEP; i += 256) {
      const int row = a_along ? i / DEEP : i % LARGE, k = a_along ? i % DEEP : i / LARGE;
      const bool inside = first.row + row < M && begin + k < K;
      left[k][row] = inside ? a[(first.row + row) * a_row + (begin + k) * a_term] : real(0);
    }
    for (int i = threadIdx.x; i < LARGE * DEEP; i += 256) {
      const int column = b_along ? i / DEEP : i % LARGE, k = b_along ? i % DEEP : i / LARGE;
      const bool inside = first.column + column < N && begin + k < K;
      right[k][column] = inside ? b[(begin + k) * b_term + (first.column + column) * b_column] : real(0);
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
  for (int i = 0; i < EACH; ++i)
#pragma unroll
    for (int j = 0; j < EACH; ++j) {
      const int m = first.row + line + APART * i, n = first.column + x + APART * j;
      if (m < M && n < N) y[m * (long long)N + n] = sums[i][j];
    }
}

// The slices of a product, added in order: the same result each time, which sums in the order of arrival would not give.
extern "C" __global__ void add_slices(const real* parts, real* y, long long size, int slices) {
  const long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x;
  if (i >= size) return;
  real sum = parts[i];
#pragma unroll 8                                               // or there is one load under way
  for (int slice = 1; slice < slices; ++slice) sum += parts[slice * size + i];
  y[i] = sum;
}

#endif

// A block's share of the product, by the pieces of tile.cuh. Blocks along x have the tiles of y; blocks along y have a slice
// of the terms each, `terms` of them, and write their sums to a result of their own, which add_slices adds up: with few
// tiles and many terms there would be nothing to do for most of the GPU.
template <class Tile, int STAGES>
__device__ __forceinline__ void product(const real* a, const real* b, real* y, int M, int N, int K, int terms) {
  using A = typename Tile::Left;
  using B = typename Tile::Right;
  SHARED(real, panels);
  const Place first = place_of_block<A::ROWS, B::ROWS>(M, N);
  const int begin = blockIdx.y * terms, count = min(terms, K - begin);
  const long long a_step = A::ALONG_K ? K : M, b_step = B::ALONG_K ? K : N;
  Matrix<A, Tile::THREADS> left = {a + (A::ALONG_K ? first.row * a_step + begin : begin * a_step + first.row), a_step,
                                   M - first.row, count, a_step % WIDE == 0};
  Matrix<B, Tile::THREADS> right = {b + (B::ALONG_K ? first.column * b_step + begin : begin * b_step + first.column), b_step,
                                    N - first.column, count, b_step % WIDE == 0};
  Tile tile;
  multiply_staged<STAGES>(tile, left, right, (count + A::DEPTH - 1) / A::DEPTH, panels);
  y += blockIdx.y * ((long long)M * N) + first.row * (long long)N + first.column;
  const bool wide = N % Tile::RUN == 0;
  tile.each([&](int row, int column, const auto& run) {
    if (row < M - first.row) put(y + row * (long long)N, column, N - first.column, run, wide);
  });
}

#ifdef STAGED
// STAGED: whether a and b have terms side by side, warps down and across, rows and columns of a thread, depth, stages.
template <int A_ALONG_K, int B_ALONG_K, int WARPS_M, int WARPS_N, int TM, int TN, int DEPTH, int STAGES_> struct Ordinary {
  using Tile = Simt<Panel<WARPS_M * 4 * TM, DEPTH, A_ALONG_K>, Panel<WARPS_N * 8 * TN, DEPTH, B_ALONG_K>, WARPS_M, WARPS_N,
                    TM, TN>;
  static constexpr int THREADS = Tile::THREADS, STAGES = STAGES_;
};
using Staged = Ordinary<STAGED>;
// One block on a multiprocessor is enough, says the 1: without it the assembler keeps numbers in memory to make room for two.
extern "C" __global__ void __launch_bounds__(Staged::THREADS, 1) staged(const real* a, const real* b, real* y, int M, int N,
                                                                         int K, int terms) {
  product<Staged::Tile, Staged::STAGES>(a, b, y, M, N, K, terms);
}
#endif

#ifdef TENSOR
// TENSOR: as STAGED, but with the products of a warp (16 rows, 8 columns each) for the rows and columns; last, 3 or 1
// products of TF32.
template <int A_ALONG_K, int B_ALONG_K, int WARPS_M, int WARPS_N, int MT, int NT, int DEPTH, int STAGES_, int PRODUCTS>
struct OnTensorCores {
  using Tile = Tensor<Panel<WARPS_M * 16 * MT, DEPTH, A_ALONG_K>, Panel<WARPS_N * 8 * NT, DEPTH, B_ALONG_K>, WARPS_M, WARPS_N,
                      MT, NT, PRODUCTS>;
  static constexpr int THREADS = Tile::THREADS, STAGES = STAGES_;
};
using Chosen = OnTensorCores<TENSOR>;
extern "C" __global__ void __launch_bounds__(Chosen::THREADS) tensor(const real* a, const real* b, real* y, int M, int N,
                                                                     int K, int terms) {
  product<Chosen::Tile, Chosen::STAGES>(a, b, y, M, N, K, terms);
}
#endif
