"""The pages for people: the jobs, the log-in, and the forms' posts.

All of them work without JavaScript; with it, page.js takes over the upload
and keeps the list live. Programs use api.py.
"""

from __future__ import annotations

from flask import Blueprint, current_app, redirect, render_template, request, url_for

from . import jobs, runner, stream_after, uploads, users

bp = Blueprint("pages", __name__)


@bp.route("/")
def index():
    return render_template(
        "jobs.html",
        jobs=jobs.public_list(),
        listed=jobs.LISTED,
        extensions=",".join(uploads.KINDS),
        max_bytes=current_app.config["MAX_CONTENT_LENGTH"],
        notices_url=stream_after.notices_url() if users.current() else None,
    )


@bp.route("/jobs", methods=["POST"])
def upload():
    runner.submit(uploads.take(), users.current())
    return _home()


@bp.route("/login", methods=["GET"])
def login():
    return render_template("login.html")


@bp.route("/login", methods=["POST"])
def log_in():
    name = request.form.get("name", "")
    user = users.check(name, request.form.get("password", ""))
    if user is None:
        return render_template("login.html", name=name, error="No account has this name and password."), 401
    users.log_in(user)
    return _home()


@bp.route("/logout", methods=["POST"])
def log_out():
    users.log_out()
    return _home()


def _home():
    return redirect(url_for("pages.index"), code=303)
