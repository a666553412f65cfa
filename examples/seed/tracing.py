"""A middleware that gives each request a trace, which the handler adds to."""

import time  # added
import uuid  # added
from pyliteflux import Middleware, Route, Server, g  # added

def process_data():  # added
    return [1, 2, 3]  # added

class TracingMiddleware(Middleware):
    def process_request(self, request):
        g.trace_id = str(uuid.uuid4())
        g.span_id = str(uuid.uuid4())
        g.traces = []
        return None
    
    def process_response(self, request, response):
        if isinstance(response, dict):
            response["trace_id"] = g.trace_id
            response["traces"] = g.traces
        return response

@Route.register("/trace", method="GET")
def traced_endpoint(request):
    g.traces.append({"event": "processing", "time": time.time()})
    result = process_data()
    g.traces.append({"event": "completed", "time": time.time()})
    return {"data": result}

server = Server()  # added
server.add_middleware(TracingMiddleware())  # added
server.run()  # added
