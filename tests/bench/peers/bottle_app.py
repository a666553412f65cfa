"""The Bottle application that waitress serves."""

from bottle import Bottle, request

app = Bottle()


@app.get("/hello")
def hello():
    return {"message": "Hello, World!"}


@app.get("/user/<id>")
def user(id):
    return {"id": id, "page": request.query["page"], "sort": request.query["sort"]}


@app.post("/echo")
def echo():
    return request.json
