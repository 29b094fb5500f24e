"""The script that writes the README's tables: only what stands between the marks changes."""

import importlib.util
from pathlib import Path

import pytest

spec = importlib.util.spec_from_file_location("tables", Path(__file__).parents[2] / "benchmarks" / "tables.py")
tables = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tables)

ROW = {"suite": "lenet", "layer": "1>6 5x5 @28", "op": "conv2d_forward", "batch": 4, "ratio": 2.0,
       "ratios": {"onnxruntime": 0.5}}
STEP = {"suite": "training", "layer": "LeNet-5 @28", "op": "training step", "batch": 64, "ratio": 1.5, "ratios": {},
        "images_per_second": {"minivision": 3000.0, "pytorch": 1000.0, "pytorch channels_last": 2000.0}}
LOOK = {"suite": "explain", "layer": "DeepDream, 10 steps", "op": "look inside", "batch": 1, "ratio": 1.6, "ratios": {},
        "ms": {"minivision": 1234.56, "pytorch": 2500.0, "pytorch channels_last": 2000.0}}
ABOUT = {"suite": "lenet", "machine": "a machine", "features": "AVX2 yes", "threads": 2, "exact": False, "keep_memory": False,
         "tuned": 0, "date": "2026-01-02", "versions": {"numpy": "2.0", "torch": None},
         "roofs": {"gflops": 200.0, "copy_gbs": 20.0, "triad_gbs": 25.0}}


def test_only_the_text_between_the_marks_changes(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- one -->\nold\n<!-- /one -->\nbetween\n<!-- two -->\n<!-- /two -->\nafter\n")
    tables.rewrite(page, "one", "new")
    tables.rewrite(page, "one", "newer")
    assert page.read_text() == (
        "before\n<!-- one -->\nnewer\n<!-- /one -->\nbetween\n<!-- two -->\n<!-- /two -->\nafter\n")


@pytest.mark.parametrize("text", ["", "<!-- one -->", "<!-- /one --> <!-- one -->", "<!-- one --> <!-- one --> <!-- /one -->"])
def test_a_page_without_the_marks_is_left_alone(tmp_path, text):
    page = tmp_path / "page.md"
    page.write_text(text)
    with pytest.raises(SystemExit, match="needs the marks"):
        tables.rewrite(page, "one", "new")
    assert page.read_text() == text


def test_tables():
    text = tables.layers([{**ABOUT, "rows": [ROW, STEP, LOOK]}])
    assert "| lenet | PyTorch | 1 | 2.00 | 2.00, 1>6 5x5 @28, batch 4, conv2d_forward |" in text
    assert "| lenet | ONNX Runtime | 1 | 0.50 |" in text
    assert "LeNet-5" not in text and "DeepDream" not in text
    assert "a machine (AVX2 yes), 2 threads" in text and "numpy 2.0" in text and "2026-01-02" in text
    assert "| LeNet-5 @28 | 64 | 3,000 | 2,000 | 1.50 |" in tables.steps([{**ABOUT, "rows": [ROW, STEP]}])
    assert "| DeepDream, 10 steps | 1 | 1,234.6 | 2,000.0 | 1.60 |" in tables.looks([{**ABOUT, "rows": [ROW, LOOK]}])


def test_the_readme_has_the_marks():
    for name in ("layers", "steps", "looks", "training", "accuracy"):
        assert tables.README.read_text().count(f"<!-- {name} -->") == 1
