"""A slope, measured.

The derivative f'(x) says how fast f changes at x. Take a small step h to either side, look how much f changed, divide by
the distance:

    slope = (f(x + h) - f(x - h)) / (2 h)

This is the central difference. The forward difference, (f(x + h) - f(x)) / h, looks simpler, and the definition in a
textbook is its limit. But it leans to one side. Taylor's series tells by how much:

    f(x + h) = f(x) + h f'(x) + h²/2 f''(x) + h³/6 f'''(x) + ...

The forward difference is off by h/2 f''(x). In the central difference the terms with f'' cancel, and h²/6 f'''(x) is what
remains: with h = 0.00001 that is less by a factor of some hundred thousand, for the same two calls of f (Press et al.,
Numerical Recipes, section 5.7). For a parabola, which has no f''', it is exact, however large h is.

With this one formula you can check every gradient that you will write in this course, and every one that somebody else
has written. It needs no calculus and knows nothing of layers. It only looks. That it is also too slow to train anything
with is the reason why the other chapters exist.

Write `slope(f, x, h)`: f is a function of one number, x and h are numbers.
"""


def slope(f, x, h=1e-5):
    #: stub
    # TODO: the central difference of f at x.
    raise NotImplementedError("slope returns the central difference, a number")
    #: solution
    return (f(x + h) - f(x - h)) / (2 * h)
    #: end
