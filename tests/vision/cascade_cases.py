"""Cascades made up at random, as files and as pictures to try them on."""

from __future__ import annotations

import numpy as np

HEAD = '<?xml version="1.0"?><opencv_storage><cascade type_id="opencv-cascade-classifier"><stageType>BOOST</stageType>'


def haar_xml(
    rng: np.random.Generator, width: int, height: int, stages: int = 2, tilted: bool = True, trees: bool = True,
) -> str:
    """A random Haar cascade whose first stages let about half of all windows through."""
    features, rows = [], []
    for _ in range(12):
        lean = bool(tilted and rng.random() < 0.4)
        parts = []
        for weight in (-1, *rng.choice([2, 3, 1], int(rng.integers(1, 3)))):
            if lean:
                w, h = rng.integers(1, min(width, height) // 3 + 1, 2)
                x, y = rng.integers(h, width - w + 1), rng.integers(0, height - w - h + 1)
            else:
                w, h = rng.integers(1, width + 1), rng.integers(1, height + 1)
                x, y = rng.integers(0, width - w + 1), rng.integers(0, height - h + 1)
            parts.append(f"<_>{x} {y} {w} {h} {weight}.</_>")
        features.append(f"<_><rects>{''.join(parts)}</rects><tilted>{int(lean)}</tilted></_>")
    for _ in range(stages):
        weak = []
        for _ in range(int(rng.integers(1, 5))):
            count = int(rng.integers(1, 4)) if trees else 1
            children = _children(rng, count)
            nodes = " ".join(f"{left} {right} {rng.integers(12)} {rng.normal(0, 0.3):.6e}" for left, right in children)
            leaves = " ".join(f"{value:.6e}" for value in rng.normal(0.1, 1, count + 1))
            weak.append(f"<_><internalNodes>{nodes}</internalNodes><leafValues>{leaves}</leafValues></_>")
        rows.append(f"<_><maxWeakCount>{len(weak)}</maxWeakCount><stageThreshold>{rng.normal(-0.3, 0.4):.6e}</stageThreshold>"
                    f"<weakClassifiers>{''.join(weak)}</weakClassifiers></_>")
    return _file("HAAR", 0, width, height, rows, features)


def lbp_xml(rng: np.random.Generator, width: int, height: int, stages: int = 2) -> str:
    features, rows = [], []
    for _ in range(8):
        w, h = rng.integers(1, width // 3 + 1), rng.integers(1, height // 3 + 1)
        x, y = rng.integers(0, width - 3 * w + 1), rng.integers(0, height - 3 * h + 1)
        features.append(f"<_><rect>{x} {y} {w} {h}</rect></_>")
    for _ in range(stages):
        weak = []
        for _ in range(int(rng.integers(1, 4))):
            subset = " ".join(str(word) for word in rng.integers(-(1 << 31), 1 << 31, 8))
            a, b = rng.normal(0, 1, 2)
            weak.append(f"<_><internalNodes>0 -1 {rng.integers(8)} {subset}</internalNodes>"
                        f"<leafValues>{a:.6e} {b:.6e}</leafValues></_>")
        rows.append(f"<_><maxWeakCount>{len(weak)}</maxWeakCount><stageThreshold>{rng.normal(-0.3, 0.4):.6e}</stageThreshold>"
                    f"<weakClassifiers>{''.join(weak)}</weakClassifiers></_>")
    return _file("LBP", 256, width, height, rows, features)


def picture(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Noise in patches of several sizes, with a flat corner, uint8."""
    image = np.zeros((height, width))
    for size in (1, 4, 16):
        coarse = rng.integers(0, 256, (height // size + 1, width // size + 1))
        image += np.kron(coarse, np.ones((size, size)))[:height, :width] / 3
    image[:height // 4, :width // 4] = 90
    return image.astype(np.uint8)


def _children(rng: np.random.Generator, count: int) -> list[tuple[int, int]]:
    """A random tree of ``count`` nodes: node i is a child of one before it; what is left over are leaves."""
    sides: list[list[int | None]] = [[None, None] for _ in range(count)]
    for node in range(1, count):
        free = [(i, side) for i in range(node) for side in (0, 1) if sides[i][side] is None]
        i, side = free[int(rng.integers(len(free)))]
        sides[i][side] = node
    leaf = 0
    for pair in sides:
        for side in (0, 1):
            if pair[side] is None:
                pair[side], leaf = -leaf, leaf + 1
    return [(pair[0], pair[1]) for pair in sides]


def _file(kind: str, categories: int, width: int, height: int, rows: list[str], features: list[str]) -> str:
    return (f"{HEAD}<featureType>{kind}</featureType><height>{height}</height><width>{width}</width>"
            f"<stageParams><maxWeakCount>4</maxWeakCount></stageParams><featureParams><maxCatCount>{categories}</maxCatCount>"
            f"</featureParams><stageNum>{len(rows)}</stageNum><stages>{''.join(rows)}</stages>"
            f"<features>{''.join(features)}</features></cascade></opencv_storage>")
