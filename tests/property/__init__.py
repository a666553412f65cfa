"""Properties: what holds for any input, looked for by hypothesis (`make check` installs it).

Without hypothesis the whole folder counts as one skipped test.
"""

import os
import unittest

try:
    import hypothesis
except ImportError:
    raise unittest.SkipTest("hypothesis is not installed: `make check` has it") from None

# No deadline: a shared machine and coverage are slow. CI tries the same examples each time.
hypothesis.settings.register_profile(
    "project",
    deadline=None,
    max_examples=500,
    print_blob=True,
    derandomize=bool(os.environ.get("CI")),
)
hypothesis.settings.load_profile("project")
