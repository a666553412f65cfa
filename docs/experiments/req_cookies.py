"""A login that is remembered in a signed cookie, and somebody who forges it."""

import hmac
import os

from _req_client import ask

from pyliteflux import HTTPError, RedirectResponse, Router, Server

router = Router()
PASSWORDS = {"anna": "correct horse"}  # A real one keeps hashes: hashlib.scrypt.
WEEK = 7 * 24 * 3600  # seconds


@router.register("/login", method="POST")
def login(request):
    user = request.form_data.get("user", "")
    given = request.form_data.get("password", "")
    if not hmac.compare_digest(PASSWORDS.get(user, "").encode(), given.encode()) or not given:
        raise HTTPError(403, "wrong name or password")
    response = RedirectResponse("/me", status=303)
    response.set_cookie("user", request.sign_cookie("user", user), max_age=WEEK)
    return response


@router.get("/me")
def me(request):
    user = request.signed_cookie("user", max_age=WEEK)
    if user is None:
        raise HTTPError(401, "log in first")
    return {"user": user}


@router.register("/logout", method="POST")
def logout(request):
    response = RedirectResponse("/", status=303)
    response.delete_cookie("user")
    return response


FORM = {"Content-Type": "application/x-www-form-urlencoded"}
SECRET = os.environ.get("SHOP_SECRET", "only good enough for an experiment")
server = Server(router, http_port=0, tcp_port=0, info=False, secret_key=SECRET)

with server:
    ask(server, "GET", "/me")
    answer = ask(server, "POST", "/login", "user=anna&password=correct+horse", FORM, ["Location"])
    cookie, _, attributes = answer.headers["Set-Cookie"].partition("; ")
    print(f"{'':34}     Set-Cookie: {cookie.partition('.')[0]}.TIME.MARK; {attributes}")
    ask(server, "GET", "/me", headers={"Cookie": cookie})
    forged = cookie.replace("YW5uYQ", "cm9vdA")  # base64 of "anna", of "root"
    ask(server, "GET", "/me", headers={"Cookie": forged})
    ask(server, "POST", "/logout", show=["Set-Cookie"])
