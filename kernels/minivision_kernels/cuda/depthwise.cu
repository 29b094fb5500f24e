// Convolutions of single channels: as many groups as channels of x, each seen by filters of its own.
//
//   depthwise          a thread for each result; convolution, and the gradient to the image phase by phase
//   depthwise_rows     the same for windows that move on by one pixel: four results of a thread, one below the other
//   depthwise_weight   the gradient to the filters: a block for each filter and slice of the images
//
// As a matrix product this would have one row, and a tile of 128 rows would be empty but for one. There is little to compute:
// 9 multiply-adds for each pixel that is read and written, where a multiprocessor could do about 70 in the time that memory
// takes for the 8 bytes. What counts is that each pixel comes from memory once. Neighbouring threads see nearly the same
// pixels, which the first-level cache keeps meanwhile.
#include "conv.cuh"

#ifndef DEPTHWISE_ROWS

constexpr int NINE = 9;                             // taps whose sums a thread of depthwise_weight keeps at a time

// y[n, m, o] = sum over the group's k (one, or the filters of a channel) and taps t of w[m, k, t] x[n, k, place(o, t)];
// blockIdx.x counts blocks of a plane's pixels, blockIdx.z phases; blockIdx.y strides over the planes (n, m) of y.
extern "C" __global__ void depthwise(const real* x, const real* w, real* y, Sum s) {
  const Line rows = line(s.rows, blockIdx.z / s.columns.share), columns = line(s.columns, blockIdx.z % s.columns.share);
  const int number = blockIdx.x * blockDim.x + threadIdx.x;
  if (number >= rows.outputs * columns.outputs) return;
  const int row = number / columns.outputs, column = number % columns.outputs, channels = s.groups * s.results;
  const int top = rows.start + row * rows.scale, left = columns.start + column * columns.scale;
  const int pixels = s.rows.in * s.columns.in, taps = s.rows.taps * s.columns.taps;
  const int to = (rows.first + rows.share * row) * s.columns.out + columns.first + columns.share * column;
  for (long long plane = blockIdx.y; plane < (long long)s.images * channels; plane += gridDim.y) {
    const int m = plane % channels, group = m / s.results;
    const real* from = x + (plane / channels * s.groups + group) * s.terms * pixels;
    const real* weights = w + group * s.results * s.terms * taps + m % s.results * s.result_step;
    real sum = 0;
    for (int k = 0; k < s.terms; ++k, from += pixels, weights += s.term_step)
      for (int i = 0; i < rows.taps; ++i) {
        const int h = top + i * rows.reach;
        if (!inside(h, s.rows.in)) continue;
        const real* line_of_taps = weights + (rows.tap + rows.period * i) * s.columns.taps + columns.tap;
        for (int j = 0; j < columns.taps; ++j) {
          const int v = left + j * columns.reach;
          if (inside(v, s.columns.in)) sum += line_of_taps[columns.period * j] * from[h * s.columns.in + v];
        }
      }
    y[plane * (s.rows.out * s.columns.out) + to] = sum;
  }
}

// dw[m, t] = sum over the pixels o of all images of g[n, m, o] x[n, group, place(o, t)]; s is the forward's. blockIdx.x
// counts filters, blockIdx.y nines of taps, blockIdx.z slices of the images, `length` each. Every thread sums over pixels
// blockDim.x apart, for nine taps at a time, and the sums of a block's threads are added in a fixed order.
extern "C" __global__ void depthwise_weight(const real* x, const real* g, real* dw, Sum s, int length) {
  SHARED(real, partial);
  const int m = blockIdx.x, first = blockIdx.y * NINE, taps = s.rows.taps * s.columns.taps;
  const int pixels = s.rows.in * s.columns.in, outputs = s.rows.out * s.columns.out;
  const int begin = blockIdx.z * length, end = min(begin + length, s.images);
  real sums[NINE] = {};
  int down[NINE], right[NINE];
#pragma unroll
  for (int t = 0; t < NINE; ++t) {
    down[t] = first + t < taps ? (first + t) / s.columns.taps * s.rows.reach : 1 << 29;
    right[t] = (first + t) % s.columns.taps * s.columns.reach;
  }
  for (long long image = begin; image < end; ++image) {
    const real* from = x + (image * s.groups + m / s.results) * pixels;
    const real* upstream = g + (image * s.groups * s.results + m) * outputs;
    for (int o = threadIdx.x; o < outputs; o += blockDim.x) {
      const int top = o / s.columns.out * s.rows.scale + s.rows.offset, left = o % s.columns.out * s.columns.scale + s.columns.offset;
      const real value = upstream[o];
#pragma unroll
      for (int t = 0; t < NINE; ++t)
        if (inside(top + down[t], s.rows.in) && inside(left + right[t], s.columns.in))
          sums[t] += value * from[(top + down[t]) * s.columns.in + left + right[t]];
    }
  }
  dw += ((long long)blockIdx.z * s.groups * s.results + m) * taps;
#pragma unroll
  for (int t = 0; t < NINE; ++t) {
    const real sum = block_sum(sums[t], partial);
    if (threadIdx.x == 0 && first + t < taps) dw[first + t] = sum;
  }
}

#endif

#ifdef DEPTHWISE_ROWS
// For windows of K x K with share 1, scale 1 and neighbouring taps (reach 1 or -1): ROWS results one below the other see
// K + ROWS - 1 lines, each of which is read once and used for up to K of them; 18 loads for 4 results of 3 x 3 instead of 36.
template <int K, int ROWS>
__device__ __forceinline__ void rows_of_plane(const real* x, const real* w, real* y, const Sum& s) {
  const int across = s.columns.out, down = (s.rows.out + ROWS - 1) / ROWS;
  const int number = blockIdx.x * blockDim.x + threadIdx.x;
  if (number >= down * across) return;
  const int row = number / across * ROWS, column = number % across, channels = s.groups * s.results;
  const int pixels = s.rows.in * s.columns.in;
  const bool turned = s.rows.reach < 0;             // then the first tap sees the last line
  const int top = row + s.rows.offset - (turned ? K - 1 : 0), left = column + s.columns.offset - (turned ? K - 1 : 0);
  for (long long plane = blockIdx.y; plane < (long long)s.images * channels; plane += gridDim.y) {
    const int m = plane % channels, group = m / s.results;
    const real* from = x + (plane / channels * s.groups + group) * s.terms * pixels;
    const real* weights = w + group * s.results * s.terms * (K * K) + m % s.results * s.result_step;
    real sums[ROWS] = {};
    for (int k = 0; k < s.terms; ++k, from += pixels, weights += s.term_step) {
      real taps[K][K];
#pragma unroll
      for (int i = 0; i < K; ++i)
#pragma unroll
        for (int j = 0; j < K; ++j) taps[i][j] = weights[turned ? K * K - 1 - (i * K + j) : i * K + j];
#pragma unroll
      for (int i = 0; i < K + ROWS - 1; ++i)
#pragma unroll
        for (int j = 0; j < K; ++j) {
          const bool there = inside(top + i, s.rows.in) && inside(left + j, s.columns.in);
          const real pixel = there ? from[(top + i) * s.columns.in + left + j] : real(0);
#pragma unroll
          for (int r = 0; r < ROWS; ++r)
            if (i - r >= 0 && i - r < K) sums[r] += taps[i - r][j] * pixel;
        }
    }
    real* to = y + plane * (s.rows.out * across) + (row * across + column);
#pragma unroll
    for (int r = 0; r < ROWS; ++r)
      if (row + r < s.rows.out) to[r * across] = sums[r];
  }
}

extern "C" __global__ void depthwise_rows(const real* x, const real* w, real* y, Sum s) {
  rows_of_plane<DEPTHWISE_ROWS>(x, w, y, s);
}
#endif
