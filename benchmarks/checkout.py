"""Lets a script of this folder import minivision where it is not installed: to be imported before it."""

import os
import sys
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = [str(ROOT), str(ROOT / "kernels")]

if find_spec("minivision") is None or find_spec("minivision_kernels") is None:
    sys.path += FOLDERS
    os.environ["PYTHONPATH"] = os.pathsep.join([*FOLDERS, *filter(None, [os.environ.get("PYTHONPATH")])])   # of children
