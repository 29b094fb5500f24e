"""What the jobs print: bars of progress on stderr if it is a terminal, tables and bars of blocks on stdout."""

from __future__ import annotations

import sys
from typing import Any

BLOCKS = " ▏▎▍▌▋▊▉█"


def progress(total: int | None, what: str, unit: str, initial: int = 0) -> Any:
    """A tqdm bar on stderr that is gone when it is done, and that a file or a pipe never sees. It may learn its total later."""
    from tqdm import tqdm

    return tqdm(total=total, desc=what, unit=f" {unit}s", initial=initial, leave=False, dynamic_ncols=True,
                smoothing=0.1, file=sys.stderr, disable=not sys.stderr.isatty())


def say(text: str) -> None:
    """A line on stdout, at once, above whatever bar is being drawn."""
    from tqdm import tqdm

    with tqdm.external_write_mode(file=sys.stdout):
        print(text, flush=True)


def blocks(share: float, width: int) -> str:
    """A bar of ``share`` (0 .. 1) of ``width`` characters, drawn to an eighth of a character."""
    try:
        BLOCKS.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return ("#" * round(share * width)).ljust(width)
    eighths = round(max(0.0, min(1.0, share)) * width * 8)
    full, rest = divmod(eighths, 8)
    return (BLOCKS[8] * full + (BLOCKS[rest] if rest else "")).ljust(width)


def percent(share: float) -> str:
    """``98.9 %``; 100 % and 0 % are said only when they are exact."""
    shown = round(100 * share, 1)
    if shown in (0.0, 100.0) and share not in (0, 1):
        shown = 0.1 if shown == 0 else 99.9
    return f"{shown:.1f} %"


def plural(count: int, thing: str) -> str:
    return f"{count:,} {thing}" + ("" if count == 1 else "s")
