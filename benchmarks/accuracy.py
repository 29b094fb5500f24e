"""Test accuracy of trained networks, as a table in the README.

    minivision train --data mnist                       # and so on for each row, then
    python benchmarks/accuracy.py runs/*/model.safetensors

Each checkpoint is evaluated anew on the test images of the data set it was trained on (``MINIVISION_DATA`` says where the
sets lie). The results go to ``results/accuracy.json`` and, between two marks, into the README.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from tables import HERE, README, rewrite

from minivision import data
from minivision.cli.trained import load_trained
from minivision.training import evaluate

SETS = {"digits": data.digits, "mnist": data.mnist, "fashion-mnist": data.fashion_mnist, "cifar10": data.cifar10}


def row(path: Path) -> dict:
    trained = load_trained(path)
    images = SETS[trained.data](split="test")
    score = evaluate(trained.model, data.DataLoader(images, 256))
    return {"data": trained.data, "model": trained.name, "epochs": trained.epoch, "images": len(images),
            "accuracy": score.accuracy, "parameters": sum(p.size for p in trained.model.parameters())}


def table(rows: list[dict]) -> str:
    lines = ["| data | network | parameters | epochs | test images | test accuracy |", "|---|---|---|---|---|---|"]
    lines += [f"| {r['data']} | {r['model']} | {r['parameters']:,} | {r['epochs']} | {r['images']:,} | "
              f"{100 * r['accuracy']:.2f} % |" for r in rows]
    return "\n".join([*lines, "", "`minivision train` with its defaults, after the last epoch (`benchmarks/accuracy.py`)."])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoints", nargs="+", type=Path)
    rows = sorted(map(row, parser.parse_args().checkpoints), key=lambda r: (list(SETS).index(r["data"]), r["model"]))
    (HERE / "results" / "accuracy.json").write_text(json.dumps(rows, indent=1) + "\n")
    rewrite(README, "accuracy", table(rows))
    print(table(rows))


if __name__ == "__main__":
    main()
