"""What a handler finds in its request, and when it is computed."""

from _req_client import ask

from pyliteflux import Router, Server

router = Router()


@router.register("/look", method="POST")
def look(request):
    before = sorted({"query_params", "json_data", "form_data", "cookies"} & set(vars(request)))
    return {
        "q": request.query_params.get("q"),
        "all q": request.query_params.getlist("q"),
        "accept": request.headers.get("ACCEPT"),
        "json": request.json_data,
        "text": request.text,
        "computed before": before,
        "computed after": sorted({"query_params", "json_data", "cookies"} & set(vars(request))),
    }


with Server(router, http_port=0, tcp_port=0, info=False) as server:
    fields = {"Content-Type": "application/json", "Accept": "text/html"}
    ask(server, "POST", "/look?q=a&q=b&empty=", "[1, 2]", fields)
    ask(server, "POST", "/look", "[1, 2", fields)
    ask(server, "POST", "/look", "[1, 2", {"Content-Type": "text/plain"})
