"""An application whose users and rights are in a database and change: Flask-SQLAlchemy with a pool of one connection.

A client has a session key (the header X-Key, or `key`), which is looked up before each request and gives `g.user`, as
in Flask's tutorial. A user may read `room:<name>` if a right says so. The rule raises while there is a right "broken",
and blocks while there is a right "room:<name> hangs".
"""

from __future__ import annotations

import os
import time

from flask import Flask, g, jsonify, request
from flask_sqlalchemy import SQLAlchemy

import flask_ssemux
from tests.apps import database

db = SQLAlchemy()
asked = {"identify": 0, "authorize": 0}


class Key(db.Model):
    key = db.Column(db.String(40), primary_key=True)
    user = db.Column(db.String(40))


class Right(db.Model):
    name = db.Column(db.String(80), primary_key=True)


def create_app() -> Flask:
    app = Flask(__name__, instance_path=os.environ["INSTANCE_PATH"])
    database.connect(app, db, pool_size=1)
    mux = flask_ssemux.SSEMux(app)

    @app.before_request
    def load_user():
        key = request.headers.get("X-Key") or request.args.get("key")
        found = db.session.get(Key, key) if key else None
        g.user = found.user if found else None

    @mux.identify
    def who():
        asked["identify"] += 1
        return g.user

    @mux.authorize("room:<name>")
    def may_read(user_id, name):
        asked["authorize"] += 1
        if db.session.get(Right, "broken") is not None:
            raise RuntimeError("the rule's database is away")
        if db.session.get(Right, "room:%s hangs" % name) is not None:
            db.session.remove()
            time.sleep(3600)
        return db.session.get(Right, "%s in room:%s" % (user_id, name)) is not None

    @app.route("/change", methods=["POST"])
    def change():
        """Take JSON: `keys` {key: user or null}, and `give` and `take`, which are lists of rights."""
        wanted = request.get_json()
        for key, user in wanted.get("keys", {}).items():
            db.session.merge(Key(key=key, user=user))
        for name in wanted.get("give", ()):
            db.session.merge(Right(name=name))
        for name in wanted.get("take", ()):
            db.session.delete(db.session.get(Right, name))
        db.session.commit()
        return jsonify(pid=os.getpid())

    @app.route("/disconnect", methods=["POST"])
    def disconnect():
        return jsonify(cursor=mux.disconnect(**request.get_json()))

    @app.route("/revoke", methods=["POST"])
    def revoke():
        return jsonify(cursor=mux.revoke(**request.get_json()))

    @app.route("/publish", methods=["POST"])
    def publish():
        wanted = request.get_json()
        return jsonify(cursor=mux.publish(wanted["channel"], wanted["data"], wanted.get("event")))

    @app.route("/ping")
    def ping():
        return jsonify(pid=os.getpid(), asked=asked, checked_out=db.engine.pool.checkedout())

    return app
