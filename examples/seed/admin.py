"""Who may see /admin: the middleware leaves what it knows in `g`, the handler decides.

Try: ``curl -i -H "Authorization: root" http://127.0.0.1:8000/admin``, and another name.
"""

from pyliteflux import Middleware, Route, Server, g  # added

class AuthMiddleware(Middleware):
    def process_request(self, request):
        token = request.headers.get("Authorization")
        if token:
            g.user = self.authenticate(token)
            g.permissions = self.get_permissions(g.user)
        return None

@Route.register("/admin", method="GET")
def admin_panel(request):
    if not hasattr(g, "permissions") or "admin" not in g.permissions:
        return {"error": "Access denied"}, 403
    return {"message": "Welcome, admin!"}

class Accounts(AuthMiddleware):  # added
    def authenticate(self, token):  # added
        return token  # added
    def get_permissions(self, user):  # added
        return {"admin"} if user == "root" else set()  # added

server = Server()  # added
server.add_middleware(Accounts())  # added
server.run()  # added
