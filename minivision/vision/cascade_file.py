"""Reading a cascade of OpenCV's from its XML file, trusting nothing in it.

A cascade is a list of stages, a stage a list of small trees, a node of a tree one question about the window: is this
feature below that threshold? OpenCV writes them as XML in two forms. The new one (``opencv-cascade-classifier``, by
opencv_traincascade) keeps the features in one list at its end and each tree as a row of numbers. The old one
(``opencv-haar-classifier``) writes every node out. Both become the same arrays here: those that the kernels
``cascade_haar`` and ``cascade_lbp`` take, with every index checked, so that no kernel can read outside the window or walk
in a circle.

The file may come from anywhere. So document type declarations, and with them entities, are refused; the size of the file,
the number of its elements and their depth are bounded; and whatever is wrong is one ``CascadeError`` that names the
element, as in ``stages/_[2]/weakClassifiers/_[0]/internalNodes``.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import NoReturn
from xml.parsers import expat

import numpy as np

from minivision_kernels.cascades import LBP, Haar, Trees

MOST_BYTES = 32 << 20           # the largest of OpenCV's own files has 2.7 MB
MOST_ELEMENTS = 500_000         # and 90,000 elements
MOST_DEPTH = 16                 # the old form goes 10 deep
MOST_PIXELS = 512               # of a window's side
SUBSET = 8                      # words of 32 bits: one bit for each of the 256 codes of a local binary pattern
STAGE_EPSILON = np.float32(1e-5)        # OpenCV lowers every stage's threshold by this, against rounding

_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", re.ASCII)
_WHOLE = re.compile(r"[-+]?\d{1,12}", re.ASCII)


class CascadeError(ValueError):
    """The file is no cascade that can be used; the message names the file and the element."""


@dataclass(frozen=True)
class Cascade:
    """A cascade as arrays.

    Attributes:
        width, height: of the window it looks at, in pixels.
        features: what its nodes ask about, upright and tilted rectangles (Haar) or local binary patterns (LBP).
        trees: its nodes, leaves and stages.
    """

    width: int
    height: int
    features: Haar | LBP
    trees: Trees

    @property
    def kind(self) -> str:
        return "HAAR" if isinstance(self.features, Haar) else "LBP"


def read_cascade(path: str | os.PathLike) -> Cascade:
    """The cascade in an XML file of OpenCV's, in the new form or the old one.

    Raises:
        OSError: the file cannot be read.
        CascadeError: it is not a cascade, or not one that can be evaluated safely.
    """
    with open(path, "rb") as file:
        text = file.read(MOST_BYTES + 1)
    return parse_cascade(text, str(path))


def parse_cascade(text: bytes, name: str = "the cascade") -> Cascade:
    """The cascade in the text of an XML file; ``name`` is what errors call it."""
    try:
        root = parse_xml(text)
        return _old(root) if root.attributes.get("type_id") == "opencv-haar-classifier" else _new(root)
    except CascadeError as problem:
        raise CascadeError(f"{name}: {problem}") from None


# ------------------------------------------------------------------------------------------------ XML, the part we need

@dataclass(eq=False)
class Element:
    """One element of the file: its name, attributes, children and text."""

    name: str
    attributes: dict[str, str]
    parent: Element | None
    children: list[Element] = field(default_factory=list)
    pieces: list[str] = field(default_factory=list)

    @property
    def path(self) -> str:
        """Where it stands, such as ``stages/_[2]/stageThreshold``; list items, all named ``_``, are numbered from 0."""
        if self.parent is None or self.parent.parent is None:
            return self.name
        items = [child for child in self.parent.children if child.name == self.name]
        place = f"[{next(i for i, item in enumerate(items) if item is self)}]" if self.name == "_" else ""
        above = "" if self.parent.parent.parent is None else self.parent.path + "/"
        return f"{above}{self.name}{place}"

    def fail(self, problem: str) -> NoReturn:
        raise CascadeError(f"element {self.path}: {problem}")

    def find(self, name: str) -> Element | None:
        return next((child for child in self.children if child.name == name), None)

    def get(self, name: str) -> Element:
        found = self.find(name)
        return self.fail(f"has no <{name}>") if found is None else found

    def items(self) -> list[Element]:
        """The children of a list, all of them named ``_``."""
        for child in self.children:
            if child.name != "_":
                child.fail("expected <_>, an item of a list")
        return self.children

    def words(self) -> list[str]:
        if self.children:
            self.fail(f"expected numbers, found <{self.children[0].name}>")
        return "".join(self.pieces).split()

    def numbers(self, count: int | None = None) -> list[float]:
        """The numbers that are its text: ``count`` of them, or any number of them."""
        words = self.words()
        if count is not None and len(words) != count:
            self.fail(f"expected {count} number{'s' * (count != 1)}, found {len(words)}")
        for word in words:
            if not _NUMBER.fullmatch(word) or abs(float(word)) > 1e30:
                self.fail(f"expected numbers of at most 1e30, found {word[:40]!r}")
        return [float(word) for word in words]

    def whole(self, least: int, most: int) -> int:
        """The whole number that is its text."""
        words = self.words()
        if len(words) != 1:
            self.fail(f"expected one whole number, found {len(words)} words")
        return self.as_whole(words[0], least, most)

    def as_whole(self, word: str, least: int, most: int) -> int:
        """A word of its text as a whole number; ``12.`` is one too."""
        digits = word[:-1] if word.endswith(".") else word
        if not _WHOLE.fullmatch(digits) or not least <= int(digits) <= most:
            self.fail(f"expected a whole number from {least} to {most}, found {word[:40]!r}")
        return int(digits)


def parse_xml(text: bytes) -> Element:
    """The first element below <opencv_storage>, without entities, document types or depth beyond reason."""
    if len(text) > MOST_BYTES:
        raise CascadeError(f"is larger than {MOST_BYTES >> 20} MiB; no cascade is")
    parser = expat.ParserCreate()
    top = Element("", {}, None)
    opened, count = [top], 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal count
        count += 1
        if len(opened) > MOST_DEPTH or count > MOST_ELEMENTS:
            raise CascadeError(f"line {parser.CurrentLineNumber}: expected at most {MOST_ELEMENTS} elements, at most "
                               f"{MOST_DEPTH} deep, as cascades have them")
        element = Element(name, attributes, opened[-1])
        opened[-1].children.append(element)
        opened.append(element)

    def end(name: str) -> None:
        opened.pop()

    def letters(data: str) -> None:
        opened[-1].pieces.append(data)

    def refuse(*_: object) -> NoReturn:
        raise CascadeError(f"line {parser.CurrentLineNumber}: has a document type declaration or entities, which no cascade "
                           "needs and which are not read, for safety")

    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, letters
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = refuse
    parser.ExternalEntityRefHandler = parser.SkippedEntityHandler = refuse
    parser.buffer_text = True
    try:
        parser.Parse(text, True)
    except CascadeError:
        raise
    except (expat.ExpatError, ValueError, LookupError) as problem:      # also an encoding that Python or expat lacks
        raise CascadeError(f"is not well-formed XML: {problem}") from None
    storage = top.children[0]
    if storage.name != "opencv_storage":
        raise CascadeError(f"its outermost element is <{storage.name[:40]}>; expected <opencv_storage>, as OpenCV writes it")
    if not storage.children:
        raise CascadeError("<opencv_storage> is empty; expected a cascade in it")
    return storage.children[0]


# ------------------------------------------------------------------------------------------------ the new form

def _new(root: Element) -> Cascade:
    if root.get("stageType").words() != ["BOOST"]:
        root.get("stageType").fail("expected BOOST, the only kind of stage there is")
    kind = " ".join(root.get("featureType").words())
    if kind == "HOG":
        root.get("featureType").fail("HOG cascades are not supported, by OpenCV since 3.0 neither; for pedestrians see "
                                     "HOGDescriptor")
    if kind not in ("HAAR", "LBP"):
        root.get("featureType").fail(f"expected HAAR or LBP, found {kind[:40]!r}")
    width, height = (root.get(side).whole(3, MOST_PIXELS) for side in ("width", "height"))
    params = root.find("featureParams")
    if params is not None:                          # scikit-image's own file has the name misspelt: it is not needed
        categories = params.find("maxCatCount")
        expected = 0 if kind == "HAAR" else 32 * SUBSET
        if categories is not None and categories.whole(0, 1 << 20) != expected:
            categories.fail(f"expected {expected} for {kind}")
    items = root.get("features").items()
    features = _haar(items, width, height) if kind == "HAAR" else _lbp(items, width, height)
    builder = _Builder(kind, len(items))
    for stage in root.get("stages").items():
        for tree in stage.get("weakClassifiers").items():
            builder.add_row(tree)
        builder.close_stage(stage, "weakClassifiers", "stageThreshold")
    return Cascade(width, height, features, builder.trees(root.get("stages")))


def _haar(items: list[Element], width: int, height: int) -> Haar:
    rects = np.zeros((len(items), 3, 4), np.int32)
    weights = np.zeros((len(items), 3), np.float32)
    tilted = np.zeros(len(items), np.bool_)
    for i, item in enumerate(items):
        _one_haar(item, width, height, rects[i], weights[i], tilted[i:i + 1])
    return Haar(rects, weights, tilted)


def _one_haar(item: Element, width: int, height: int, rects: np.ndarray, weights: np.ndarray, tilted: np.ndarray) -> None:
    """Fill in one feature: up to three rectangles with their weights, all upright or all turned by 45 degrees."""
    lean = item.find("tilted")
    tilted[0] = lean is not None and lean.whole(0, 1) == 1
    rows = item.get("rects").items()
    if not 1 <= len(rows) <= 3:
        item.get("rects").fail(f"expected 1 to 3 rectangles, found {len(rows)}")
    for r, row in enumerate(rows):
        words = row.words()
        if len(words) != 5:
            row.fail(f"expected x, y, width, height and weight, found {len(words)} words")
        x, y, w, h = (row.as_whole(word, 0, MOST_PIXELS) for word in words[:4])
        # A rectangle turned by 45 degrees has its top corner at (x, y) and reaches h to the left, w to the right.
        inside = x >= h and x + w <= width and y + w + h <= height if tilted[0] else x + w <= width and y + h <= height
        if not inside:
            row.fail(f"the {'tilted ' * bool(tilted[0])}rectangle {x} {y} {w} {h} leaves the window of {width} x {height}")
        rects[r] = x, y, w, h
        if not _NUMBER.fullmatch(words[4]) or abs(float(words[4])) > 1e30:
            row.fail(f"expected a weight of at most 1e30, found {words[4][:40]!r}")
        weights[r] = float(words[4])


def _lbp(items: list[Element], width: int, height: int) -> LBP:
    rects = np.zeros((len(items), 4), np.int32)
    for i, item in enumerate(items):
        row = item.get("rect")
        words = row.words()
        if len(words) != 4:
            row.fail(f"expected x, y, width and height, found {len(words)} words")
        x, y, w, h = (row.as_whole(word, 0, MOST_PIXELS) for word in words)
        if x + 3 * w > width or y + 3 * h > height:
            row.fail(f"the grid of 3 x 3 blocks {x} {y} {w} {h} leaves the window of {width} x {height}")
        rects[i] = x, y, w, h
    return LBP(rects)


class _Builder:
    """Collects trees and stages; in the end they are arrays."""

    def __init__(self, kind: str, features: int):
        self.kind, self.features = kind, features
        self.nodes: list[tuple[int, int, int]] = []         # left, right, feature; a leaf l is written -1 - l
        self.thresholds: list[float] = []
        self.subsets: list[list[int]] = []
        self.leaves: list[float] = []
        self.first_leaves: list[int] = []                   # of each tree
        self.roots: list[int] = []
        self.stages = [0]
        self.stage_thresholds: list[float] = []

    def add_row(self, tree: Element) -> None:
        """A tree of the new form: ``left right feature threshold`` for each node, and its leaves."""
        row = tree.get("internalNodes")
        words, step = row.words(), 4 if self.kind == "HAAR" else 3 + SUBSET
        if not words or len(words) % step:
            row.fail(f"expected {step} numbers for each node, found {len(words)} numbers")
        leaves = tree.get("leafValues").numbers()
        if len(leaves) < 2:
            tree.get("leafValues").fail(f"expected at least 2 numbers, found {len(leaves)}")
        count = len(words) // step
        children = []
        for at in range(0, len(words), step):
            left, right = (row.as_whole(word, -len(leaves) + 1, count - 1) for word in words[at:at + 2])
            children.append((left, right, row.as_whole(words[at + 2], 0, self.features - 1)))
            if self.kind == "HAAR":
                if not _NUMBER.fullmatch(words[at + 3]) or abs(float(words[at + 3])) > 1e30:
                    row.fail(f"expected a threshold of at most 1e30, found {words[at + 3][:40]!r}")
                self.thresholds.append(float(words[at + 3]))
            else:
                self.subsets.append([row.as_whole(word, -(1 << 31), (1 << 31) - 1) for word in words[at + 3:at + step]])
        self._add(row, children, leaves)

    def add_nodes(self, tree: Element, children: list[tuple[int, int, int]], thresholds: list[float],
                  leaves: list[float]) -> None:
        """A tree of the old form, whose nodes have been read one by one."""
        self.thresholds += thresholds
        self._add(tree, children, leaves)

    def _add(self, where: Element, children: list[tuple[int, int, int]], leaves: list[float]) -> None:
        """``children`` name nodes of this tree by positive numbers and its leaf l by -l, as the file does.

        A parent must stand before its children, as in every file that OpenCV's tools wrote: then no walk can be a circle.
        """
        node, leaf = len(self.nodes), len(self.leaves)
        for i, (left, right, _) in enumerate(children):
            for child in (left, right):
                if 0 < child <= i:
                    where.fail(f"node {i} has the child {child}; expected one further on, so that there are no cycles")
        place = lambda child: node + child if child > 0 else -1 - (leaf - child)
        self.roots.append(node)
        self.first_leaves.append(leaf)
        self.nodes += [(place(left), place(right), feature) for left, right, feature in children]
        self.leaves += leaves

    def close_stage(self, stage: Element, trees: str, threshold: str) -> None:
        if len(self.roots) == self.stages[-1]:
            stage.get(trees).fail("is empty; expected at least one tree")
        self.stages.append(len(self.roots))
        self.stage_thresholds.append(stage.get(threshold).numbers(1)[0])

    def trees(self, where: Element) -> Trees:
        if len(self.stages) == 1:
            where.fail("is empty; expected at least one stage")
        nodes = np.array(self.nodes, np.int32).reshape(-1, 3)
        if len(nodes) == len(self.roots):           # stumps alone: OpenCV takes their first two leaves, whatever the node says
            nodes[:, 0], nodes[:, 1] = -1 - np.array(self.first_leaves), -2 - np.array(self.first_leaves)
        return Trees(
            nodes=nodes, thresholds=np.array(self.thresholds, np.float32),
            subsets=np.array(self.subsets, np.int32).reshape(-1, SUBSET), leaves=np.array(self.leaves, np.float32),
            roots=np.array(self.roots, np.int32), stages=np.array(self.stages, np.int32),
            stage_thresholds=np.array(self.stage_thresholds, np.float32) - STAGE_EPSILON)


# ------------------------------------------------------------------------------------------------ the old form

def _old(root: Element) -> Cascade:
    size = root.get("size")
    words = size.words()
    if len(words) != 2:
        size.fail(f"expected width and height, found {len(words)} words")
    width, height = (size.as_whole(word, 3, MOST_PIXELS) for word in words)
    stages = root.get("stages")
    count = sum(len(tree.children) for stage in stages.items() for tree in stage.get("trees").items())
    rects = np.zeros((count, 3, 4), np.int32)
    weights = np.zeros((count, 3), np.float32)
    tilted = np.zeros(count, np.bool_)
    builder, feature = _Builder("HAAR", count), 0
    for stage in stages.items():
        for tree in stage.get("trees").items():
            nodes = tree.items()
            if not nodes:
                tree.fail("is empty; expected at least one node")
            children, thresholds, leaves = [], [], []       # type: list[tuple[int, int, int]], list[float], list[float]
            for node in nodes:
                _one_haar(node.get("feature"), width, height, rects[feature], weights[feature], tilted[feature:feature + 1])
                thresholds += node.get("threshold").numbers(1)
                sides = []
                for side in ("left", "right"):
                    below = node.find(f"{side}_node")
                    if below is not None:
                        sides.append(below.whole(1, len(nodes) - 1))
                    else:
                        sides.append(-len(leaves))
                        leaves += node.get(f"{side}_val").numbers(1)
                children.append((sides[0], sides[1], feature))
                feature += 1
            builder.add_nodes(tree, children, thresholds, leaves)
        builder.close_stage(stage, "trees", "stage_threshold")
    return Cascade(width, height, Haar(rects, weights, tilted), builder.trees(stages))


