"""The pages for people: the list of jobs, the login, and the targets of the forms.

All of them work without JavaScript. With JavaScript, page.js sends the uploads and keeps the list current. Programs use
api.py.
"""

from __future__ import annotations

from flask import Blueprint, current_app, redirect, render_template, request, url_for

from . import jobs, language, runner, stream_after, uploads, users

bp = Blueprint("pages", __name__)

HOME = "pages.index"
BACK = {"demo": "demo.page"}  # the page to show after a login, by the query parameter `back`


@bp.route("/")
def index():
    cursor = stream_after.get_cursor()  # before rendering: the stream sends all later changes
    client = "old" if request.args.get("client") == "old" else "new"
    gets_notices = client == "old" and users.get_user()
    return render_template(
        "jobs.html",
        client=client,
        cursor=cursor,
        jobs=jobs.list_public_jobs(),
        listed=jobs.LISTED,
        extensions=",".join(uploads.KINDS),
        max_bytes=current_app.config["MAX_CONTENT_LENGTH"],
        max_size=language.format_limit(current_app.config["MAX_CONTENT_LENGTH"]),
        notices_url=url_for("ssemux.events", last_event_id=cursor) if gets_notices else None,
    )


@bp.route("/jobs", methods=["POST"])
def upload():
    runner.submit_job(uploads.save_upload(), users.get_user())
    return _redirect_home()


@bp.route("/login", methods=["GET"])
def login():
    return render_template("login.html", back=request.args.get("back"))


@bp.route("/login", methods=["POST"])
def log_in():
    name = request.form.get("name", "")
    user = users.find_account(name, request.form.get("password", ""))
    if user is None:
        back = request.args.get("back")
        return render_template("login.html", back=back, name=name, error="No account has this name and password."), 401
    users.log_in(user)
    return redirect(url_for(BACK.get(request.args.get("back"), HOME)), code=303)


@bp.route("/logout", methods=["POST"])
def log_out():
    users.log_out()
    return _redirect_home()


def _redirect_home():
    return redirect(url_for(HOME), code=303)
