"""A dict becomes a JSON response."""

from pyliteflux import Route, Server  # added

@Route.register("/hello", method="GET")
def hello(request):
    return {"message": "Hello, World!"}  # 自动转换为JSON响应

server = Server()  # added
server.run()  # added
