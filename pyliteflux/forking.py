"""What a process that was forked from ours does first: one hook for all who have something to do.

The child (multiprocessing makes such ones) has a copy of each descriptor, lock and counter, and
none of the threads. As long as its copies are open, nobody else can listen on the ports, a client
does not see that we have closed, and every event that the child takes is its parent's loss.

The rule: who holds what must not be shared says so where it is made. Chapter: docs/architecture.md.
"""

from __future__ import annotations

import os
import traceback
import weakref
from collections.abc import Callable
from types import MethodType

# In the order in which they were given. Each returns the callback, or None where it has gone.
_callbacks: dict[Callable[[], Callable[[], object] | None], None] = {}


def after_fork(callback: Callable[[], object]) -> None:
    """Have each child that is forked from now on call this, at its start. Any thread.

    A method is forgotten together with its object.
    """
    if isinstance(callback, MethodType):
        method = weakref.WeakMethod(callback, lambda gone: _callbacks.pop(gone, None))
        _callbacks[method] = None
    else:
        _callbacks[lambda: callback] = None


def _begin_child() -> None:
    for reference in list(_callbacks):
        callback = reference()
        try:
            if callback is not None:
                callback()
        except Exception:  # As Python does with its own hooks: the next one has its turn.
            traceback.print_exc()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_child)
