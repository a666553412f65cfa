"""The smallest server: http://127.0.0.1:8000/hello answers JSON."""

from pyliteflux import Server, Route

server = Server()

@Route.register("/hello", method="GET")
def hello(request):
    return {"message": "Hello, World!"}

server.run()
