"""`g` carries a database and a cache through each request; a background task has its own `g`.

The block names Database and Cache without saying what they are: here are two that keep notes.
"""

import uuid  # added
from pyliteflux import Logger, Middleware  # added

class Database:  # added
    closed = 0  # added
    def query(self, sql):  # added
        return [{"id": 1, "name": "John"}]  # added
    def close(self):  # added
        Database.closed += 1  # added

class Cache:  # added
    closed = 0  # added
    def get(self, key):  # added
        return f"cached {key}"  # added
    def close(self):  # added
        Cache.closed += 1  # added

from pyliteflux import Server, Route, g

server = Server()

# 在中间件中设置数据
class DataMiddleware(Middleware):
    def process_request(self, request):
        g.db = Database()  # 假设的数据库连接
        g.cache = Cache()  # 假设的缓存连接
        return None
    
    def process_response(self, request, response):
        # 清理资源
        if hasattr(g, "db"):
            g.db.close()
        if hasattr(g, "cache"):
            g.cache.close()
        return response

server.add_middleware(DataMiddleware())  # added

# 在路由中使用g对象
@Route.register("/data", method="GET")
def get_data(request):
    # 使用g对象中的资源
    data = g.db.query("SELECT * FROM users")
    cached_data = g.cache.get("users")
    
    return {
        "data": data,
        "cached": cached_data,
        "request_id": g.request_id
    }

# 在后台任务中使用g对象
@Route.register("/async", method="GET")
def async_task(request):
    def background_job():
        # 注意：后台任务有自己的g对象实例
        g.task_id = uuid.uuid4()
        Logger.info(f"Background task {g.task_id} started")
        
    request.bg.add(background_job)
    return {"message": "Task scheduled"}

server.run()
