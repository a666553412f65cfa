"""One request through the app: middlewares in, handler, middlewares out, encoded.

The rule: `handle` always returns an answer. Whatever a handler or a middleware raises ends
here as a response and at most one logged traceback; the client is told nothing of it (A5).
Whatever: a GeneratorExit or a CancelledError ends the server as little as a ValueError does.
Only KeyboardInterrupt goes on (on a worker, as far as the worker): it is the second Ctrl-C.
It runs on a worker, or on the reactor thread for a route that never blocks; it does not know
which.

Chapter: docs/life-of-a-request.md.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Context
from typing import Any

from ..log import framework as log
from .context import enter
from .error_answers import ErrorAnswers, what_failed
from .message_answer import message_answer
from .middleware import Chain, MiddlewareManager
from .representation import SAYS_MORE, select
from .request import HTTPRequest, Request, TCPRequest
from .response import HTTPResponse, StreamResponse
from .values import make_response, settle, split_tuple


class Pipeline:
    """What every request of one server passes. Any thread may handle requests with it."""

    def __init__(self, middlewares: MiddlewareManager, errors: ErrorAnswers) -> None:
        self._middlewares = middlewares
        self._errors = errors
        self._warned_of: set[int] = set()  # Methods that returned None, by id: told once each.

    # --- HTTP

    def handle(self, request: HTTPRequest) -> HTTPResponse:
        """Return the response to a request, ready to be sent. Raises KeyboardInterrupt alone.

        A request that was given up before it has begun is not handled: nobody reads the answer.
        """
        request.has_begun = True
        if request.is_abandoned:
            return HTTPResponse()
        context = Context()
        response = context.run(self._handle, request)
        if type(response) is HTTPResponse and not request.entered and not request.has_files:
            return response  # Most: nothing more will run in it.
        if isinstance(response, StreamResponse) or self.needs_finish(request):
            request.context = context
        return response

    def _handle(self, request: HTTPRequest) -> HTTPResponse:
        enter(request)
        chain = self._middlewares.chains["http"]
        value = self._run(request, chain)
        response: Any = value  # As far as it has come: what is not sent is given back.
        try:
            response = make_response(value, request)
            fields = response.own_headers
            if fields is not None and not SAYS_MORE.isdisjoint(fields.names()):
                response = select(response, request.method, request.headers)
            if response is value or fields is not None:
                response.seal()
            if request.has_bg:  # Not asked for by most: `bg` is lazy.
                request.bg.release()  # Before a generator begins: it may wait for them.
            if response.is_held and request.route.blocking:
                _begin(response, request)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            _discard(response)
            response = self._replace(request, chain, error, self._make, request.route.blocking)
        request.response_status = response.status
        return response  # type: ignore[no-any-return]

    def begin(self, request: Request) -> Any:
        """Return what is to be sent after all of a response that is held (`is_held`).

        On a worker: for a route whose handler ran on the reactor, which must not run a generator.
        """
        return request.context.run(self._begin, request)

    def _begin(self, request: Request) -> Any:
        response, request.held = request.held, None
        is_http = request.protocol == "http"
        try:
            _begin(response, request)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            _discard(response)
            chain = self._middlewares.chains[request.protocol]
            make = self._make if is_http else self._answer
            response = self._replace(request, chain, error, make, True)
            if is_http:
                request.response_status = response.status
        return response

    def _make(self, request: HTTPRequest, value: Any, can_wait: bool) -> HTTPResponse:
        """Return the response to a request; can_wait: a generator may be run on this thread."""
        response = make_response(value, request)
        response.seal()
        if response.is_held and can_wait:
            _begin(response, request)
        return response

    def _replace(
        self,
        request: Any,
        chain: Chain,
        error: BaseException,
        make: Callable[[Any, Any, bool], Any],
        can_wait: bool,
    ) -> Any:
        """Return what is sent instead of an answer that turned out not to be one.

        It passes the layers too (M4): they had their turn with what cannot be sent, and what
        they add, so that a browser shows this error say, it needs as well.
        """
        request.is_replaced = True
        if request.has_bg:
            request.bg.drop()  # What was to follow an answer does not follow an error.
        for value_of in (self._errors.value_of, self._errors.value_of, self._errors.internal):
            what = what_failed(request, error)
            try:
                value = self._leave(request, chain, value_of(request, error, what))
                return make(request, value, can_wait)
            except KeyboardInterrupt:
                raise
            except BaseException as another:
                error = another
                # A layer has spoilt it again: what it puts in the answer's place counts no more.
                request.keeps_answer = True
        # The user's error handler has spoilt it, and then a layer: this one is ours alone.
        what = what_failed(request, error)
        return make(request, self._errors.internal(request, error, what), can_wait)

    def finish(self, request: Request) -> None:
        """The last byte is sent, or the client has left: call `on_finish`, close what is open."""
        context = request.context or Context()
        context.run(self._finish, request)

    def needs_finish(self, request: Request) -> bool:
        """Tell whether `finish` has anything to do, so that most requests need no second job."""
        entered = request.entered
        if not entered or request.has_files:
            return request.has_files
        on_finish = self._middlewares.chains[request.protocol].on_finish
        # The one added first comes last: where it was not entered, none of them was.
        return bool(on_finish) and on_finish[-1][0] <= entered

    def _finish(self, request: Request) -> None:
        for place, on_finish, name in self._middlewares.chains[request.protocol].on_finish:
            if place <= request.entered:
                try:
                    on_finish(request)
                except KeyboardInterrupt:
                    raise
                except BaseException:
                    log.exception("%s.on_finish failed", name)
        request.close()

    # --- TCP

    def handle_message(self, request: TCPRequest) -> Any:
        """Return what answers a TCP message. Raises KeyboardInterrupt alone.

        A value to be encoded, its status and its code put in (T5), or a StreamResponse; what
        became of the message says `request.response_status`. One that was given up is not handled.
        """
        request.has_begun = True
        if request.is_abandoned:
            return None
        context = Context()
        answer = context.run(self._handle_message, request)
        if isinstance(answer, StreamResponse) or (request.entered and self.needs_finish(request)):
            request.context = context
        return answer

    def _handle_message(self, request: TCPRequest) -> Any:
        enter(request)
        chain = self._middlewares.chains["tcp"]
        value = self._run(request, chain)
        if (
            type(value) is dict
            and request.response_status == 200
            and not request.response_headers
            and request.error_code is None
        ):
            if request.has_bg:
                request.bg.release()
            return value  # As most are: there is nothing to put into it.
        try:
            return self._answer(request, value, request.route.blocking)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            _discard(value)
            return self._replace(request, chain, error, self._answer, request.route.blocking)

    def _answer(self, request: TCPRequest, value: Any, can_wait: bool) -> Any:
        """Return what answers a handler's value; can_wait: see `_make`."""
        value = message_answer(request, value)
        if request.has_bg:
            request.bg.release()
        if isinstance(value, StreamResponse) and value.is_held and can_wait:
            _begin(value, request)
        return value

    def replace_answer(self, request: TCPRequest, error: BaseException) -> Any:
        """Return what answers instead of an answer that cannot be encoded; see `_replace`."""
        context = request.context or Context()
        answer = context.run(self._replace_answer, request, error)
        if isinstance(answer, StreamResponse):
            request.context = context
        return answer

    def _replace_answer(self, request: TCPRequest, error: BaseException) -> Any:
        enter(request)
        chain = self._middlewares.chains["tcp"]
        return self._replace(request, chain, error, self._answer, request.route.blocking)

    # --- both

    def _run(self, request: Request, chain: Chain) -> Any:
        """Return the value of the handler, or of what answered instead, after all middlewares."""
        value: Any = None
        failed = False
        try:
            if chain.size:
                value = self._ask(request, chain)
            if value is None:
                handler = request.route.handler
                value = handler(request)
            if type(value) is tuple:
                value = split_tuple(value, request)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # Neither a sys.exit() nor a CancelledError ends us or M4.
            failed = True
            what = what_failed(request, error) if type(value) is tuple else "failed"
            value = self._errors.value_of(request, error, what)
        request.has_returned = True
        if failed and request.has_bg:
            request.bg.drop()
        return self._leave(request, chain, value) if request.entered else value

    def _ask(self, request: Request, chain: Chain) -> Any:
        """Return what a `process_request` answers; None where the handler is to be called."""
        for place, process_request, _ in chain.process_request:
            request.entered = place
            value = process_request(request)
            if value is not None:
                return value
        request.entered = chain.size
        return None

    def _leave(self, request: Request, chain: Chain, value: Any) -> Any:
        """Return the value after the `process_response` of all that were entered (M4)."""
        if type(value) is not dict:
            _agree(request, value)
        for place, process_response, name in chain.process_response:
            if place <= request.entered:
                value = self._respond(request, chain, process_response, name, value)
        return value

    def _respond(
        self,
        request: Request,
        chain: Chain,
        process: Callable[[Any, Any], Any],
        name: str,
        value: Any,
    ) -> Any:
        """Return the value after one `process_response` (M5)."""
        before = request.response_status
        try:
            new = process(request, value)
            if new is None and value is not None:
                if id(process) not in self._warned_of:
                    self._warned_of.add(id(process))
                    log.warning("%s.process_response returned None; the old response is kept", name)
                new = value
            if new is value or request.keeps_answer:
                if type(value) is not dict:
                    _agree(request, value, before)
                return value
            if type(new) is tuple:
                request.error_code = None
                new = split_tuple(new, request)
            elif isinstance(new, HTTPResponse):
                # A response replaces all: the status and headers of the old one do not apply to it.
                request.response_status, request.response_headers = 200, None
                request.error_code = None
            else:
                _keep_head(request, value)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            new = self._errors.value_of(request, error)
            if not request.is_replaced:
                return self._pass_again(request, chain, process, new)
        _agree(request, new)
        return new

    def _pass_again(
        self, request: Request, chain: Chain, failed: Callable[[Any, Any], Any], value: Any
    ) -> Any:
        """Return the error of a layer after the layers that had their turn before it.

        What they added went away with the answer that this one replaces; once a request.
        """
        request.is_replaced = True
        _agree(request, value)
        for place, process_response, name in chain.process_response:
            if process_response is failed:
                break
            if place <= request.entered:
                value = self._respond(request, chain, process_response, name, value)
        return value


def _begin(response: Any, request: Request) -> None:
    """Run a generator to its first piece, in the context of its request."""
    request.stream_has_begun = True
    # Over TCP a piece is any value, and an empty one is a message too.
    response.begin(response.encode_piece if request.protocol == "http" else None)
    if request.method == "HEAD":
        response.discard()  # The head is all that is asked for, and it is known now.


def _discard(response: Any) -> None:
    """Give back what a response holds that will not be sent."""
    if isinstance(response, HTTPResponse):
        try:
            response.discard()
        except KeyboardInterrupt:
            raise
        except BaseException:
            log.exception("a response could not be given up")


def _agree(request: Request, value: Any, before: int = 200) -> None:
    """Have the request say the status of a value, for the layers that look at it; see `settle`."""
    if isinstance(value, HTTPResponse):
        settle(value, request, before)
    elif value is None and request.response_status == 200 and request.protocol == "http":
        request.response_status = 204


def _keep_head(request: Request, old: Any) -> None:
    """A layer has put a plain value in the place of another: status and fields stay (M5)."""
    if isinstance(old, HTTPResponse):
        request.response_headers = old.own_headers
    elif old is None and request.response_status == 204 and request.protocol == "http":
        request.response_status = 200  # It was 204 for want of a body.
