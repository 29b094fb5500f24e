"""The ways an exercise is checked.

    values.py      a function, against an oracle, over odd shapes
    gradient.py    an operation: forward against an oracle, backward against measured slopes, over odd shapes
    custom.py      whatever else: a function of the author's that goes through stages of its own
    kernel.py      a numba kernel: element by element for races and bounds, then compiled
    cuda.py        a CUDA kernel, in the emulator: values, bounds, races, and how often memory is touched
"""

from .cuda import Cuda
from .custom import Custom
from .gradient import Gradient
from .kernel import Kernel
from .values import Values
