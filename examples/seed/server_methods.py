"""run, stop and push_message. run() returns once the server has stopped: ask for /stop.

After that, stop() has nothing to do and push_message() reaches nobody; neither is an error.
"""

from pyliteflux import Route, Server  # added

server = Server()  # added
message = "goodbye"  # added

@Route.register("/stop", blocking=False)  # added
def stop(request):  # added
    server.stop()  # added
    return {"stopping": True}  # added

server.run()  # 启动服务器
server.stop()  # 停止服务器
server.push_message(message, client_id=None)  # 推送消息
