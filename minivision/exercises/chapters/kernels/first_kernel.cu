// The first kernel.
//
// A kernel is a function that runs once for each of many threads, all at the same time as far as you need to know. A thread
// learns who it is from three words: threadIdx is its place in its block, blockIdx the place of the block, blockDim the size of
// a block. From them it works out which number is its own.
//
// Threads come in whole blocks, here of 64. For 150 numbers there are three blocks, 192 threads, and 42 of those have no number.
// They must do nothing. A thread that writes beyond the end of an array does not fail on a GPU as it would in Python: it
// overwrites whatever lies there, perhaps another array, and the error shows elsewhere or never. Every kernel you will ever read
// has this `if`.
//
// Write ReLU: y[i] = max(x[i], 0), one thread for each number.

extern "C" __global__ void relu(const float* x, float* y, int n) {
  //: stub
  // TODO: which number is this thread's? Is there one?
  //: solution
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) y[i] = x[i] > 0.0f ? x[i] : 0.0f;
  //: end
}
