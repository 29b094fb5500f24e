// Convolution and its gradients as products of matrices (conv.cu), at the speed of the hardware.
//
//   staged            warps arranged in the tile, copies that arrive several steps later, no division in the loop
//   tensor            the same with tensor cores: three products of TF32 parts, or one of rounded numbers
//   arrange_weights   the weights of each phase of a gradient as a matrix of its own
//
// What multiplies is tile.cuh, as for the matrix product. This file has what is a convolution's own: the loaders, which make
// the matrix of pixels up on the way to shared memory, and the way back to NCHW. A copy brings one number, since neighbours
// in the matrix need not lie at a multiple of 16 bytes in the image, nor beside each other; neighbouring threads fetch for
// neighbouring pixels, so that a warp's copies are a few stretches of memory. What a number costs is its address: one read of
// a table, two comparisons with the image's edges, two additions (CUTLASS calls this an "optimized" iterator, and one that
// divides an "analytic" one: documentation of implicit GEMM convolution).
#include "conv.cuh"
#include "tile.cuh"

#if !defined(STAGED) && !defined(TENSOR) && !defined(STAGED_WEIGHT) && !defined(TENSOR_WEIGHT)

// The weights as the kernels below want them: for each group and phase a matrix a[m][k], whose lines are `pitch` numbers
// long, a multiple of 16 bytes, with zeros behind the terms. Only a phase's own taps are in it.
extern "C" __global__ void arrange_weights(const real* w, real* a, Sum s, int pitch) {
  const Product p(s, blockIdx.z);
  const Weights weights = {w, s, p};
  a += ((long long)blockIdx.y * gridDim.z + blockIdx.z) * s.results * pitch;
  const long long number = blockIdx.x * (long long)blockDim.x + threadIdx.x;
  const int m = number / pitch, k = number % pitch;
  if (m < s.results) a[number] = k < p.K ? weights(m, k) : real(0);
}

#endif

// -------------------------------------------------------------------------------------- panels, by copies that arrive later

// What a tap of a channel adds to the place where a window begins.
struct __align__(16) Tap { int offset, row, column, unused; };

constexpr int NOWHERE = 1 << 29;                    // a row that is outside, whatever is added to it

// A loader (tile.cuh) of what the windows of a block's pixels see, pixels side by side. A thread has one pixel throughout, and
// the taps, which are the same for all pixels, are read from a table: STAGES x DEPTH of them in shared memory. The entries
// of a step are written one step before they are read, and the barrier of the loop is between the two.
template <class P, int THREADS, int STAGES> struct WindowLoader {
  static_assert(!P::ALONG_K && THREADS % P::ROWS == 0 && THREADS >= P::DEPTH, "a thread has one pixel, and one tap to write");
  const real* window;                               // its beginning, in the group's first channel
  int row, column, height, width;                   // of that, and of the image
  int pixels, terms, row_reach, column_reach;
  Tap* table;
  Counter counter;                                  // the tap that this thread writes next: channel, row, column

  __device__ __forceinline__ WindowLoader(const real* x, const Sum& s, const Product& p, int first, int begin, Tap* table_)
      : height(s.rows.in), width(s.columns.in), pixels(height * width), terms(s.terms), row_reach(p.rows.reach),
        column_reach(p.columns.reach), table(table_), counter(begin + (int)threadIdx.x, P::DEPTH, p.rows.taps, p.columns.taps) {
    const int n = first + (int)threadIdx.x % P::ROWS;
    row = p.rows.start + n % p.outputs / p.columns.outputs * p.rows.scale;
    column = p.columns.start + n % p.columns.outputs * p.columns.scale;
    window = x + ((long long)(n / p.outputs) * s.groups + blockIdx.y) * s.terms * pixels + (row * width + column);
    if (n >= p.N) row = -2 * NOWHERE;
    for (int step = 0; step < STAGES; ++step) write(step);
    __syncthreads();
  }

  __device__ __forceinline__ void write(int step) {
    if (threadIdx.x < P::DEPTH) {
      const int i = counter.b * row_reach, j = counter.c * column_reach;
      table[step % STAGES * P::DEPTH + threadIdx.x] = {counter.a * pixels + i * width + j, counter.a < terms ? i : NOWHERE, j, 0};
      counter.advance();
    }
  }

  __device__ __forceinline__ void load(real* panel, int step) {
    const Tap* taps = table + step % STAGES * P::DEPTH;
#pragma unroll
    for (int i = 0; i < P::DEPTH; i += THREADS / P::ROWS) {
      const int k = i + threadIdx.x / P::ROWS;
      const Tap tap = taps[k];
      const bool wanted = inside(row + tap.row, height) && inside(column + tap.column, width);
      copy_async<sizeof(real)>(panel + P::at(threadIdx.x % P::ROWS, k), window + tap.offset, wanted);
    }
    if (step >= STAGES - 1) write(step + 1);
  }
};

// The same with pixels as terms and the taps of a block's columns as rows: now the taps stay, in a table of ROWS of them, and
// a thread has another pixel at each step.
template <class P, int THREADS> struct TurnedLoader {
  static_assert(P::ALONG_K && THREADS % P::DEPTH == 0, "a thread has one pixel at each step");
  const real* x;                                    // the group's first channel of the first image
  long long image_step;
  int images, height, width, row_scale, column_scale, row_start, column_start;
  const Tap* table;
  Counter pixel;                                    // image, row, column

  __device__ __forceinline__ TurnedLoader(const real* x_, const Sum& s, const Product& p, int first, int begin, Tap* table_)
      : images(s.images), height(s.rows.in), width(s.columns.in), row_scale(s.rows.scale), column_scale(s.columns.scale),
        row_start(p.rows.start), column_start(p.columns.start), table(table_),
        pixel(begin + (int)threadIdx.x % P::DEPTH, P::DEPTH, p.rows.outputs, p.columns.outputs) {
    const int pixels = height * width;
    x = x_ + (long long)blockIdx.y * s.terms * pixels;
    image_step = (long long)s.groups * s.terms * pixels;
    for (int n = threadIdx.x; n < P::ROWS; n += THREADS) {
      const Counter tap(first + n, 0, p.rows.taps, p.columns.taps);
      const int i = tap.b * p.rows.reach, j = tap.c * p.columns.reach;
      table_[n] = {tap.a * pixels + i * width + j, first + n < p.K ? i : NOWHERE, j, 0};
    }
    __syncthreads();
  }

  __device__ __forceinline__ void load(real* panel, int) {
    const int row = row_start + pixel.b * row_scale, column = column_start + pixel.c * column_scale;
    const int there = pixel.a < images ? row : -2 * NOWHERE;
    const real* window = x + pixel.a * image_step + (row * width + column);
#pragma unroll
    for (int i = 0; i < P::ROWS; i += THREADS / P::DEPTH) {
      const int n = i + threadIdx.x / P::DEPTH;
      const Tap tap = table[n];
      const bool wanted = inside(there + tap.row, height) && inside(column + tap.column, width);
      copy_async<sizeof(real)>(panel + P::at(n, threadIdx.x % P::DEPTH), window + tap.offset, wanted);
    }
    pixel.advance();
  }
};

// A loader of g, pixels as terms; four of them at a time where an image has a multiple of four, since then no copy lies in two
// images or off the grid of 16 bytes.
template <class P, int THREADS> struct UpstreamLoader {
  static_assert(P::ALONG_K && THREADS % P::DEPTH == 0, "a thread has one pixel at each step");
  const real* g;                                    // of the block's first channel and the first image
  long long image_step;
  int images, outputs, rows;
  bool wide;
  Counter pixel;                                    // image, nothing, place in the image

  __device__ __forceinline__ UpstreamLoader(const real* g_, const Sum& s, const Product& p, int first, int begin)
      : images(s.images), outputs(p.outputs), rows(p.M - first), wide(outputs % WIDE == 0),
        pixel(begin + (wide ? (int)threadIdx.x % (P::DEPTH / WIDE) * WIDE : (int)threadIdx.x % P::DEPTH), P::DEPTH, 1, outputs) {
    g = g_ + ((long long)blockIdx.y * s.results + first) * outputs;
    image_step = (long long)s.groups * s.results * outputs;
  }

  __device__ __forceinline__ void load(real* panel, int) {
    if (wide) copy<WIDE>(panel);
    else copy<1>(panel);
    pixel.advance();
  }

 private:
  template <int EACH> __device__ __forceinline__ void copy(real* panel) const {
    constexpr int LINE = P::DEPTH / EACH;
    const real* from = g + pixel.a * image_step + pixel.c;
#pragma unroll
    for (int i = 0; i < P::ROWS; i += THREADS / LINE) {
      const int row = i + threadIdx.x / LINE;
      if (P::ROWS % (THREADS / LINE) == 0 || row < P::ROWS)
        copy_async<EACH * sizeof(real)>(panel + P::at(row, threadIdx.x % LINE * EACH), from + (long long)row * outputs,
                                        row < rows && pixel.a < images);
    }
  }
};

// ---------------------------------------------------------------------------------------------- panels into products

// A tile of a sum. a is what arrange_weights makes, or the weights themselves where they are like that: the matrices of
// groups and phases one behind the other. Late layers have few pixels and many terms: then each block sums a slice of them,
// `length`, a multiple of the depth. Blocks along z have the phases of the first slice, of the second, and so on; each slice
// has a result of its own, and add_slices (gemm.cu) adds them in order, so that the sum is the same every time.
template <class Tile, int STAGES>
__device__ __forceinline__ void sum_tile(const real* x, const real* a, real* y, const Sum& s, int pitch, int length) {
  using A = typename Tile::Left;
  using B = typename Tile::Right;
  SHARED(real, panels);
  __shared__ Tap table[STAGES * B::DEPTH];
  __shared__ long long places[B::ROWS];             // of the first result of each column
  const int phases = s.rows.share * s.columns.share, phase = blockIdx.z % phases, slice = blockIdx.z / phases;
  const Product p(s, phase);
  if (blockIdx.x >= (unsigned)((p.M + A::ROWS - 1) / A::ROWS * ((p.N + B::ROWS - 1) / B::ROWS))) return;       // a small phase
  const Place first = place_of_block<A::ROWS, B::ROWS>(p.M, p.N);
  const int begin = slice * length, count = min(length, p.K - begin);           // a small phase has none left for some slices
  a += (((long long)blockIdx.y * phases + phase) * p.M + first.row) * pitch + begin;
  Matrix<A, Tile::THREADS> left = {a, pitch, p.M - first.row, (pitch % WIDE == 0 ? pitch : p.K) - begin, pitch % WIDE == 0};
  for (int n = threadIdx.x; n < B::ROWS; n += Tile::THREADS) places[n] = p.place(s, first.column + n);
  WindowLoader<B, Tile::THREADS, STAGES> right(x, s, p, first.column, begin, table);
  Tile tile;
  multiply_staged<STAGES>(tile, left, right, (count + A::DEPTH - 1) / A::DEPTH, panels);
  const bool wide = s.rows.share == 1 && s.columns.share == 1 && p.outputs % Tile::RUN == 0;
  const int columns = p.N - first.column;
  const long long image = s.rows.out * s.columns.out;
  y += ((long long)slice * s.images * s.groups * s.results + first.row) * image;
  tile.each([&](int row, int column, const auto& run) {
    if (row >= p.M - first.row) return;
    real* channel = y + row * image;
    if (wide) {
      if (column < columns) put(channel + places[column], 0, Tile::RUN, run, true);
    } else {
#pragma unroll
      for (int q = 0; q < Tile::RUN; ++q)
        if (column + q < columns) channel[places[column + q]] = run[q];
    }
  });
}

// A tile of the gradient to the filters, and of the terms a slice, as above: with few filters and taps there are few tiles, and
// pixels by the hundred thousand.
template <class Tile, int STAGES>
__device__ __forceinline__ void weight_tile(const real* x, const real* g, real* dw, const Sum& s, int length) {
  using A = typename Tile::Left;
  using B = typename Tile::Right;
  SHARED(real, panels);
  __shared__ Tap table[B::ROWS];
  const Product p(s, 0);
  const Place first = place_of_block<A::ROWS, B::ROWS>(p.M, p.K);
  const int begin = blockIdx.z * length, count = min(length, p.N - begin);
  UpstreamLoader<A, Tile::THREADS> left(g, s, p, first.row, begin);
  TurnedLoader<B, Tile::THREADS> right(x, s, p, first.column, begin, table);
  Tile tile;
  multiply_staged<STAGES>(tile, left, right, (count + A::DEPTH - 1) / A::DEPTH, panels);
  dw += (((long long)blockIdx.z * s.groups + blockIdx.y) * p.M + first.row) * p.K + first.column;
  const bool wide = p.K % Tile::RUN == 0;
  tile.each([&](int row, int column, const auto& run) {
    if (row < p.M - first.row) put(dw + (long long)row * p.K, column, p.K - first.column, run, wide);
  });
}

// Template constants: warps down and across, rows and columns of a thread, or for tensor cores 16 rows and 8 columns of a
// warp, depth, stages; last, for tensor cores, 3 or 1 products of TF32. Along k lie both operands of the gradient to the
// filters, and of the sums a alone.
template <bool B_ALONG_K, int WARPS_M, int WARPS_N, int TM, int TN, int DEPTH, int STAGES_> struct Ordinary {
  using Tile = Simt<Panel<WARPS_M * 4 * TM, DEPTH, true>, Panel<WARPS_N * 8 * TN, DEPTH, B_ALONG_K>, WARPS_M, WARPS_N, TM, TN>;
  static constexpr int THREADS = Tile::THREADS, STAGES = STAGES_;
};

template <bool B_ALONG_K, int WARPS_M, int WARPS_N, int MT, int NT, int DEPTH, int STAGES_, int PRODUCTS> struct OnTensorCores {
  using Tile = Tensor<Panel<WARPS_M * 16 * MT, DEPTH, true>, Panel<WARPS_N * 8 * NT, DEPTH, B_ALONG_K>, WARPS_M, WARPS_N, MT, NT,
                      PRODUCTS>;
  static constexpr int THREADS = Tile::THREADS, STAGES = STAGES_;
};

#ifdef STAGED
using Chosen = Ordinary<false, STAGED>;
extern "C" __global__ void __launch_bounds__(Chosen::THREADS, 2) staged(const real* x, const real* a, real* y, Sum s, int pitch,
                                                                         int length) {
  sum_tile<Chosen::Tile, Chosen::STAGES>(x, a, y, s, pitch, length);
}
#endif

#ifdef STAGED_WEIGHT
using Chosen = Ordinary<true, STAGED_WEIGHT>;
extern "C" __global__ void __launch_bounds__(Chosen::THREADS, 2) staged_weight(const real* x, const real* g, real* dw, Sum s,
                                                                                int length) {
  weight_tile<Chosen::Tile, Chosen::STAGES>(x, g, dw, s, length);
}
#endif

#ifdef TENSOR
using Chosen = OnTensorCores<false, TENSOR>;
// Left alone, the assembler aims at four blocks of 128 threads on a multiprocessor, and keeps some numbers in memory for it.
constexpr int RESIDENT = Chosen::THREADS == 256 ? 1 : 3;
extern "C" __global__ void __launch_bounds__(Chosen::THREADS, RESIDENT) tensor(const real* x, const real* a, real* y, Sum s,
                                                                               int pitch, int length) {
  sum_tile<Chosen::Tile, Chosen::STAGES>(x, a, y, s, pitch, length);
}
#endif

#ifdef TENSOR_WEIGHT
using Chosen = OnTensorCores<true, TENSOR_WEIGHT>;
extern "C" __global__ void __launch_bounds__(Chosen::THREADS) tensor_weight(const real* x, const real* g, real* dw, Sum s,
                                                                             int length) {
  weight_tile<Chosen::Tile, Chosen::STAGES>(x, g, dw, s, length);
}
#endif
