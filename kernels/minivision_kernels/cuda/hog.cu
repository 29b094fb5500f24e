// Histograms of oriented gradients, from images (H, W, C): votes of pixels in cells, and blocks divided by their size.
//
//   hog_cells      scikit-image's: a pixel votes in one bin of its own cell
//   hog_votes      the paper's and OpenCV's: a vote is shared between two bins, and the cells of a block
//   hog_blocks     blocks of neighbouring cells, each divided by its norm
//
// A pixel finds its bin by itself, but which bin that is, only the run tells, and threads that add to one number would have to
// wait for each other. So a block of threads does two things in turn: first each thread looks at a pixel and writes its vote
// down in shared memory; then each thread takes a bin and goes through the votes in order. The sums have the order of a loop
// over the pixels.
#include "words.cuh"

#define VOTERS 128                        // threads of a block, and pixels that are looked at together
#define MOST_BINS 360

struct Image { int H, W, C; };

// The gradient at a pixel: the differences of its neighbours, 0 across the border; of several channels the longest, of equals
// the first. Squares of float32 are exact in double.
__device__ __forceinline__ void gradient(const real* image, Image of, int y, int x, real& down, real& right) {
  double longest = -1;
  down = right = 0;
  for (int c = 0; c < of.C; ++c) {
    const long long at = (y * (long long)of.W + x) * of.C + c, row = of.W * (long long)of.C;
    const real d = y > 0 && y < of.H - 1 ? image[at + row] - image[at - row] : real(0);
    const real r = x > 0 && x < of.W - 1 ? image[at + of.C] - image[at - of.C] : real(0);
    const double length = double(d) * d + double(r) * r;
    if (length > longest) longest = length, down = d, right = r;
  }
}

// The direction in degrees from 0 to 180, opposite ones being one. Those that are edges of bins are told without an
// arctangent, whose last digit is the machine's affair.
__device__ __forceinline__ double degrees(double down, double right) {
  if (down == 0) return 0;
  if (right == 0) return 90;
  if (down == right) return 45;
  if (down == -right) return 135;
  const double angle = atan2(down, right) * (180 / 3.14159265358979323846);
  return angle < 0 ? angle + 180 : angle;
}

// ---------------------------------------------------------------------------------------------------------------- cells

// A block of threads for each cell of CH x CW pixels. Sums are kept in float32 and each addition is rounded, as scikit-image
// does whatever the image's type. Rounding can turn an angle to 180 degrees: such a vote is in no bin.
extern "C" __global__ void __launch_bounds__(VOTERS) hog_cells(
    const real* image, real* cells, Image of, int CH, int CW, int columns, int bins) {
  __shared__ double lengths[VOTERS];
  __shared__ int places[VOTERS];
  __shared__ float sums[MOST_BINS];
  const int row = blockIdx.y, column = blockIdx.x, me = threadIdx.x, pixels = CH * CW;
  const double width = 180.0 / bins;
  for (int o = me; o < bins; o += VOTERS) sums[o] = 0;
  for (int first = 0; first < pixels; first += VOTERS) {
    const int count = min(pixels - first, VOTERS);
    if (me < count) {
      real down, right;
      gradient(image, of, row * CH + (first + me) / CW, column * CW + (first + me) % CW, down, right);
      const double angle = degrees(down, right);
      int bin = int(angle / width);
      while (width * (bin + 1) <= angle) ++bin;
      while (bin > 0 && width * bin > angle) --bin;
      lengths[me] = hypot(double(right), double(down));
      places[me] = bin;
    }
    __syncthreads();
    for (int o = me; o < bins; o += VOTERS) {
      float sum = sums[o];
      for (int k = 0; k < count; ++k)
        if (places[k] == o) sum = float(sum + lengths[k]);
      sums[o] = sum;
    }
    __syncthreads();                      // the next pixels' votes replace these
  }
  for (int o = me; o < bins; o += VOTERS) cells[((long long)row * columns + column) * bins + o] = real(sums[o] / float(pixels));
}

// ---------------------------------------------------------------------------------------------------------------- votes

// OpenCV's arctangent, in degrees from 0 to 360: odd powers, right to 0.01 degrees, each step rounded once.
__device__ __forceinline__ real arctangent(real down, real right, const real* powers) {
  const real across = right < 0 ? -right : right, along = down < 0 ? -down : down;
  const real c = (across < along ? across : along) / ((across < along ? along : across) + real(2.2204460492503131e-16));
  const double square = real(c * c);
  real angle = powers[3];
#pragma unroll
  for (int k = 2; k >= 0; --k) angle = real(angle * square + double(powers[k]));
  angle = angle * c;
  if (along > across) angle = 90 - angle;
  if (right < 0) angle = 180 - angle;
  return down < 0 ? 360 - angle : angle;
}

// How much place i along a block counts for one of its cells: the window there, less towards the middles of the neighbours.
__device__ __forceinline__ real profile(const real* window, int i, int size, int cell) {
  const double distance = (i + 0.5) / size - 0.5 - cell;
  return real(fmax(0.0, 1 - (distance < 0 ? -distance : distance)) * double(window[i]));
}

// Cells of CH x CW pixels, BR x BC of them in a block; `columns` blocks side by side, SH and SW pixels apart, from (top, left).
struct Layout { int CH, CW, BR, BC, columns, SH, SW, top, left, bins, is_signed, polynomial; };

extern "C" __global__ void __launch_bounds__(VOTERS) hog_votes(
    const real* image, const real* window_rows, const real* window_columns, const real* powers, real* votes, Image of,
    Layout in) {
  __shared__ real first_share[VOTERS], second_share[VOTERS];
  __shared__ int first_bin[VOTERS], second_bin[VOTERS];
  const int me = threadIdx.x, wide = in.BC * in.CW, pixels = in.BR * in.CH * wide, numbers = in.BR * in.BC * in.bins;
  const int y = in.top + blockIdx.y * in.SH, x = in.left + blockIdx.x * in.SW;
  votes += ((long long)blockIdx.y * in.columns + blockIdx.x) * numbers;
  for (int k = me; k < numbers; k += VOTERS) votes[k] = 0;
  for (int begin = 0; begin < pixels; begin += VOTERS) {
    const int count = min(pixels - begin, VOTERS);
    if (me < count) {
      real down, right;
      gradient(image, of, y + (begin + me) / wide, x + (begin + me) % wide, down, right);
      real angle = in.polynomial ? arctangent(down, right, powers) * real(3.14159265358979323846 / 180)
                                 : real(atan2(double(down), double(right)));
      if (angle < 0) angle += real(2 * 3.14159265358979323846);
      const real place = angle * real(in.bins / ((in.is_signed ? 2 : 1) * 3.14159265358979323846)) - real(0.5);
      const real below = floor(place), share = place - below, length = sqrt(right * right + down * down);
      const int bin = (int(below) % in.bins + in.bins) % in.bins;
      first_share[me] = length * (1 - share);
      second_share[me] = length * share;
      first_bin[me] = bin;
      second_bin[me] = (bin + 1) % in.bins;
    }
    __syncthreads();
    for (int k = me; k < numbers; k += VOTERS) {
      const int cell = k / in.bins, bin = k % in.bins;
      real sum = votes[k];
      for (int p = 0; p < count; ++p) {
        const bool low = first_bin[p] == bin, high = second_bin[p] == bin;
        if (!low && !high) continue;
        const real weight = profile(window_rows, (begin + p) / wide, in.CH, cell / in.BC)
                            * profile(window_columns, (begin + p) % wide, in.CW, cell % in.BC);
        if (low) sum += weight * first_share[p];
        if (high) sum += weight * second_share[p];
      }
      votes[k] = sum;
    }
    __syncthreads();                      // the next pixels' votes replace these
  }
}

// --------------------------------------------------------------------------------------------------------------- blocks

// The norms by number: L1, L1-sqrt, L2, L2-Hys and OpenCV's. A block of threads for each block of BR x BC cells of L numbers.
struct Grid { int columns, BR, BC, L, cells_across; };

extern "C" __global__ void __launch_bounds__(VOTERS) hog_blocks(const real* cells, real* blocks, Grid of, int norm) {
  __shared__ real partial[VOTERS / 32];
  const int run = of.BC * of.L, numbers = of.BR * run;
  cells += ((long long)blockIdx.y * of.cells_across + blockIdx.x) * of.L;
  blocks += ((long long)blockIdx.y * of.columns + blockIdx.x) * numbers;
  auto number = [&](int k) { return cells[k / run * (long long)of.cells_across * of.L + k % run]; };
  const real eps = real(1e-5), inside = norm == 4 ? real(0) : eps * eps;
  real sum = 0;
  for (int k = threadIdx.x; k < numbers; k += VOTERS) {
    const real v = number(k);
    sum += norm >= 2 ? v * v : v < 0 ? -v : v;
  }
  sum = block_sum(sum, partial);
  const real size = norm < 2 ? sum + eps : sqrt(sum + inside) + (norm == 4 ? real(0.1 * numbers) : real(0));
  if (norm < 3) {
    for (int k = threadIdx.x; k < numbers; k += VOTERS) blocks[k] = norm == 1 ? sqrt(number(k) / size) : number(k) / size;
    return;
  }
  auto cut = [&](int k) {
    const real v = number(k) / size;
    return v > real(0.2) ? real(0.2) : v;
  };
  real again = 0;
  for (int k = threadIdx.x; k < numbers; k += VOTERS) again += cut(k) * cut(k);
  again = sqrt(block_sum(again, partial) + inside) + (norm == 4 ? real(1e-3) : real(0));
  for (int k = threadIdx.x; k < numbers; k += VOTERS) blocks[k] = cut(k) / again;
}
