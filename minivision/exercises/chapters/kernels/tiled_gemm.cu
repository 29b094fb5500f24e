// A matrix product in tiles.
//
// One thread per number of c, each walking along a row of a and down a column of b, reads 2 K numbers from global memory for K
// multiply-adds. Its neighbour in the row reads the same numbers of a, its neighbour in the column the same ones of b.
//
// So let a block of 8 x 8 threads compute 8 x 8 numbers of c together. They walk along k in steps of 8. In each step every
// thread brings one number of a and one of b into shared memory, which makes a tile of each; then each adds 8 products that it
// finds there. Global memory is read 8 times less often. (NVIDIA, CUDA C++ Programming Guide, section on shared memory; the
// kernels of this engine go on to larger tiles, a tile of registers in each thread, and tensor cores: see gemm.cu.)
//
// Two barriers in each step: nobody may read a tile before it is whole, and nobody may bring the next one while others still
// read this one. The second is the one that is forgotten, and the result is then right on most days.
//
// a is (M, K), b (K, N), c (M, N), row by row. The lengths need not be multiples of 8: beyond the borders a tile holds zeros.

extern "C" __global__ void gemm(const float* a, const float* b, float* c, int M, int K, int N) {
  __shared__ float as[8][8];
  __shared__ float bs[8][8];
  const int tx = threadIdx.x, ty = threadIdx.y;
  const int row = blockIdx.y * 8 + ty, column = blockIdx.x * 8 + tx;
  float sum = 0.0f;
  //: stub
  // TODO: for each step of 8 along k: bring the tiles, wait, add 8 products, wait. Then write c.
  //: solution
  for (int k0 = 0; k0 < K; k0 += 8) {
    as[ty][tx] = row < M && k0 + tx < K ? a[row * K + k0 + tx] : 0.0f;
    bs[ty][tx] = k0 + ty < K && column < N ? b[(k0 + ty) * N + column] : 0.0f;
    __syncthreads();      // the tiles are there
    for (int k = 0; k < 8; ++k) sum += as[ty][k] * bs[k][tx];
    __syncthreads();      // nobody reads them any more
  }
  if (row < M && column < N) c[row * N + column] = sum;
  //: end
}
