"""The decorator with its arguments: what the API calls path is a str of yours."""

from pyliteflux import Route, Server  # added

path = "/registered"  # added

@Route.register(path, method="GET", protocol="http")
def registered(request):  # added
    return {"path": request.path}  # added

server = Server()  # added
server.run()  # added
