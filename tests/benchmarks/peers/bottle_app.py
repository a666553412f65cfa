"""The Bottle application that waitress serves."""

import os

from bottle import Bottle, request, response, static_file

from . import FILE, LARGE, MIDDLEWARES, PIECES

app = Bottle()


@app.get("/hello")
def hello():
    return {"message": "Hello, World!"}


@app.get("/user/<id>")
def user(id):
    return {"id": id}


@app.get("/search")
def search():
    return {"q": request.query["q"], "page": request.query["page"]}


@app.post("/echo")
def echo():
    return request.json


@app.get("/large")
def large():
    response.content_type = "text/plain"
    return LARGE


@app.get("/stream")
def stream():
    response.content_type = "text/plain"
    return iter(PIECES)


@app.get("/file")
def file():
    return static_file(os.path.basename(FILE), root=os.path.dirname(FILE))


def add_field(name):
    def plugin(callback):
        def wrapper(*arguments, **options):
            body = callback(*arguments, **options)
            response.set_header(name, "1")
            return body

        return wrapper

    return plugin


for number in range(MIDDLEWARES):
    app.install(add_field(f"x-middleware-{number + 1}"))
