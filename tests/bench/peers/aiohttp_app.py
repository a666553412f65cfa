"""aiohttp on its own server and asyncio's own loop."""

from aiohttp import web

from . import announce, listening_socket


async def hello(request):
    return web.json_response({"message": "Hello, World!"})


async def user(request):
    query = request.query
    return web.json_response(
        {"id": request.match_info["id"], "page": query["page"], "sort": query["sort"]}
    )


async def echo(request):
    return web.json_response(await request.json())


if __name__ == "__main__":
    app = web.Application()
    app.add_routes([web.get("/hello", hello), web.get("/user/{id}", user), web.post("/echo", echo)])
    listener = listening_socket()
    announce(listener.getsockname()[1])
    web.run_app(app, sock=listener, access_log=None, print=None)
