"""A middleware that measures each request: its time, its queries, the memory in use."""

import sys  # added
import time  # added
from pyliteflux import Logger, Middleware, Route, Server, g  # added

class PerformanceMiddleware(Middleware):
    def process_request(self, request):
        g.start_time = time.time()
        g.sql_queries = []
        return None
    
    def process_response(self, request, response):
        duration = time.time() - g.start_time
        metrics = {
            "duration": duration,
            "sql_queries": len(g.sql_queries),
            "memory_usage": self.get_memory_usage()
        }
        Logger.info(f"Performance metrics: {metrics}")
        return response

class Measured(PerformanceMiddleware):  # added
    def get_memory_usage(self):  # added
        return sys.getallocatedblocks()  # added

@Route.register("/report")  # added
def report(request):  # added
    g.sql_queries.append("SELECT 1")  # added
    g.sql_queries.append("SELECT 2")  # added
    return {"report": "done"}  # added

server = Server()  # added
server.add_middleware(Measured())  # added
server.run()  # added
