// One step of an optimiser, in place.
//
//   sgd_update, sgd_several       stochastic gradient descent with momentum, of one parameter and of several
//   adam_update, adam_several     Adam, likewise
//
// The formula, written with arrays, is a kernel for each of its signs, and each goes through memory. Here every array is read
// once and written once, four numbers at a time. Parameters may be views of others, so that they start anywhere:
// see my_four.
#include "words.cuh"

// Layers of small networks have few parameters: to launch a kernel takes longer than what it does to one. So several are
// handed over at a time. Parameter i has the blocks from begin[i] on, and `size` numbers; those that are missing have none.
// (__grid_constant__: read where the launch has put it. Else each thread makes a copy, 640 bytes, to have an index into it.)
constexpr int TOGETHER = 16;
struct Arrays { real* at[TOGETHER]; };
struct Parts { int begin[TOGETHER], size[TOGETHER]; };

__device__ __forceinline__ int parameter_of_block(const Parts& parts) {
  int i = 0;
  while (i + 1 < TOGETHER && parts.begin[i + 1] <= (int)blockIdx.x) ++i;
  return i;
}

__device__ __forceinline__ int starts_at_16_bytes(const void* a) { return (unsigned long long)a % 16 == 0; }

// The numbers that are the same for the whole array; `first`: the velocity is only now begun.
struct Sgd {
  real lr, momentum, dampening, weight_decay;
  int nesterov, first;

  __device__ __forceinline__ void step(real* param, const real* grad, real* velocity, const Places& p) const {
    if (p.count == 0) return;
    real w[4], d[4], v[4] = {0, 0, 0, 0};
    load(param, p, w);
    load(grad, p, d);
    if (velocity && !first) load(velocity, p, v);
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      if (weight_decay != 0) d[j] += weight_decay * w[j];
      if (velocity) {
        v[j] = first ? d[j] : momentum * v[j] + (1 - dampening) * d[j];
        d[j] = nesterov ? d[j] + momentum * v[j] : v[j];
      }
      w[j] -= lr * d[j];
    }
    store(param, p, w);
    if (velocity) store(velocity, p, v);
  }
};

extern "C" __global__ void sgd_update(
    real* param, const real* grad, real* velocity, real lr, real momentum, real dampening, real weight_decay, int nesterov,
    int first, long long size, int aligned) {
  const Sgd rule = {lr, momentum, dampening, weight_decay, nesterov, first};
  rule.step(param, grad, velocity, my_four(size, aligned));
}

extern "C" __global__ void sgd_several(
    const __grid_constant__ Arrays param, const __grid_constant__ Arrays grad, const __grid_constant__ Arrays velocity,
    const __grid_constant__ Parts parts, real lr, real momentum, real dampening, real weight_decay, int nesterov, int first) {
  const Sgd rule = {lr, momentum, dampening, weight_decay, nesterov, first};
  const int i = parameter_of_block(parts);
  real *const w = param.at[i], *const g = grad.at[i], *const v = velocity.at[i];
  const int aligned = starts_at_16_bytes(w) && starts_at_16_bytes(g) && starts_at_16_bytes(v);
  rule.step(w, g, v, my_four(parts.size[i], aligned, blockIdx.x - parts.begin[i]));
}

// `pace` is lr / (1 - beta1^step), `widen` 1 / sqrt(1 - beta2^step): what corrects the first steps' bias towards 0.
struct Adam {
  real pace, beta1, rest1, beta2, rest2, widen, eps, weight_decay;

  __device__ __forceinline__ void step(real* param, const real* grad, real* m, real* v, const Places& p) const {
    if (p.count == 0) return;
    real w[4], g[4], mean[4], square[4];
    load(param, p, w);
    load(grad, p, g);
    load(m, p, mean);
    load(v, p, square);
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      if (weight_decay != 0) g[j] += weight_decay * w[j];
      mean[j] = beta1 * mean[j] + rest1 * g[j];
      square[j] = beta2 * square[j] + rest2 * (g[j] * g[j]);
      w[j] -= pace * mean[j] / (sqrt(square[j]) * widen + eps);
    }
    store(param, p, w);
    store(m, p, mean);
    store(v, p, square);
  }
};

extern "C" __global__ void adam_update(
    real* param, const real* grad, real* m, real* v, real pace, real beta1, real rest1, real beta2, real rest2, real widen,
    real eps, real weight_decay, long long size, int aligned) {
  const Adam rule = {pace, beta1, rest1, beta2, rest2, widen, eps, weight_decay};
  rule.step(param, grad, m, v, my_four(size, aligned));
}

extern "C" __global__ void adam_several(
    const __grid_constant__ Arrays param, const __grid_constant__ Arrays grad, const __grid_constant__ Arrays m,
    const __grid_constant__ Arrays v, const __grid_constant__ Parts parts, real pace, real beta1, real rest1, real beta2,
    real rest2, real widen, real eps, real weight_decay) {
  const Adam rule = {pace, beta1, rest1, beta2, rest2, widen, eps, weight_decay};
  const int i = parameter_of_block(parts);
  real *const w = param.at[i], *const g = grad.at[i], *const mean = m.at[i], *const square = v.at[i];
  const int aligned = starts_at_16_bytes(w) && starts_at_16_bytes(g) && starts_at_16_bytes(mean) && starts_at_16_bytes(square);
  rule.step(w, g, mean, square, my_four(parts.size[i], aligned, blockIdx.x - parts.begin[i]));
}
