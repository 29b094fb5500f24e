// Max and average pooling of images (N, C, H, W), and their gradients.
//
//   max_forward, max_backward, avg_forward, avg_backward                   one thread for each number of the result
//   max_forward_window, max_backward_window, and so on                     the window known to the compiler
//
// Every number of a result is computed by one thread, which gathers what belongs to it. For the gradients that means to ask,
// for a pixel, which windows see it, instead of letting each window scatter to its pixels: then no two threads write to one
// place, nothing has to be added atomically, and the sums have one order.
#include "words.cuh"

// Lengths and steps along the vertical and the horizontal axis: image, output, kernel, stride, padding, dilation.
struct Window { int H, W, OH, OW, KH, KW, SH, SW, PH, PW, DH, DW; };

// What a window's sum is divided by: `given` if that is not 0; else the pixels it sees, or with `padded` those and the
// padding. What hangs over the padded image counts for neither.
struct Divisor { int padded, given; };

// ------------------------------------------------------------------------------------------------ one number of a result
//
// The constants are the window's kernel and stride, with dilation 1; 0 stands for "as the window says". Known constants make
// the loops straight lines: all pixels are asked for before the first one arrives.

template <int KH, int KW, int SH, int SW> __device__ __forceinline__ Window fixed(Window of) {
  if (KH) of.KH = KH, of.KW = KW, of.SH = SH, of.SW = SW, of.DH = 1, of.DW = 1;
  return of;
}

// The largest pixel of a window, and its place h * W + w. A tie goes to the first. NaN wins, the last one of several.
__device__ __forceinline__ void largest(const real* x, Window of, int oh, int ow, real& best, int& place) {
  best = -__uint_as_float(0x7f800000u);          // minus infinity: padding never wins
  place = -1;
#pragma unroll
  for (int i = 0; i < of.KH; ++i) {
    const int h = oh * of.SH - of.PH + i * of.DH;
#pragma unroll
    for (int j = 0; j < of.KW; ++j) {
      const int w = ow * of.SW - of.PW + j * of.DW;
      if (h < 0 || h >= of.H || w < 0 || w >= of.W) continue;
      const real value = x[h * of.W + w];
      if (place < 0 || value > best || value != value) best = value, place = h * of.W + w;
    }
  }
}

// The windows o that reach over a pixel along one axis: the first, and the last one.
__device__ __forceinline__ int first_over(int pixel, int kernel, int stride, int padding, int dilation) {
  const int past = pixel + padding - dilation * (kernel - 1);
  return past <= 0 ? 0 : (past + stride - 1) / stride;
}
__device__ __forceinline__ int last_over(int pixel, int stride, int padding, int outputs) {
  return min((pixel + padding) / stride, outputs - 1);
}

// The gradient to a pixel: from each window that it won.
__device__ __forceinline__ real won(const real* g, const int* index, Window of, int h, int w) {
  const int place = h * of.W + w, bottom = last_over(h, of.SH, of.PH, of.OH), right = last_over(w, of.SW, of.PW, of.OW);
  real sum = 0;
  for (int oh = first_over(h, of.KH, of.SH, of.PH, of.DH); oh <= bottom; ++oh)
    for (int ow = first_over(w, of.KW, of.SW, of.PW, of.DW); ow <= right; ++ow)
      if (index[oh * of.OW + ow] == place) sum += g[oh * of.OW + ow];
  return sum;
}

__device__ __forceinline__ int counted(int o, int size, int kernel, int stride, int padding, int padded) {
  const int start = o * stride - padding, stop = min(start + kernel, size + padding);
  return padded ? stop - start : min(stop, size) - max(start, 0);
}

__device__ __forceinline__ real divisor(Window of, Divisor by, int oh, int ow) {
  if (by.given) return real(by.given);
  return real(max(counted(oh, of.H, of.KH, of.SH, of.PH, by.padded) * counted(ow, of.W, of.KW, of.SW, of.PW, by.padded), 1));
}

__device__ __forceinline__ real mean(const real* x, Window of, Divisor by, int oh, int ow) {
  real sum = 0;
#pragma unroll
  for (int i = 0; i < of.KH; ++i) {
    const int h = oh * of.SH - of.PH + i;
#pragma unroll
    for (int j = 0; j < of.KW; ++j) {
      const int w = ow * of.SW - of.PW + j;
      if (h >= 0 && h < of.H && w >= 0 && w < of.W) sum += x[h * of.W + w];
    }
  }
  return sum / divisor(of, by, oh, ow);
}

// The gradient to a pixel: its share of each window that it is in.
__device__ __forceinline__ real shared_out(const real* g, Window of, Divisor by, int h, int w) {
  const int bottom = last_over(h, of.SH, of.PH, of.OH), right = last_over(w, of.SW, of.PW, of.OW);
  real sum = 0;
  for (int oh = first_over(h, of.KH, of.SH, of.PH, 1); oh <= bottom; ++oh)
    for (int ow = first_over(w, of.KW, of.SW, of.PW, 1); ow <= right; ++ow)
      sum += g[oh * of.OW + ow] / divisor(of, by, oh, ow);
  return sum;
}

// ------------------------------------------------------------------------------- one thread for each number of the result
//
// Which number that is, three divisions of 64-bit numbers tell, and a GPU has no instruction for those: each takes some
// hundred instructions, more than the pooling itself.

struct Spot { long long plane; int row, column; };

__device__ __forceinline__ Spot spot(long long i, int rows, int columns) {
  return {i / columns / rows, (int)(i / columns % rows), (int)(i % columns)};
}

#define NUMBER (blockIdx.x * (long long)blockDim.x + threadIdx.x)

extern "C" __global__ void max_forward(const real* x, real* y, int* index, Window of, long long size) {
  if (NUMBER >= size) return;
  const Spot at = spot(NUMBER, of.OH, of.OW);
  largest(x + at.plane * of.H * of.W, of, at.row, at.column, y[NUMBER], index[NUMBER]);
}

extern "C" __global__ void max_backward(const real* g, const int* index, real* dx, Window of, long long size) {
  if (NUMBER >= size) return;
  const Spot at = spot(NUMBER, of.H, of.W);
  const long long plane = at.plane * of.OH * of.OW;
  dx[NUMBER] = won(g + plane, index + plane, of, at.row, at.column);
}

extern "C" __global__ void avg_forward(const real* x, real* y, Window of, Divisor by, long long size) {
  if (NUMBER >= size) return;
  const Spot at = spot(NUMBER, of.OH, of.OW);
  y[NUMBER] = mean(x + at.plane * of.H * of.W, of, by, at.row, at.column);
}

extern "C" __global__ void avg_backward(const real* g, real* dx, Window of, Divisor by, long long size) {
  if (NUMBER >= size) return;
  const Spot at = spot(NUMBER, of.H, of.W);
  dx[NUMBER] = shared_out(g + at.plane * of.OH * of.OW, of, by, at.row, at.column);
}

// ----------------------------------------------------------------------------------------- the window known to the compiler
//
// The planes are taken `together`, so many that their numbers can be counted with 32 bits; the second axis of the grid counts
// such groups. Divisions of 32-bit numbers are some twenty instructions, those by constants are two.

// The number that a thread makes, of planes of rows x columns: false if there is none.
__device__ __forceinline__ bool find(int rows, int columns, int together, long long planes, Spot& at, long long& number) {
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x, size = rows * columns, plane = i / size, inside = i - plane * size;
  at = {blockIdx.y * (long long)together + plane, (int)(inside / columns), (int)(inside % columns)};
  number = at.plane * size + inside;
  return plane < together && at.plane < planes;
}

#ifdef MAX_FORWARD_WINDOW
extern "C" __global__ void max_forward_window(const real* x, real* y, int* index, Window of, int together, long long planes) {
  Spot at;
  long long i;
  of = fixed<MAX_FORWARD_WINDOW>(of);
  if (!find(of.OH, of.OW, together, planes, at, i)) return;
  real best;
  int place;
  largest(x + at.plane * of.H * of.W, of, at.row, at.column, best, place);
  y[i] = best;
  index[i] = place;
}
#endif

#ifdef MAX_BACKWARD_WINDOW
extern "C" __global__ void max_backward_window(const real* g, const int* index, real* dx, Window of, int together, long long planes) {
  Spot at;
  long long i;
  of = fixed<MAX_BACKWARD_WINDOW>(of);
  if (!find(of.H, of.W, together, planes, at, i)) return;
  const long long plane = at.plane * of.OH * of.OW;
  dx[i] = won(g + plane, index + plane, of, at.row, at.column);
}
#endif

#ifdef AVG_FORWARD_WINDOW
extern "C" __global__ void avg_forward_window(const real* x, real* y, Window of, Divisor by, int together, long long planes) {
  Spot at;
  long long i;
  of = fixed<AVG_FORWARD_WINDOW>(of);
  if (find(of.OH, of.OW, together, planes, at, i)) y[i] = mean(x + at.plane * of.H * of.W, of, by, at.row, at.column);
}
#endif

#ifdef AVG_BACKWARD_WINDOW
extern "C" __global__ void avg_backward_window(const real* g, real* dx, Window of, Divisor by, int together, long long planes) {
  Spot at;
  long long i;
  of = fixed<AVG_BACKWARD_WINDOW>(of);
  if (find(of.H, of.W, together, planes, at, i)) dx[i] = shared_out(g + at.plane * of.OH * of.OW, of, by, at.row, at.column);
}
#endif
