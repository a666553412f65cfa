"""The Flask application that waitress and gunicorn serve."""

from flask import Flask, Response, jsonify, request, send_file

from . import FILE, LARGE, MIDDLEWARES, PIECES

app = Flask(__name__)


@app.get("/hello")
def hello():
    return {"message": "Hello, World!"}


@app.get("/user/<id>")
def user(id):
    return {"id": id}


@app.get("/search")
def search():
    return {"q": request.args["q"], "page": request.args["page"]}


@app.post("/echo")
def echo():
    return jsonify(request.get_json())


@app.get("/large")
def large():
    return Response(LARGE, content_type="text/plain")


@app.get("/stream")
def stream():
    return Response(iter(PIECES), content_type="text/plain")


@app.get("/file")
def file():
    return send_file(FILE)


def add_field(name):
    @app.after_request
    def after(response):
        response.headers[name] = "1"
        return response


for number in range(MIDDLEWARES):
    add_field(f"x-middleware-{number + 1}")
