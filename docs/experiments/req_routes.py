"""Which route answers, and with which parameters."""

from _req_client import ask

from pyliteflux import RouteError, Router, Server

router = Router()


@router.get("/users/{name}")
def by_name(request):
    return {"route": "by_name", **request.path_params}


@router.get("/users/{id:int}")
def by_id(request):
    return {"route": "by_id", **request.path_params}


@router.get("/users/me")
def myself(request):
    return {"route": "myself"}


@router.register("/users/{id:int}", method=["PUT", "DELETE"])
def change(request):
    return {"route": "change", **request.path_params}


@router.get("/docs/{page:path}")
def page(request):
    return {"route": "page", **request.path_params}


@router.get("/files/*")
def below(request):
    return {"route": "below", **request.path_params}


admin = Router(prefix="/admin")


@admin.get("/stats", name="admin stats")
def stats(request):
    return {"route": "stats"}


server = Server(router, http_port=0, tcp_port=0, info=False)
server.include(admin, prefix="/v1")

with server:
    ask(server, "GET", "/users/me")
    ask(server, "GET", "/users/7")
    ask(server, "GET", "/users/anna%20b")
    ask(server, "GET", "/users/a%2Fb")
    ask(server, "GET", "/docs/a/b")
    ask(server, "GET", "/files/")
    ask(server, "GET", "/v1/admin/stats")
    ask(server, "DELETE", "/users/7")
    ask(server, "POST", "/users/7", show=["Allow"])
    ask(server, "OPTIONS", "/users/7", show=["Allow"])
    ask(server, "HEAD", "/users/7", show=["Content-Length"])
    ask(server, "GET", "/users/")

print(server.url_for("by_name", name="a/b c", page=2))
print(server.url_for("admin stats"))
for route in server.routes()[:2]:
    print(route)
for path in ("users", "/users/{id:number}", "/files/*/x"):
    try:
        router.get(path)(by_id)
    except RouteError as error:
        print(f"RouteError: {error}")
