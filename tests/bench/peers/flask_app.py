"""The Flask application that waitress and gunicorn serve."""

from flask import Flask, jsonify, request

app = Flask(__name__)


@app.get("/hello")
def hello():
    return {"message": "Hello, World!"}


@app.get("/user/<id>")
def user(id):
    return {"id": id, "page": request.args["page"], "sort": request.args["sort"]}


@app.post("/echo")
def echo():
    return jsonify(request.get_json())
