"""The quickstart of Flask-SSE's documentation (flask-sse.readthedocs.io, MIT License), with its configuration page."""

import os

from flask import Flask, render_template
from flask_sse import sse

app = Flask(__name__)
app.config["REDIS_URL"] = os.environ.get("REDIS_URL")
app.register_blueprint(sse, url_prefix="/stream")


@app.route("/")
def index():
    return render_template("index.html")


@app.route("/hello")
def publish_hello():
    sse.publish({"message": "Hello!"}, type="greeting")
    return "Message sent!"
