"""The command in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path


def start(*arguments: object, cwd: Path) -> subprocess.Popen:
    """``minivision ...`` in a process of its own."""
    environment = {k: v for k, v in os.environ.items() if k != "MINIVISION_TRACEBACK"}
    return subprocess.Popen([sys.executable, "-m", "minivision.cli", *map(str, arguments)], cwd=cwd, env=environment,
                            text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
