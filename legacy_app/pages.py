"""The pages for people: the jobs, the log-in, and the forms' posts.

All of them work without JavaScript; with it, page.js takes over the upload
and keeps the list live. Programs use api.py.
"""

from __future__ import annotations

from flask import Blueprint, current_app, redirect, render_template, request, url_for

from . import jobs, runner, stream_after, uploads, users

bp = Blueprint("pages", __name__)

HOME = "pages.index"
BACK = {"demo": "demo.page"}  # where a log-in leads, by the query's `back`


@bp.route("/")
def index():
    cursor = stream_after.cursor()  # first: what changes while the page is rendered comes over the stream
    client = "old" if request.args.get("client") == "old" else "new"
    is_told = client == "old" and users.current()
    return render_template(
        "jobs.html",
        client=client,
        cursor=cursor,
        jobs=jobs.public_list(),
        listed=jobs.LISTED,
        extensions=",".join(uploads.KINDS),
        max_bytes=current_app.config["MAX_CONTENT_LENGTH"],
        notices_url=url_for("ssemux.events", last_event_id=cursor) if is_told else None,
    )


@bp.route("/jobs", methods=["POST"])
def upload():
    runner.submit(uploads.take(), users.current())
    return _home()


@bp.route("/login", methods=["GET"])
def login():
    return render_template("login.html", back=request.args.get("back"))


@bp.route("/login", methods=["POST"])
def log_in():
    name = request.form.get("name", "")
    user = users.check(name, request.form.get("password", ""))
    if user is None:
        back = request.args.get("back")
        return render_template("login.html", back=back, name=name, error="No account has this name and password."), 401
    users.log_in(user)
    return redirect(url_for(BACK.get(request.args.get("back"), HOME)), code=303)


@bp.route("/logout", methods=["POST"])
def log_out():
    users.log_out()
    return _home()


def _home():
    return redirect(url_for(HOME), code=303)
