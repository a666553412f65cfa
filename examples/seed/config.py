"""The settings, changed in one call. There are no routes: every path is a 404."""

from pyliteflux import Server  # added

server = Server()
server.config.update(
    http_host="127.0.0.1",
    http_port=8000,
    tcp_host="127.0.0.1",
    tcp_port=8001,
    tcp_keep_alive=True,  # 启用TCP长连接
    info=True  # 启用日志
)

server.run()  # added
