"""Feed broken cascades to the reader: whatever it is given, it answers with a cascade or with a CascadeError.

    python tools/fuzz_cascades.py --count 100000

Each input is a small cascade, in the new form or the old, with a few mutations: bytes changed, removed or doubled, numbers
replaced by absurd ones, elements dropped, nested or swapped, entities and document types put in. A cascade that is accepted is
also run on a small image with the kernels' own checks, so that an index let through would show.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
import time

import numpy as np

from minivision.vision import CascadeError
from minivision.vision.cascade_file import Cascade, parse_cascade
from minivision_kernels import best, run

NEW = b"""<?xml version="1.0"?>
<opencv_storage><cascade type_id="opencv-cascade-classifier"><stageType>BOOST</stageType><featureType>HAAR</featureType>
<height>8</height><width>9</width><stageParams><maxWeakCount>2</maxWeakCount></stageParams>
<featureParams><maxCatCount>0</maxCatCount></featureParams><stageNum>2</stageNum><stages>
<_><maxWeakCount>2</maxWeakCount><stageThreshold>-0.5</stageThreshold><weakClassifiers>
<_><internalNodes>0 -1 0 0.01</internalNodes><leafValues>0.5 -0.5</leafValues></_>
<_><internalNodes>1 0 1 -0.1 -1 -2 0 0.2</internalNodes><leafValues>0.1 0.2 0.3</leafValues></_></weakClassifiers></_>
<_><maxWeakCount>1</maxWeakCount><stageThreshold>-2.</stageThreshold><weakClassifiers>
<_><internalNodes>0 -1 1 1e-3</internalNodes><leafValues>1 -1</leafValues></_></weakClassifiers></_></stages>
<features><_><rects><_>1 1 4 4 -1.</_><_>1 1 2 4 2.</_></rects><tilted>0</tilted></_>
<_><rects><_>4 0 2 2 -1.</_><_>4 2 1 2 3.</_></rects><tilted>1</tilted></_></features></cascade></opencv_storage>"""
LBP = b"""<opencv_storage><cascade><stageType>BOOST</stageType><featureType>LBP</featureType><height>9</height><width>9</width>
<featureParams><maxCatCount>256</maxCatCount></featureParams><stages><_><stageThreshold>0.</stageThreshold><weakClassifiers>
<_><internalNodes>0 -1 0 -1 7 0 1 2 3 4 -2147483648</internalNodes><leafValues>-1. 1.</leafValues></_></weakClassifiers></_>
</stages><features><_><rect>0 0 3 3</rect></_></features></cascade></opencv_storage>"""
OLD = b"""<opencv_storage><c type_id="opencv-haar-classifier"><size>8 8</size><stages><_><trees><_><_><feature><rects>
<_>0 0 4 4 -1.</_><_>0 0 2 4 2.</_></rects><tilted>0</tilted></feature><threshold>0.1</threshold><left_val>1.</left_val>
<right_node>1</right_node></_><_><feature><rects><_>2 2 4 4 -1.</_></rects><tilted>0</tilted></feature>
<threshold>-0.1</threshold><left_val>0.</left_val><right_val>-1.</right_val></_></_></trees>
<stage_threshold>0.5</stage_threshold><parent>-1</parent><next>-1</next></_></stages></c></opencv_storage>"""
SEEDS = (NEW, LBP, OLD)
ABSURD = (b"-1", b"0", b"1", b"2", b"7", b"-7", b"99999999999999999999", b"-2147483649", b"1e308", b"nan", b"inf", b"1_0",
          b"0x10", b"", b"--1", b"1.5", b".", b"\xd9\xa1", b"1e-400", b"2147483647")
PIECES = (b"<!DOCTYPE a [<!ENTITY b \"bbbb\">]>", b"&b;", b"&#0;", b"&lt;", b"<![CDATA[1 2]]>", b"<!-- -->", b"<?pi?>", b"<_>",
          b"</_>", b"<_/>", b"\x00", b"\xff\xfe", b"<?xml version=\"1.0\" encoding=\"utf-7\"?>", b"<rects>", b"<a>" * 40)


def mutated(rng: random.Random) -> bytes:
    """A seed with one to five mutations, in half of the cases only of its numbers, so that some still make sense."""
    text, least = bytearray(rng.choice(SEEDS)), rng.choice((0, 5))
    for _ in range(rng.randint(1, 5)):
        at = rng.randrange(len(text) + 1)
        kind = rng.randrange(least, 7)
        if kind == 0 and at < len(text):
            text[at] = rng.randrange(256)
        elif kind == 1:
            del text[at:at + rng.randint(1, 60)]
        elif kind == 2:
            text[at:at] = text[at:at + rng.randint(1, 200)]
        elif kind == 3:
            text[at:at] = rng.choice(PIECES)
        elif kind == 4:
            del text[at:]
        else:
            numbers = list(re.finditer(rb"-?\d+\.?\d*(e-?\d+)?", bytes(text)))
            if numbers:
                one = rng.choice(numbers)
                text[one.start():one.end()] = rng.choice(ABSURD) if kind == 5 else str(rng.randint(-3, 12)).encode()
    return bytes(text)


def look(cascade: Cascade, image: np.ndarray) -> None:
    """Run the cascade on an image not much larger than its window, as ``detect_multi_scale`` does, but checked."""
    size = cascade.height, cascade.width
    if max(size) > 64:
        return
    picture = np.resize(image, (size[0] + 3, size[1] + 9))
    sums, squares = run("window_sums", picture, True)
    arrays = (sums, squares) if cascade.kind == "HAAR" else (sums,)
    op = "cascade_haar" if cascade.kind == "HAAR" else "cascade_lbp"
    best(op, *arrays)(*arrays, cascade.features, cascade.trees, size, 2, 2)


def fuzz(count: int, seed: int) -> tuple[int, int]:
    """How many of ``count`` mutated cascades were read, and how many refused; any other exception comes through."""
    rng, image = random.Random(seed), np.random.default_rng(seed).integers(0, 256, 5000, np.uint8)
    read = refused = 0
    for number in range(count):
        text = mutated(rng)
        try:
            cascade = parse_cascade(text)
        except CascadeError as problem:
            if not str(problem):
                raise AssertionError("an error without a word") from problem
            refused += 1
            continue
        except BaseException:
            print(f"input {number} of seed {seed}: {text!r}", file=sys.stderr)
            raise
        read += 1
        look(cascade, image)
    return read, refused


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    start = time.perf_counter()
    read, refused = fuzz(chosen.count, chosen.seed)
    print(f"{chosen.count:,} inputs: {read:,} read and run, {refused:,} refused with a CascadeError, no other exception, "
          f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
