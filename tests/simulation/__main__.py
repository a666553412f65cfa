"""``python -m tests.simulation --seed N [--steps M] [--count K] [--trace] [--minimise]``."""

from __future__ import annotations

import sys

from tests.simulation.command import main

if __name__ == "__main__":
    sys.exit(main())
