"""A picture of the h-sweep for the terminal."""

import numpy as np

HEIGHT, WIDTH = 13, 64
HIGHEST, LOWEST = 1, -12                 # powers of ten of the errors that are shown


def sweep_picture(steps, curves):
    """The errors of each curve (letter -> errors) over ``steps``, both logarithmic; steps shrink to the right."""
    rows = [[" "] * WIDTH for _ in range(HEIGHT)]
    powers = -np.log10(steps)
    columns = np.round((powers - powers.min()) / np.ptp(powers) * (WIDTH - 1)).astype(int)
    for letter, errors in curves.items():
        heights = np.clip(np.log10(np.maximum(errors, 10.0 ** LOWEST)), LOWEST, HIGHEST)
        for column, height in zip(columns, heights):
            rows[round((HIGHEST - height) / (HIGHEST - LOWEST) * (HEIGHT - 1))][column] = letter
    lines = ["error"]
    for place, row in enumerate(rows):
        power = HIGHEST - place * (HIGHEST - LOWEST) / (HEIGHT - 1)
        lines.append((f"1e{power:+03.0f} |" if place % 3 == 0 else "      |") + "".join(row).rstrip())
    ticks = [" "] * (WIDTH + 6)
    for power in range(0, int(powers.max()) + 1, 3):
        column = round((power - powers.min()) / np.ptp(powers) * (WIDTH - 1))
        ticks[column:column + 6] = f"1e-{power:02}".ljust(6)
    lines += ["      +" + "-" * WIDTH, "    h  " + "".join(ticks).rstrip()]
    return "\n".join(lines)
