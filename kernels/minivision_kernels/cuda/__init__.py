"""CUDA kernels: the same ladders on a GPU.

The kernels are the ``*.cu`` files, CUDA C++ without headers but for ``words.cuh``, their common vocabulary. Each file has
one family and is meant to be read from its first kernel to its last. Beside ``x.cu`` stands ``x.py``, its rungs: what
they allocate, how many threads they ask for, and what changed from the rung below.

    launch.py      a kernel by name, called with arrays and numbers
    nvrtc.py       CUDA C++ to machine code, with the compiler's report on registers and spills
    emulator.py    the same text on an ordinary processor, thread by thread, for tests and for learning without a GPU

A rung called with CuPy arrays runs on their GPU. Called with NumPy arrays it runs in the emulator, slowly and exactly:
nothing chooses that by itself (a NumPy array asks ``best`` for a rung of the CPU).
"""
