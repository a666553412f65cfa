"""Kinds of routes. Decorators return the function unchanged, so one function takes them all."""

from pyliteflux import Server  # added

from pyliteflux import Route

# HTTP路由
@Route.register("/hello", method="GET")  # 基本GET请求
@Route.register("/user", method="POST")  # POST请求
@Route.register("/user/{id}", method="GET")  # 带路径参数的路由
@Route.register("/files/*", method="GET")  # 通配符路由

# TCP路由
@Route.register("command", protocol="tcp")  # TCP命令路由
def answer(request):  # added
    return {  # added
        "protocol": request.protocol,  # added
        "path": request.path,  # added
        "path_params": request.path_params,  # added
    }  # added

server = Server()  # added
server.run()  # added
