"""A middleware with options: it marks the request, then the response."""

from pyliteflux import Middleware, Route, Server  # added

class CustomMiddleware(Middleware):
    def __init__(self, **options):
        self.options = options
    
    def process_request(self, request):
        # 处理请求
        request.custom_attr = self.options.get("custom_attr")
        return None
    
    def process_response(self, request, response):
        # 处理响应
        if isinstance(response, dict):
            response["processed_by"] = self.options.get("name", "CustomMiddleware")
        return response

# 使用中间件
server = Server()
server.middleware_manager.add_middleware(
    CustomMiddleware(
        name="MyMiddleware",
        custom_attr="custom_value"
    )
)

@Route.register("/marked")  # added
def marked(request):  # added
    return {"custom_attr": request.custom_attr}  # added

server.run()  # added
