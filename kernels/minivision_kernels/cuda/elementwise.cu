// The operations that treat each number by itself.
//
//   relu_forward    max(x, 0)
//   relu_backward   the upstream gradient where the output is positive
//   add             x + y, and through the rectifier too, if asked
//
// Nothing is computed that would keep a multiprocessor busy: the time is that of the memory, so the one thing to do well is
// to ask for much of it at a time. A thread handles four neighbouring numbers, one load of 16 bytes (two for double), and
// the threads of a warp lie side by side, so that a warp's load is one stretch of 512 bytes. The last thread takes what is
// left over, number by number. Offsets are 64 bits wide: an array may have more than 2^31 numbers.
#include "words.cuh"

__device__ __forceinline__ long long first_of_four() { return (blockIdx.x * (long long)blockDim.x + threadIdx.x) * 4; }

__device__ __forceinline__ real relu(real x) { return x <= 0 ? real(0) : x; }                     // NaN <= 0 is false: NaN stays

extern "C" __global__ void relu_forward(const real* x, real* y, long long size) {
  const long long at = first_of_four();
  if (at + 4 <= size) {
    const real4 v = load4(x + at);
    store4(y + at, {relu(v.x), relu(v.y), relu(v.z), relu(v.w)});
  } else {
    for (long long i = at; i < size; ++i) y[i] = relu(x[i]);
  }
}

__device__ __forceinline__ real passed(real g, real y) { return y > 0 ? g : real(0); }

extern "C" __global__ void relu_backward(const real* g, const real* y, real* dx, long long size) {
  const long long at = first_of_four();
  if (at + 4 <= size) {
    const real4 u = load4(g + at), v = load4(y + at);
    store4(dx + at, {passed(u.x, v.x), passed(u.y, v.y), passed(u.z, v.z), passed(u.w, v.w)});
  } else {
    for (long long i = at; i < size; ++i) dx[i] = passed(g[i], y[i]);
  }
}

__device__ __forceinline__ real added(real x, real y, int rectify) { return rectify ? relu(x + y) : x + y; }

extern "C" __global__ void add(const real* x, const real* y, real* sum, long long size, int rectify) {
  const long long at = first_of_four();
  if (at + 4 <= size) {
    const real4 u = load4(x + at), v = load4(y + at);
    store4(sum + at, {added(u.x, v.x, rectify), added(u.y, v.y, rectify), added(u.z, v.z, rectify), added(u.w, v.w, rectify)});
  } else {
    for (long long i = at; i < size; ++i) sum[i] = added(x[i], y[i], rectify);
  }
}
