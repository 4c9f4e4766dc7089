"""Error responses: a page for people, and JSON for programs below ``/api/``.

This file also adds the headers that every page has. It raises no errors itself.
"""

from __future__ import annotations

from flask import current_app, jsonify, render_template, request
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from flask_ssemux.errors import BrokerError, TooManyRuns

from . import runner
from .language import format_limit, translate
from .uploads import Refused

# Scripts, styles and pictures may only come from this server, and no inline script runs.
POLICY = "default-src 'self'; frame-ancestors 'none'; form-action 'self'; base-uri 'none'"

# What a page says of an error that no code of this application describes, by status.
DESCRIPTIONS = {404: "There is no such page.", 405: "This page does not take such a request."}


def init_app(app):
    app.register_error_handler(HTTPException, answer_http_error)
    app.register_error_handler(RequestEntityTooLarge, answer_too_large)
    app.register_error_handler(Refused, answer_refused)
    app.register_error_handler(TooManyRuns, answer_not_started)
    app.register_error_handler(BrokerError, answer_not_started)
    app.after_request(protect_pages)


def answer_http_error(error):
    is_own = error.description != type(error).description
    words = error.description if is_own else DESCRIPTIONS.get(error.code, error.description)
    return make_answer(error.code, translate(words))


def answer_too_large(error):
    limit = current_app.config["MAX_CONTENT_LENGTH"]
    words = "The upload is larger than {size}, the maximum of this page."
    return make_answer(413, translate(words, size=format_limit(limit)))


def answer_refused(error):
    return make_answer(400, translate(error.text, **error.values))


def answer_not_started(error):
    """The run of an upload could not be started: see runner.submit_job."""
    current_app.logger.warning("a job was not started: %s", error)
    words = translate(runner.NOT_STARTED)
    return make_answer(503, f"{words[0].upper()}{words[1:]}.")


def make_answer(status, message):
    """Return the message as JSON or as a page, depending on the URL."""
    if request.path.startswith("/api/"):
        return jsonify(error=message), status
    return render_template("error.html", status=status, message=message), status


def protect_pages(response):
    """Add the headers to pages; the files of the streams set the headers of streams."""
    if response.mimetype == "text/html":
        response.headers.setdefault("Content-Security-Policy", POLICY)
        response.headers["X-Content-Type-Options"] = "nosniff"
    return response
