"""What a handler finds in its request. The lines of the block stand in a handler here.

Try: ``curl -d name=John "http://127.0.0.1:8000/request?page=2"``.
"""

from pyliteflux import Logger, Route, Server  # added

server = Server()  # added

def task():  # added
    Logger.info("the task has run")  # added

@Route.register("/request", method="POST")  # added
def show(request):  # added
    request.query_params  # 查询参数
    request.form_data    # 表单数据
    request.json_data    # JSON数据
    request.headers      # 请求头
    request.bg.add(task) # 添加后台任务
    return {  # added
        "query": request.query_params,  # added
        "form": request.form_data,  # added
        "json": request.json_data,  # added
        "type": request.headers["content-type"],  # added
    }  # added

server.run()  # added
