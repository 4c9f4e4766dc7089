"""The quickstart of Flask-SSE's documentation (flask-sse.readthedocs.io, MIT License), with its configuration page.

The last view is not from there: applications write such views with ``sse.messages``, which the documentation lists.
"""

import os

from flask import Flask, Response, render_template, stream_with_context
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


@app.route("/own")
def own_stream():
    def generate():
        for message in sse.messages():
            yield str(message)

    return Response(stream_with_context(generate()), mimetype="text/event-stream")
