"""socketify (C++, uWebSockets), its own application interface, handlers on the event loop."""

from socketify import App, AppListenOptions

from . import announce


def hello(response, request):
    response.end({"message": "Hello, World!"})


def user(response, request):
    response.end(
        {
            "id": request.get_parameter(0),
            "page": request.get_query("page"),
            "sort": request.get_query("sort"),
        }
    )


async def echo(response, request):
    response.end(await response.get_json())


def not_found(response, request):
    response.write_status(404).end({"error": "Not Found"})


if __name__ == "__main__":
    app = App()
    app.get("/hello", hello)
    app.get("/user/:id", user)
    app.post("/echo", echo)
    app.any("/*", not_found)
    app.listen(AppListenOptions(port=0, host="127.0.0.1"), lambda config: announce(config.port))
    app.run()
