// A cascade of boosted trees at every window of an image, with the answers of the other rungs, bit for bit.
//
//   haar_first, lbp_first      the first stage, one thread for each window
//   skip_neighbours            the right neighbour of a window that failed it is not looked at: one thread for each row
//   haar_rest, lbp_rest        the other stages, for the windows that are left
//
// Neighbouring threads take neighbouring windows, so they read neighbouring sums. A thread whose window has failed is done;
// its warp goes on until the last of its 32 windows has. Windows that get far stand together, on a face.
#include "words.cuh"

#define FLAT -1
#define SKIPPED -2

// An answer depends on the last bit of a sum, so products and sums are rounded one by one. A compiler for GPUs would make one
// instruction of both, and one rounding.
#ifdef EMULATOR
__device__ __forceinline__ float times(float a, float b) { return a * b; }
__device__ __forceinline__ double times(double a, double b) { return a * b; }
__device__ __forceinline__ float plus(float a, float b) { return a + b; }
__device__ __forceinline__ double less(double a, double b) { return a - b; }
#else
__device__ __forceinline__ float times(float a, float b) { return __fmul_rn(a, b); }
__device__ __forceinline__ double times(double a, double b) { return __dmul_rn(a, b); }
__device__ __forceinline__ float plus(float a, float b) { return __fadd_rn(a, b); }
__device__ __forceinline__ double less(double a, double b) { return __dadd_rn(a, -b); }
#endif

// Windows of `height` x `width`, `step` apart, in tables whose rows are `pitch` long; the tilted sums begin at `second`.
struct Windows { int rows, columns, step, height, width, pitch, second, stages; };

// int32 wraps around, and differences come out right all the same; unsigned, since C++ leaves the signed ones open.
__device__ __forceinline__ int corners(const int* table, int a, int b, int c, int d) {
  return int(unsigned(table[a]) - unsigned(table[b]) - unsigned(table[c]) + unsigned(table[d]));
}

// ------------------------------------------------------------------------------------------------------ what a node asks

// Whether the weighted sum of a feature's rectangles, over the window's deviation, is below the node's threshold.
struct Haar {
  const int *sums, *rects;
  const real *weights, *thresholds;
  const unsigned char* tilted;
  int pitch, second;
  real norm;

  __device__ __forceinline__ bool left(int at, int node, int feature) const {
    real value = 0;
    for (int r = 0; r < 3; ++r) {
      const real weight = weights[3 * feature + r];
      if (weight == 0) continue;
      const int* of = rects + 12 * feature + 4 * r;
      const int x = of[0], y = of[1], w = of[2], h = of[3], first = at + y * pitch + x;
      const int inside = tilted[feature]
          ? corners(sums + second, first, first + h * pitch - h, first + w * pitch + w, first + (w + h) * pitch + w - h)
          : corners(sums, first, first + w, first + h * pitch, first + h * pitch + w);
      value = plus(value, times(weight, real(inside)));
    }
    return times(value, norm) < thresholds[node];
  }
};

// Whether the pattern of eight blocks, held against the one in their middle, is in the node's subset of 256.
struct Pattern {
  const int *sums, *rects, *subsets;
  int pitch;

  __device__ __forceinline__ bool left(int at, int node, int feature) const {
    const int* of = rects + 4 * feature;
    const int* from = sums + at + of[1] * pitch + of[0];
    const int w = of[2], h = of[3];
    auto block = [&](int i, int j) {
      const int first = i * h * pitch + j * w;
      return corners(from, first, first + w, first + h * pitch, first + h * pitch + w);
    };
    const int middle = block(1, 1);
    unsigned code = block(0, 0) >= middle;
    code = 2 * code + (block(0, 1) >= middle);
    code = 2 * code + (block(0, 2) >= middle);
    code = 2 * code + (block(1, 2) >= middle);
    code = 2 * code + (block(2, 2) >= middle);
    code = 2 * code + (block(2, 1) >= middle);
    code = 2 * code + (block(2, 0) >= middle);
    code = 2 * code + (block(1, 0) >= middle);
    return unsigned(subsets[8 * node + code / 32]) >> code % 32 & 1;
  }
};

// How many stages the window at `at` passes, of those from `stage` to before `end`, counted from the first of all.
template <class Ask> __device__ __forceinline__ int through(
    const Ask& ask, int at, int stage, int end, const int* nodes, const real* leaves, const int* roots, const int* stages,
    const real* limits) {
  for (; stage < end; ++stage) {
    double total = 0;
    for (int tree = stages[stage]; tree < stages[stage + 1]; ++tree) {
      int node = roots[tree];
      while (node >= 0) node = nodes[3 * node + (ask.left(at, node, nodes[3 * node + 2]) ? 0 : 1)];
      total += double(leaves[-1 - node]);
    }
    if (total < double(limits[stage])) break;
  }
  return stage;
}

// 1 / (area * deviation) of the window less its border; 0 for a window that is flat.
__device__ __forceinline__ real inverse_deviation(const int* sums, const int* squares, int at, const Windows& of) {
  const int a = at + of.pitch + 1, wide = of.width - 2, down = (of.height - 2) * of.pitch;
  const int area = (of.height - 2) * wide;
  const double total = corners(sums, a, a + wide, a + down, a + down + wide);
  const double of_squares = unsigned(corners(squares, a, a + wide, a + down, a + down + wide));
  const double spread = less(times(double(area), of_squares), times(total, total));
  if (!(spread > 0)) return 0;
  const real norm = real(1 / sqrt(spread));
  return double(times(real(area), norm)) < 0.1 ? norm : real(0);
}

// ----------------------------------------------------------------------------------------------------------- the kernels

#define COLUMN int(blockIdx.x * blockDim.x + threadIdx.x)

extern "C" __global__ void haar_first(
    const int* sums, const int* squares, const int* rects, const real* weights, const unsigned char* tilted,
    const real* thresholds, const int* nodes, const real* leaves, const int* roots, const int* stages, const real* limits,
    int* passed, Windows of) {
  if (COLUMN >= of.columns) return;
  const int at = of.step * (blockIdx.y * of.pitch + COLUMN);
  const Haar ask = {sums, rects, weights, thresholds, tilted, of.pitch, of.second, inverse_deviation(sums, squares, at, of)};
  passed[blockIdx.y * (long long)of.columns + COLUMN] =
      ask.norm == 0 ? FLAT : through(ask, at, 0, 1, nodes, leaves, roots, stages, limits);
}

extern "C" __global__ void haar_rest(
    const int* sums, const int* squares, const int* rects, const real* weights, const unsigned char* tilted,
    const real* thresholds, const int* nodes, const real* leaves, const int* roots, const int* stages, const real* limits,
    int* passed, Windows of) {
  if (COLUMN >= of.columns) return;
  int& mine = passed[blockIdx.y * (long long)of.columns + COLUMN];
  if (mine != 1) return;
  const int at = of.step * (blockIdx.y * of.pitch + COLUMN);
  const Haar ask = {sums, rects, weights, thresholds, tilted, of.pitch, of.second, inverse_deviation(sums, squares, at, of)};
  mine = through(ask, at, 1, of.stages, nodes, leaves, roots, stages, limits);
}

extern "C" __global__ void lbp_first(
    const int* sums, const int* rects, const int* subsets, const int* nodes, const real* leaves, const int* roots,
    const int* stages, const real* limits, int* passed, Windows of) {
  if (COLUMN >= of.columns) return;
  const Pattern ask = {sums, rects, subsets, of.pitch};
  passed[blockIdx.y * (long long)of.columns + COLUMN] =
      through(ask, of.step * (blockIdx.y * of.pitch + COLUMN), 0, 1, nodes, leaves, roots, stages, limits);
}

extern "C" __global__ void lbp_rest(
    const int* sums, const int* rects, const int* subsets, const int* nodes, const real* leaves, const int* roots,
    const int* stages, const real* limits, int* passed, Windows of) {
  if (COLUMN >= of.columns) return;
  int& mine = passed[blockIdx.y * (long long)of.columns + COLUMN];
  if (mine != 1) return;
  const Pattern ask = {sums, rects, subsets, of.pitch};
  mine = through(ask, of.step * (blockIdx.y * of.pitch + COLUMN), 1, of.stages, nodes, leaves, roots, stages, limits);
}

// Whether a window is skipped hangs on its left neighbour, and that on its own: a row is one thread's work, and a short one.
extern "C" __global__ void skip_neighbours(int* passed, int rows, int columns) {
  const int row = blockIdx.x * blockDim.x + threadIdx.x;
  if (row >= rows) return;
  passed += row * (long long)columns;
  for (int column = 1; column < columns; ++column)
    if (passed[column - 1] == 0) passed[column] = SKIPPED;
}
