"""The Starlette application that uvicorn and granian serve.

`app` has `async def` handlers, which run on the event loop; `sync_app` has `def` handlers,
which run on a thread pool as PyLiteFlux's `blocking=True` ones do.
"""

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse
from starlette.routing import Route


async def hello(request):
    return JSONResponse({"message": "Hello, World!"})


async def user(request):
    query = request.query_params
    return JSONResponse(
        {"id": request.path_params["id"], "page": query["page"], "sort": query["sort"]}
    )


async def echo(request):
    return JSONResponse(await request.json())


def sync_hello(request):
    return JSONResponse({"message": "Hello, World!"})


def sync_user(request):
    query = request.query_params
    return JSONResponse(
        {"id": request.path_params["id"], "page": query["page"], "sort": query["sort"]}
    )


async def sync_echo(request):
    # Only `async def` can read a body; the answer, at least, is made on the pool.
    return await run_in_threadpool(JSONResponse, await request.json())


app = Starlette(
    routes=[
        Route("/hello", hello),
        Route("/user/{id}", user),
        Route("/echo", echo, methods=["POST"]),
    ]
)
sync_app = Starlette(
    routes=[
        Route("/hello", sync_hello),
        Route("/user/{id}", sync_user),
        Route("/echo", sync_echo, methods=["POST"]),
    ]
)
