"""Around every handler: who asks, from where, how long it took, and how small the answer is.

Chapter: docs/middleware.md. Run it with `make run-example EXAMPLE=middleware`.
"""

import sys

from pyliteflux import (
    BasicAuthMiddleware,
    CORSMiddleware,
    GzipMiddleware,
    HTTPError,
    Logger,
    Middleware,
    ProxyHeadersMiddleware,
    Router,
    Server,
    TimingMiddleware,
    g,
)

TRY = """\
try:
    curl -i http://{0}/me
    curl -i -u ada:lovelace http://{0}/me
    curl -i -u ada:lovelace -H 'X-Forwarded-For: 203.0.113.7' http://{0}/me
    curl -i -u ada:lovelace -H 'Origin: https://app.example' http://{0}/me
    curl -i -X OPTIONS -H 'Origin: https://app.example' \\
         -H 'Access-Control-Request-Method: PUT' http://{0}/me
    curl -u ada:lovelace --compressed -so /dev/null -w '%{{size_download}} bytes\\n' http://{0}/table
    curl -i -u ada:lovelace -X POST http://{0}/rename
"""

router = Router()


class Audit(Middleware):
    """Our own: who has done what, one line for each request.

    It keeps nothing in `self`: sixty-four threads run it at once. What belongs to a request
    is in `g`, where handlers and other middlewares find it too.
    """

    def process_request(self, request):
        g.notes = []

    def process_response(self, request, response):
        if isinstance(response, dict) and g.notes:
            return {**response, "notes": g.notes}  # A new one: the handler may keep its own.
        return response

    def on_finish(self, request):
        """The last byte is out, or the client has left."""
        user = getattr(g, "user", "somebody")  # Unset where the password was wrong.
        Logger.info("%s asked %s %s: %s", user, request.method, request.path, g.notes)


class ReadOnly(Middleware):
    """Answers instead of the handler where somebody wants to change something."""

    def process_request(self, request):
        if request.method not in ("GET", "HEAD", "OPTIONS"):
            g.notes.append("refused")
            raise HTTPError(403, "read only today")


@router.get("/me")
def me(request):
    g.notes.append("looked at themselves")
    return {"user": g.user, "address": request.client_address[0], "secure": request.is_secure}


@router.get("/table")
def table(request):
    return [{"number": number, "square": number * number} for number in range(1000)]


@router.post("/rename")
def rename(request):
    return {"never": "reached"}


server = Server(router)
# From the outside to the inside.
server.add_middleware(ProxyHeadersMiddleware(trusted=["127.0.0.1"]))  # Before who looks at them.
server.add_middleware(GzipMiddleware())  # Outside of all that changes the answer.
server.add_middleware(TimingMiddleware())
server.add_middleware(CORSMiddleware(["https://app.example"], allow_credentials=True))
server.add_middleware(Audit())
# A preflight carries no password: CORS stands before it. In the clear: for tests, or behind TLS.
server.add_middleware(BasicAuthMiddleware({"ada": "lovelace"}))
server.add_middleware(ReadOnly())


if __name__ == "__main__":
    print(TRY.format(f"{server.config.http_host}:{server.config.http_port}"))
    sys.stdout.flush()
    server.run("http")
