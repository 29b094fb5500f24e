"""Is this gradient right, and if not, what went wrong?

    report = minivision.checking.gradcheck(func, inputs)         # raises with a diagnosis where it is not
    print(report)

`checker.py` is the place to start reading; `mutation.py` shows what the checker catches.
"""

from .catalogue import Case, cases, check_all
from .checker import gradcheck, gradgradcheck
from .kinks import Kink
from .mutation import Mutant, mutants
from .report import Entry, GradcheckError, GradcheckReport

__all__ = [
    "Case", "Entry", "GradcheckError", "GradcheckReport", "Kink", "Mutant", "cases", "check_all", "gradcheck",
    "gradgradcheck", "mutants",
]
