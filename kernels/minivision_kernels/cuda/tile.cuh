// The inner part of a matrix product y = a b: what a block of threads does with the operands once they are in shared
// memory, and how they get there in time. The matrix product and the convolutions have it in common; what differs is where
// their operands come from.
//
//   Panel            a piece of an operand in shared memory, and the strides that keep its readers out of each other's way
//   Simt, Tensor     the sums that a block keeps in registers, and one step of multiplying two panels into them: by the
//                    ordinary units, or by tensor cores
//   multiply_staged  the loop over the inner dimension: panels are fetched several steps ahead
//   place_of_block   which tile of the result is a block's
//   Matrix           a loader: brings panels from an operand that is a plain matrix
//   put              stores neighbouring numbers of a row of the result
//
// A kernel of its own needs loaders and what becomes of the sums:
//
//   using A = Panel<128, 16, true>;                 // 128 rows of a, 16 terms deep, terms side by side in memory
//   using B = Panel<128, 16, false>;                // 128 columns of b, columns side by side
//   using Tile = Simt<A, B, 4, 2, 8, 8>;            // 4 x 2 warps, 8 x 8 sums for each thread
//   Tile tile;
//   multiply_staged<4>(tile, a_loader, b_loader, steps, shared);          // shared: 4 * (A::SIZE + B::SIZE) reals
//   tile.each([&](int row, int column, const auto& run) { ... });         // RUN sums, from `column` on
//
// A loader is anything with a function load(real* panel, int step): all threads of the block call it together, and it starts
// copies (copy_async) of the terms step * DEPTH ... of its operand to panel[P::at(row, k)], zeros for what lies outside. The
// loop waits for the copies.
#pragma once
#include "words.cuh"

// ------------------------------------------------------------------------------------------------------------- panels

// ROWS x DEPTH numbers of an operand: rows of a or columns of b (both are called rows here), and DEPTH terms of the inner
// dimension. They lie as copies bring them in: ALONG_K, the terms of a row side by side, or else the rows of a term.
//
// Shared memory has 32 banks of 4 bytes, and a warp's load takes as many turns as there are different words asked of one
// bank. The strides are padded so that it is one turn for every load below; with group = lane / 4 and t = lane % 4:
//   ALONG_K, one float at (row group, term t)    stride DEPTH + 4: bank 12, 20 or 4 (36 mod 32) times group + t for a DEPTH of
//                                                8, 16, 32; the multiples are 0, 4, ... 28 in some order, so all 32 differ
//   ALONG_K, four floats of 8 rows               in units of 16 bytes the stride is odd (3, 5, 9): 8 rows, 8 units of 8
//   else, one float at (row group, term t)       stride ROWS + 8 with ROWS a multiple of 32: bank 8 t + group, all differ
//   else, four floats of 4 lane                  neighbouring lanes, neighbouring units
template <int ROWS_, int DEPTH_, bool ALONG_K_> struct Panel {
  static constexpr int ROWS = ROWS_, DEPTH = DEPTH_;
  static constexpr bool ALONG_K = ALONG_K_;
  static constexpr int STRIDE = ALONG_K ? DEPTH + 16 / (int)sizeof(real) : ROWS + 8;
  static constexpr int SIZE = (ALONG_K ? ROWS : DEPTH) * STRIDE;         // in numbers
  static_assert(ROWS % 32 == 0 && DEPTH % 8 == 0, "a panel has a multiple of 32 rows and of 8 terms");

  static __device__ __forceinline__ constexpr int at(int row, int k) { return ALONG_K ? row * STRIDE + k : k * STRIDE + row; }
};

// ------------------------------------------------------------------------------------------------ by ordinary units

// TM x TN sums for each thread. The 32 lanes of a warp stand 4 x 8, so a warp has 4 TM x 8 TN sums and the block
// WARPS_M x WARPS_N times as many. Four terms at a time are loaded, 16 bytes each load, and TM TN products made of each:
// at 8 x 8, 16 loads for 256 products.
template <class A, class B, int WARPS_M, int WARPS_N, int TM, int TN> struct Simt {
  using Left = A;
  using Right = B;
  static constexpr int THREADS = 32 * WARPS_M * WARPS_N;
  static constexpr int RUN = B::ALONG_K ? 1 : 4;                         // sums side by side in a row of the result
  static_assert(A::ROWS == WARPS_M * 4 * TM && B::ROWS == WARPS_N * 8 * TN && A::DEPTH == B::DEPTH, "warps cover the panels");
  static_assert(TM % 4 == 0 && TN % 4 == 0, "rows are loaded by fours");

  real sums[TM][TN];

  __device__ __forceinline__ Simt() {
#pragma unroll
    for (int i = 0; i < TM; ++i)
#pragma unroll
      for (int j = 0; j < TN; ++j) sums[i][j] = 0;
  }

  __device__ __forceinline__ void multiply(const real* a, const real* b) {
    a += A::at(warp_row(), 0);
    b += B::at(warp_column(), 0);
#pragma unroll
    for (int k = 0; k < A::DEPTH; k += 4) {
      real left[TM][4];
      load<A, 4>(left, a, 0, threadIdx.x % 32 / 8, k);
#pragma unroll
      for (int four = 0; four < TN; four += 4) {            // all of them at once would take too many registers
        real right[4][4];
        load<B, 8>(right, b, four, threadIdx.x % 8, k);
#pragma unroll
        for (int q = 0; q < 4; ++q)
#pragma unroll
          for (int i = 0; i < TM; ++i)
#pragma unroll
            for (int j = 0; j < 4; ++j) sums[i][four + j] += left[i][q] * right[j][q];
      }
    }
  }

  // store(row, column, run) for every run of RUN sums of this thread; rows and columns within the block's tile.
  template <class Store> __device__ __forceinline__ void each(Store store) const {
#pragma unroll
    for (int i = 0; i < TM; ++i)
#pragma unroll
      for (int j = 0; j < TN; j += RUN) {
        real run[RUN];
#pragma unroll
        for (int q = 0; q < RUN; ++q) run[q] = sums[i][j + q];
        store(warp_row() + nth<A, 4>(threadIdx.x % 32 / 8, i), warp_column() + nth<B, 8>(threadIdx.x % 8, j), run);
      }
  }

 private:
  static __device__ __forceinline__ int warp_row() { return threadIdx.x / 32 / WARPS_N * (4 * TM); }
  static __device__ __forceinline__ int warp_column() { return threadIdx.x / 32 % WARPS_N * (8 * TN); }

  // Row number i of those that one of LANES lanes has: every LANES-th, or fours of neighbours.
  template <class P, int LANES> static __device__ __forceinline__ int nth(int lane, int i) {
    return P::ALONG_K ? lane + LANES * i : i / 4 * (4 * LANES) + 4 * lane + i % 4;
  }

  // Terms k ... k + 3 of COUNT rows of a lane, from its row number `first` on.
  template <class P, int LANES, int COUNT>
  static __device__ __forceinline__ void load(real (&to)[COUNT][4], const real* panel, int first, int lane, int k) {
    if (P::ALONG_K) {
#pragma unroll
      for (int i = 0; i < COUNT; ++i) {
        const real4 v = load4(panel + P::at(nth<P, LANES>(lane, first + i), k));
        to[i][0] = v.x; to[i][1] = v.y; to[i][2] = v.z; to[i][3] = v.w;
      }
    } else {
#pragma unroll
      for (int q = 0; q < 4; ++q)
#pragma unroll
        for (int i = 0; i < COUNT; i += 4) {
          const real4 v = load4(panel + P::at(nth<P, LANES>(lane, first + i), k + q));
          to[i][q] = v.x; to[i + 1][q] = v.y; to[i + 2][q] = v.z; to[i + 3][q] = v.w;
        }
    }
  }
};

// -------------------------------------------------------------------------------------------------- by tensor cores

// MT x NT products of 16 x 8 for each warp, hence a tile of 16 MT WARPS_M x 8 NT WARPS_N; float32 only, from sm_80 on.
//
// PRODUCTS 1: operands cut to TF32 (round_tf32), good to 10 bits. PRODUCTS 3: each operand is split in a large and a small part
// (split_tf32), and small times large, large times small, large times large are added in this order, the small ones first.
// The tensor core cuts off where a float addition rounds, an error that always points the same way and grows with the
// number of terms. So with 3 products, each 8 terms start from zero, and their sum is added to the others by an ordinary
// addition, which rounds (Ootomo and Yokota 2022, "Recovering single precision accuracy from Tensor Cores while surpassing
// the FP32 theoretical peak performance", section 4).
template <class A, class B, int WARPS_M, int WARPS_N, int MT, int NT, int PRODUCTS> struct Tensor {
  using Left = A;
  using Right = B;
  static constexpr int THREADS = 32 * WARPS_M * WARPS_N;
  static constexpr int RUN = 2;                                          // sums side by side in a row of the result
  static_assert(A::ROWS == WARPS_M * 16 * MT && B::ROWS == WARPS_N * 8 * NT && A::DEPTH == B::DEPTH, "warps cover the panels");
  static_assert(NT % 2 == 0, "columns are loaded by sixteens");
  static_assert(PRODUCTS == 1 || PRODUCTS == 3, "one product of rounded numbers, or three of split ones");

  float sums[MT][NT][4];

  __device__ __forceinline__ Tensor() {
#pragma unroll
    for (int i = 0; i < MT; ++i)
#pragma unroll
      for (int j = 0; j < NT; ++j)
#pragma unroll
        for (int q = 0; q < 4; ++q) sums[i][j][q] = 0;
  }

  __device__ __forceinline__ void multiply(const float* a, const float* b) {
    a += A::at(warp_row(), 0);
    b += B::at(warp_column(), 0);
#pragma unroll
    for (int k = 0; k < A::DEPTH; k += 8) {
      unsigned right[NT][2], right_small[NT][2];
#pragma unroll
      for (int j = 0; j < NT; j += 2) {
        float four[4];                                                   // of two products: columns 8 j ... 8 j + 15
        load_fragment<B, true>(four, b, 8 * j, k);
#pragma unroll
        for (int q = 0; q < 4; ++q) split(four[q], right[j + q / 2][q % 2], right_small[j + q / 2][q % 2]);
      }
#pragma unroll
      for (int i = 0; i < MT; ++i) {
        float four[4];
        unsigned left[4], left_small[4];
        load_fragment<A, false>(four, a, 16 * i, k);
#pragma unroll
        for (int q = 0; q < 4; ++q) split(four[q], left[q], left_small[q]);
        if (PRODUCTS == 1) {
#pragma unroll
          for (int j = 0; j < NT; ++j) multiply_tf32(sums[i][j], left, right[j]);
        } else {                                                         // neighbours do not wait for each other
          float parts[NT][4] = {};
#pragma unroll
          for (int j = 0; j < NT; ++j) multiply_tf32(parts[j], left_small, right[j]);
#pragma unroll
          for (int j = 0; j < NT; ++j) multiply_tf32(parts[j], left, right_small[j]);
#pragma unroll
          for (int j = 0; j < NT; ++j) multiply_tf32(parts[j], left, right[j]);
#pragma unroll
          for (int j = 0; j < NT; ++j)
#pragma unroll
            for (int q = 0; q < 4; ++q) sums[i][j][q] += parts[j][q];
        }
      }
    }
  }

  // store(row, column, run) for every run of RUN sums of this thread; rows and columns within the block's tile.
  template <class Store> __device__ __forceinline__ void each(Store store) const {
    const int group = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
#pragma unroll
    for (int i = 0; i < MT; ++i)
#pragma unroll
      for (int half = 0; half < 2; ++half)
#pragma unroll
        for (int j = 0; j < NT; ++j) {
          const float run[RUN] = {sums[i][j][2 * half], sums[i][j][2 * half + 1]};
          store(warp_row() + 16 * i + 8 * half + group, warp_column() + 8 * j + 2 * t, run);
        }
  }

 private:
  static __device__ __forceinline__ int warp_row() { return threadIdx.x / 32 / WARPS_N * (16 * MT); }
  static __device__ __forceinline__ int warp_column() { return threadIdx.x / 32 % WARPS_N * (8 * NT); }

  static __device__ __forceinline__ void split(float x, unsigned& large, unsigned& small) {
    if (PRODUCTS == 3) split_tf32(x, large, small);
    else large = round_tf32(x);
  }

  // 16 rows from `row` on and 8 terms from k on: the lane's numbers at (group, t) of the four quarters of 8 rows x 4 terms.
  // Their order is that of multiply_tf32's operands: for a the rows change first, for b (two operands) the terms.
  template <class P, bool TERMS_FIRST>
  static __device__ __forceinline__ void load_fragment(float (&to)[4], const float* panel, int row, int k) {
    if (P::ALONG_K) {                                                    // one instruction, by the address of each row
      const int lane = threadIdx.x % 32, first = lane / 8 % 2, second = lane / 16;
      load_quarters(to, panel + P::at(row + lane % 8 + 8 * (TERMS_FIRST ? second : first), k + 4 * (TERMS_FIRST ? first : second)));
    } else {
      const int group = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
#pragma unroll
      for (int q = 0; q < 4; ++q)
        to[q] = panel[P::at(row + group + 8 * (TERMS_FIRST ? q / 2 : q % 2), k + t + 4 * (TERMS_FIRST ? q % 2 : q / 2))];
    }
  }
};

// ---------------------------------------------------------------------------------------------------------- the loop

// Multiplies `steps` pairs of panels into the tile. Memory answers after many hundreds of cycles, a step takes fewer: so
// the copies for STAGES - 1 steps are always under way, each to a place of its own in `shared`, and one barrier a step
// does for both needs: that everybody's copies have arrived, and that nobody reads the place that is filled next.
// (cp.async; NVIDIA CUTLASS calls it a multistage pipeline.) After it, `shared` is still being read by slower threads.
template <int STAGES, class Tile, class LoadA, class LoadB>
__device__ __forceinline__ void multiply_staged(Tile& tile, LoadA& a, LoadB& b, int steps, real* shared) {
  static_assert(STAGES >= 2, "one place to fill and one to read");
  constexpr int SIZE = Tile::Left::SIZE + Tile::Right::SIZE;
  auto start = [&](int step) {
    if (step < steps) {
      real* place = shared + step % STAGES * SIZE;
      a.load(place, step);
      b.load(place + Tile::Left::SIZE, step);
    }
    close_copies();                      // also an empty group counts: the newest STAGES - 2 are the ones to leave
  };
#pragma unroll
  for (int step = 0; step < STAGES - 1; ++step) start(step);
  for (int step = 0; step < steps; ++step) {
    wait_copies<STAGES - 2>();
    __syncthreads();
    start(step + STAGES - 1);
    const real* place = shared + step % STAGES * SIZE;
    tile.multiply(place, place + Tile::Left::SIZE);
  }
}

// -------------------------------------------------------------------------------------------- plain matrices, in and out

// The first row and column of a block's tile, blocks along x numbering the tiles of an M x N result.
struct Place { int row, column; };

// Blocks with neighbouring numbers run at the same time. Row by row they would share a few rows of a and all of b, which no
// cache holds; in groups of 8 tiles, one below the other, 64 of them share 8 stretches of a and 8 of b.
template <int ROWS, int COLUMNS> __device__ __forceinline__ Place place_of_block(int M, int N) {
  constexpr int GROUP = 8;
  const int down = (M + ROWS - 1) / ROWS, across = (N + COLUMNS - 1) / COLUMNS;
  const int group = (int)blockIdx.x / (GROUP * across), rest = (int)blockIdx.x % (GROUP * across);
  const int height = min(GROUP, down - group * GROUP);
  return {(group * GROUP + rest % height) * ROWS, rest / height * COLUMNS};
}

constexpr int WIDE = 16 / (int)sizeof(real);        // numbers in the widest copy, 16 bytes

// A loader for a matrix in memory. Its corner is the first row of the block and the first term; `step` numbers lie between
// rows (ALONG_K) or between terms. Beyond `rows` and `terms`, zeros. Copies of 16 bytes need a corner that is aligned to
// 16 bytes and a step that is a multiple of WIDE (then a copy is wholly inside or wholly outside); else each number is a
// copy of its own.
template <class P, int THREADS> struct Matrix {
  const real* corner;
  long long step;
  int rows, terms;
  bool wide;

  __device__ __forceinline__ void load(real* panel, int at) const {
    if (wide) copy<WIDE>(panel, at * P::DEPTH);
    else copy<1>(panel, at * P::DEPTH);
  }

 private:
  template <int EACH> __device__ __forceinline__ void copy(real* panel, int begin) const {
    constexpr int LINE = (P::ALONG_K ? P::DEPTH : P::ROWS) / EACH, COPIES = P::ROWS * P::DEPTH / EACH;
#pragma unroll (EACH == 1 ? 1 : COPIES)                      // many small copies at once would take too many registers
    for (int i = 0; i < COPIES; i += THREADS) {
      const int number = i + threadIdx.x, line = number / LINE, place = number % LINE * EACH;
      const int row = P::ALONG_K ? line : place, k = P::ALONG_K ? place : line;
      const bool inside = row < rows && begin + k < terms;
      const real* from = P::ALONG_K ? corner + row * step + (begin + k) : corner + (begin + k) * step + row;
      if (COPIES % THREADS == 0 || number < COPIES)
        copy_async<EACH * sizeof(real)>(panel + P::at(row, k), inside ? from : corner, inside);
    }
  }
};

// Stores a run of a row from `column` on, as far as the row's `columns` go. In one piece if `wide`: then every row has a
// multiple of RUN columns and starts at an address that is one of its size, up to 16 bytes.
template <int RUN> __device__ __forceinline__ void put(real* row, int column, int columns, const real (&run)[RUN], bool wide) {
  if (wide && RUN > 1) {
    struct __align__(RUN * sizeof(real) < 16 ? RUN * sizeof(real) : 16) Run { real numbers[RUN]; };
    if (column < columns) *reinterpret_cast<Run*>(row + column) = *reinterpret_cast<const Run*>(run);
  } else {
#pragma unroll
    for (int q = 0; q < RUN; ++q)
      if (column + q < columns) row[column + q] = run[q];
  }
}
