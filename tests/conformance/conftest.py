"""Makes the modules of this folder importable, here and in the processes that build."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
