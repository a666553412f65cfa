"""Pages of the examples in a real browser: headless Chromium, driven by Selenium.

`make check-browser` runs them. Without PYLITEFLUX_BROWSER=1 the whole folder counts as one
skipped test, as `make test` needs the standard library alone.
"""

import os
import unittest

if not os.environ.get("PYLITEFLUX_BROWSER"):
    raise unittest.SkipTest("browser tests: `make check-browser` runs them")
