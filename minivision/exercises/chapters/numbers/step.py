"""How small is small?

A smaller step looks better: the function bends less on the way. And yet with h = 1e-15 the [[slope]] of a harmless function
comes out wrong in the first digit. Computers round. f(x + h) and f(x - h) are then almost the same number, their leading
digits cancel when they are subtracted, and what is left over is mostly the rounding of the last ones, which the division
by 2h then blows up. So there are two errors, and they pull in opposite directions:

    bending    about h² |f'''| / 6      grows with h
    rounding   about eps |f| / h        grows as h gets smaller

Their sum is least where both are alike, near h = eps^(1/3) (Press et al., Numerical Recipes, section 5.7). For float64,
where eps = 2.2e-16, this is 6e-6, and ten digits can be trusted. For float32, where eps = 1.2e-7, it is 5e-3, and only
four or five. That is why gradients are checked in float64 even if networks are trained in float32. Whoever checks in
float32 with h = 1e-5 measures noise, and many an evening was lost looking for a mistake in a backward that had none.

Write two functions. `sweep(f, true, x, steps, dtype)` returns an array with one entry for each step h: the absolute error
|central difference - true|. x and h are turned into ``dtype`` (np.float32 or np.float64) before anything is computed, so
that f computes in it too. `good_step(dtype)` returns eps^(1/3), where np.finfo(dtype).eps is eps. When both are right, the
errors are drawn for you.
"""

import numpy as np


def sweep(f, true, x, steps, dtype):
    x = dtype(x)
    errors = np.zeros(len(steps))
    for i, h in enumerate(steps):
        #: stub
        # TODO: the error of the central difference with step h, computed in dtype.
        raise NotImplementedError("sweep needs the error for each step")
        #: solution
        h = dtype(h)
        measured = (f(x + h) - f(x - h)) / (2 * h)
        errors[i] = abs(float(measured) - true)
        #: end
    return errors


def good_step(dtype):
    #: stub
    # TODO: the step at which bending and rounding are alike.
    raise NotImplementedError("good_step returns a number")
    #: solution
    return float(np.finfo(dtype).eps) ** (1 / 3)
    #: end
