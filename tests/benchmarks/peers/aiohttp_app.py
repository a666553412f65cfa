"""aiohttp on its own server and asyncio's own loop. Variant `uvloop`: on that one."""

import sys

from aiohttp import web

from . import FILE, LARGE, MIDDLEWARES, PIECES, announce, listening_socket


async def hello(request):
    return web.json_response({"message": "Hello, World!"})


async def user(request):
    return web.json_response({"id": request.match_info["id"]})


async def search(request):
    query = request.query
    return web.json_response({"q": query["q"], "page": query["page"]})


async def echo(request):
    return web.json_response(await request.json())


async def large(request):
    return web.Response(body=LARGE, content_type="text/plain")


async def stream(request):
    response = web.StreamResponse(headers={"Content-Type": "text/plain"})
    response.enable_chunked_encoding()
    await response.prepare(request)
    for piece in PIECES:
        await response.write(piece)
    await response.write_eof()
    return response


async def file(request):
    return web.FileResponse(FILE)


def add_field(name):
    @web.middleware
    async def middleware(request, handler):
        response = await handler(request)
        response.headers[name] = "1"
        return response

    return middleware


if __name__ == "__main__":
    loop = None
    if sys.argv[1:] == ["uvloop"]:
        import uvloop

        loop = uvloop.new_event_loop()
    app = web.Application(
        middlewares=[add_field(f"x-middleware-{number + 1}") for number in range(MIDDLEWARES)]
    )
    app.add_routes(
        [
            web.get("/hello", hello),
            web.get("/user/{id}", user),
            web.get("/search", search),
            web.post("/echo", echo),
            web.get("/large", large),
            web.get("/stream", stream),
            web.get("/file", file),
        ]
    )
    listener = listening_socket()
    announce(listener.getsockname()[1])
    web.run_app(app, sock=listener, access_log=None, print=None, loop=loop)
