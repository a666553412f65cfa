"""Tests over real sockets: what a user would see.

With PYLITEFLUX_SELECTOR=SelectSelector (or PollSelector) every server of these tests is built
on that selector; `make check` runs them so as well. `test_selectors` does a part of it always.
"""

import os
import selectors

from pyliteflux import Server

_wanted = os.environ.get("PYLITEFLUX_SELECTOR")
if _wanted:
    _defaults = Server.__init__.__kwdefaults__
    assert _defaults is not None and "selector_factory" in _defaults
    _defaults["selector_factory"] = getattr(selectors, _wanted)
