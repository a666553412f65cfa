"""An application without a wire: its routes, its middlewares, its tasks, what answers its errors.

The rule: whoever has a request, from a socket or from a test, makes it with its app, gives it
its route, and hands it to the pipeline. Nothing in here knows how it came or who waits for it.

Chapter: docs/life-of-a-request.md.
"""

from __future__ import annotations

from collections.abc import Callable

from ..config import Config
from ..signatures import check_hook
from .error_answers import ErrorAnswers
from .middleware import MiddlewareManager
from .pipeline import Pipeline
from .request import Home
from .route import Decorated
from .routing import Router


class App(Home):
    """What answers the requests of one server, before, during and after its runs. Any thread.

    router: the application's routes, which may be another app's, too. ready_made: commands that
    the library brings along; a router of their own, as another app may allow something else.
    """

    def __init__(self, config: Config, router: Router) -> None:
        super().__init__(config)
        self.router = router
        self.ready_made = Router()
        self.middlewares = MiddlewareManager()
        self.errors = ErrorAnswers(config)
        self.pipeline = Pipeline(self.middlewares, self.errors)

    def error(self, kind: int | type[BaseException]) -> Callable[[Decorated], Decorated]:
        """Return a decorator: the function answers a status (400 to 599) or an exception.

        It is called as ``function(request, error)`` and may return what a handler may; of a
        plain value the status stays that of the error. Raises ValueError for another kind.
        """
        is_status = isinstance(kind, int) and 400 <= kind <= 599
        if not is_status and not (isinstance(kind, type) and issubclass(kind, Exception)):
            raise ValueError(
                f"an error handler is for a status 400 to 599 or an exception: {kind!r}"
            )

        def decorate(handler: Decorated) -> Decorated:
            check_hook(handler, "an error handler", "request", "error", may_yield=True)
            self.errors.handlers[kind] = handler
            return handler

        return decorate

    def __repr__(self) -> str:
        return f"<App of {len(self.router.routes())} routes>"
