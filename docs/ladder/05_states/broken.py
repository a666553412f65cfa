"""The answer of this stage, when a browser comes."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from attacks import show

show(Path(__file__).with_name("answer.py"), "speaks_http")
