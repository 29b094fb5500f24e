"""CUDA kernels: the same ladders on a GPU.

The kernels are the ``*.cu`` files, CUDA C++ without headers but for ``words.cuh``, their common vocabulary. Each file has
one family and is meant to be read from its first kernel to its last. Beside ``x.cu`` stands ``x.py``, its rungs: what
they allocate, how many threads they ask for, and what changed from the rung below.

    launch.py      a kernel by name, called with arrays and numbers
    nvrtc.py       CUDA C++ to machine code, with the compiler's report on registers and spills
    emulator.py    the same text on an ordinary processor, thread by thread, for tests and for learning without a GPU

    elementwise    the rectifier, sums of arrays: nothing but memory. The place to begin
    optimizers     SGD and Adam in one pass; arrays that start anywhere
    pool           gathering instead of scattering; what an index costs
    channels       sums: lanes, warps, blocks, and the kernel after them
    batch_norm     means and variances that can be joined
    cross_entropy  softmax in one pass, by a thread, a warp or a block
    hog            votes: a thread for each pixel, then one for each bin
    cascade        one thread for each window, which leaves as soon as it is no face

A rung called with CuPy arrays runs on their GPU. Called with NumPy arrays it runs in the emulator, slowly and exactly:
nothing chooses that by itself (a NumPy array asks ``best`` for a rung of the CPU).
"""
