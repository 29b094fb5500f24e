// A reduction.
//
// How do 64 threads add 64 numbers? One thread could do it in 63 steps while the others wait. As a tree it takes 6: in the first
// round 32 threads each add a number of the upper half to one of the lower half, in the second 16 do, then 8, 4, 2 and 1.
// (Harris 2007, "Optimizing parallel reduction in CUDA", goes on from here for seven more versions.)
//
// Between two rounds all sums of the first must be there before the second reads them: a barrier in every round, and it is for
// all threads of the block, also for those that have nothing to add any more. A barrier inside of `if (t < half)` is reached by
// some and not by others, and the block waits for ever, or worse.
//
// The tree adds in another order than a loop from left to right would, so the last digit may differ. It is the same order in
// every run, though, which atomic additions do not promise.
//
// Write the kernel: each block adds its 64 numbers (zeros beyond the end of x) and one thread writes sums[blockIdx.x].

extern "C" __global__ void sum64(const float* x, float* sums, int n) {
  __shared__ float part[64];
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  const int t = threadIdx.x;
  //: stub
  // TODO: bring the numbers, add them as a tree, write the sum.
  //: solution
  part[t] = i < n ? x[i] : 0.0f;
  for (int half = 32; half > 0; half /= 2) {
    __syncthreads();
    if (t < half) part[t] += part[t + half];
  }
  if (t == 0) sums[blockIdx.x] = part[0];
  //: end
}
