// What a convolution is, in the numbers that its kernels are given.
//
// Convolution and its gradient to the image are one kind of sum. Along each axis, an output o sees through tap t the number
// at
//     place = (o scale + t reach + offset) / share            where that is whole and inside; else there is nothing
//
//                        scale     reach       offset      share
//     forward            stride    dilation    -padding    1
//     gradient to x      1         -dilation   padding     stride         what is seen is g, and an output is a pixel of x
//
// and y[n, m, o] = sum over the channels k of the group and the taps t of w[m, k, t] x[n, k, place].
//
// Where share is not 1, most taps of an output meet nothing. Outputs `share` apart see through the same taps, every
// `period`-th one, and at neighbouring places: they form a *phase*, and a phase is a sum with share 1 (struct Line). So no
// kernel multiplies by the zeros that a stride leaves between the numbers of g, but for the naive one, which asks at each tap.
#pragma once
#include "words.cuh"

struct Axis { int in, out, taps, scale, reach, offset, share, period; };     // period: share / gcd(share, reach)

struct Sum {
  Axis rows, columns;
  int images, groups;
  int terms, results;                     // channels of one group that are summed, and that come out
  int term_step, result_step;             // from one to the next among the weights; a tap is next to a tap
};

// One phase along one axis: output `first + share o` sees through its tap t, which is tap + period t of the window, the
// place start + scale o + reach t.
struct Line { int outputs, first, share, taps, tap, period, start, scale, reach; };

__device__ __forceinline__ Line line(Axis a, int phase) {
  const int at = phase * a.scale + a.offset;
  int tap = 0;
  while (tap < a.period && (at + tap * a.reach) % a.share != 0) ++tap;
  const bool sees = tap < a.period && tap < a.taps;
  return {phase < a.out ? (a.out - phase + a.share - 1) / a.share : 0, phase, a.share,
          sees ? (a.taps - tap + a.period - 1) / a.period : 0, tap, a.period,
          sees ? (at + tap * a.reach) / a.share : 0, a.scale, a.period * a.reach / a.share};
}

__device__ __forceinline__ bool inside(int place, int size) { return (unsigned)place < (unsigned)size; }

// What a thread of a naive kernel asks at every tap: the place, or -1.
__device__ __forceinline__ int seen(const Sum& s, int row, int column, int i, int j) {
  const int h = row * s.rows.scale + i * s.rows.reach + s.rows.offset;
  const int v = column * s.columns.scale + j * s.columns.reach + s.columns.offset;
  const bool there = h % s.rows.share == 0 && v % s.columns.share == 0 && inside(h / s.rows.share, s.rows.in) &&
                     inside(v / s.columns.share, s.columns.in);
  return there ? h / s.rows.share * s.columns.in + v / s.columns.share : -1;
}

// A number in three digits, of which the last two run to b_size and c_size, and what is added to it each time: the (channel,
// row, column) of a tap or the (image, row, column) of a pixel, without a division at every step.
struct Counter {
  int a, b, c, b_size, c_size, a_step, b_step, c_step;

  __device__ __forceinline__ Counter(int number, int step, int b_size_, int c_size_)
      : b_size(max(b_size_, 1)), c_size(max(c_size_, 1)) {
    a = number / c_size / b_size, b = number / c_size % b_size, c = number % c_size;
    a_step = step / c_size / b_size, b_step = step / c_size % b_size, c_step = step % c_size;
  }

  __device__ __forceinline__ void advance() {
    a += a_step; b += b_step; c += c_step;
    if (c >= c_size) { c -= c_size; ++b; }
    if (b >= b_size) { b -= b_size; ++a; }
  }
};

// One phase of a sum as a matrix product.
struct Product {
  Line rows, columns;
  int outputs, M, N, K;

  __device__ __forceinline__ Product(const Sum& s, int phase)
      : rows(line(s.rows, phase / s.columns.share)), columns(line(s.columns, phase % s.columns.share)) {
    outputs = rows.outputs * columns.outputs;
    M = s.results, N = s.images * outputs, K = s.terms * rows.taps * columns.taps;
  }

  // Where the group's first result of pixel n lies in y; the next one is s.rows.out * s.columns.out further on.
  __device__ __forceinline__ long long place(const Sum& s, int n) const {
    const int row = n % outputs / columns.outputs, column = n % columns.outputs;
    return ((long long)(n / outputs) * s.groups + blockIdx.y) * s.results * (s.rows.out * s.columns.out) +
           (rows.first + rows.share * row) * s.columns.out + columns.first + columns.share * column;
  }
};

// Weight k of result m, by division: k counts (channel, row, column) of the phase's taps.
struct Weights {
  const real* w;
  const Sum& s;
  const Product& p;
  __device__ __forceinline__ real operator()(int m, int k) const {
    const int taps = p.rows.taps * p.columns.taps, i = k % taps / p.columns.taps, j = k % p.columns.taps;
    const int tap = (p.rows.tap + p.rows.period * i) * s.columns.taps + p.columns.tap + p.columns.period * j;
    return w[((long long)blockIdx.y * s.results * s.terms * s.rows.taps * s.columns.taps) + (long long)m * s.result_step +
             (long long)(k / taps) * s.term_step + tap];
  }
};
