"""Flask-SQLAlchemy with a pool of two connections: a connection that a stream kept would be noticed at once."""

from __future__ import annotations

import os

from flask import Flask, jsonify, request
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import text

import flask_ssemux
from tests.apps import database

db = SQLAlchemy()
contexts = [0]


class User(db.Model):
    id = db.Column(db.Integer, primary_key=True)
    name = db.Column(db.String(40))


def create_app() -> Flask:
    app = Flask(__name__, instance_path=os.environ["INSTANCE_PATH"])
    database.connect(app, db, pool_size=2)
    with app.app_context():
        if not db.session.query(User).count():
            db.session.add_all(User(id=number, name="user %d" % number) for number in range(5))
            db.session.commit()
    mux = flask_ssemux.SSEMux(app)

    @mux.identify
    def who():
        contexts[0] += 1
        db.session.execute(text("SELECT 1"))
        return db.session.get(User, int(request.args["user"])).id if "user" in request.args else None

    @app.teardown_request
    def gone(error):
        if request.path == "/events":
            contexts[0] -= 1

    @app.route("/ping")
    def ping():
        return jsonify(pid=os.getpid())

    @app.route("/pool")
    def pool():
        return jsonify(checked_out=db.engine.pool.checkedout(), contexts=contexts[0])

    return app
