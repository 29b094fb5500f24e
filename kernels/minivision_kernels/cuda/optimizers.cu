// One step of an optimiser, in place, for one parameter.
//
//   sgd_update      stochastic gradient descent with momentum
//   adam_update     Adam
//
// The formula, written with arrays, is a kernel for each of its signs, and each goes through memory. Here every array is read
// once and written once, four numbers at a time. Parameters may be views of others, so that they start anywhere:
// see my_four.
#include "words.cuh"

// The numbers that are the same for the whole array; `first`: the velocity is only now begun.
extern "C" __global__ void sgd_update(
    real* param, const real* grad, real* velocity, real lr, real momentum, real dampening, real weight_decay, int nesterov,
    int first, long long size, int aligned) {
  const Places p = my_four(size, aligned);
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

// `pace` is lr / (1 - beta1^step), `widen` 1 / sqrt(1 - beta2^step): what corrects the first steps' bias towards 0.
extern "C" __global__ void adam_update(
    real* param, const real* grad, real* m, real* v, real pace, real beta1, real rest1, real beta2, real rest2, real widen,
    real eps, real weight_decay, long long size, int aligned) {
  const Places p = my_four(size, aligned);
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
