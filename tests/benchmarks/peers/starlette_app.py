"""The Starlette application that uvicorn and granian serve.

`app` has `async def` handlers, which run on the event loop; `sync_app` has `def` handlers,
which run on a thread pool as PyLiteFlux's `blocking=True` ones do.
"""

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from . import FILE, LARGE, MIDDLEWARES, PIECES


async def hello(request):
    return JSONResponse({"message": "Hello, World!"})


async def user(request):
    return JSONResponse({"id": request.path_params["id"]})


async def search(request):
    query = request.query_params
    return JSONResponse({"q": query["q"], "page": query["page"]})


async def echo(request):
    return JSONResponse(await request.json())


async def large(request):
    return Response(LARGE, media_type="text/plain")


async def pieces():
    for piece in PIECES:
        yield piece


async def stream(request):
    return StreamingResponse(pieces(), media_type="text/plain")


async def file(request):
    return FileResponse(FILE)


def sync_hello(request):
    return JSONResponse({"message": "Hello, World!"})


def sync_user(request):
    return JSONResponse({"id": request.path_params["id"]})


def sync_search(request):
    query = request.query_params
    return JSONResponse({"q": query["q"], "page": query["page"]})


async def sync_echo(request):
    # Only `async def` can read a body; the answer, at least, is made on the pool.
    return await run_in_threadpool(JSONResponse, await request.json())


def sync_large(request):
    return Response(LARGE, media_type="text/plain")


def sync_stream(request):
    return StreamingResponse(iter(PIECES), media_type="text/plain")


def sync_file(request):
    return FileResponse(FILE)


class AddField:
    """Pure ASGI, the cheaper of the two ways that Starlette's documentation shows."""

    def __init__(self, app, name):
        self.app, self.name = app, name.encode()

    async def __call__(self, scope, receive, send):
        async def send_with_field(message):
            if message["type"] == "http.response.start":
                message["headers"].append((self.name, b"1"))
            await send(message)

        await self.app(scope, receive, send_with_field)


def build(hello, user, search, echo, large, stream, file):
    return Starlette(
        routes=[
            Route("/hello", hello),
            Route("/user/{id}", user),
            Route("/search", search),
            Route("/echo", echo, methods=["POST"]),
            Route("/large", large),
            Route("/stream", stream),
            Route("/file", file),
        ],
        middleware=[
            Middleware(AddField, name=f"x-middleware-{number + 1}") for number in range(MIDDLEWARES)
        ],
    )


app = build(hello, user, search, echo, large, stream, file)
sync_app = build(sync_hello, sync_user, sync_search, sync_echo, sync_large, sync_stream, sync_file)
