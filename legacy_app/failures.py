"""Errors as people and programs see them: a page, or JSON below ``/api/``.

Also the headers that every page carries. Raises nothing itself.
"""

from __future__ import annotations

from flask import current_app, jsonify, render_template, request
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from .uploads import Refused

# Scripts, styles and pictures come from here or not at all, and nothing inline runs.
POLICY = "default-src 'self'; frame-ancestors 'none'; form-action 'self'; base-uri 'none'"


def init_app(app):
    app.register_error_handler(HTTPException, http_error)
    app.register_error_handler(RequestEntityTooLarge, too_large)
    app.register_error_handler(Refused, refused)
    app.after_request(protect_pages)


def http_error(error):
    return answer(error.code, error.description)


def too_large(error):
    limit = current_app.config["MAX_CONTENT_LENGTH"]
    return answer(413, f"The upload is larger than {_size(limit)}, which is the most this page takes.")


def refused(error):
    return answer(400, str(error))


def answer(status, message):
    """The message in the form that the client reads."""
    if request.path.startswith("/api/"):
        return jsonify(error=message), status
    return render_template("error.html", status=status, message=message), status


def protect_pages(response):
    """Pages only: the streams send what their own files say."""
    if response.mimetype == "text/html":
        response.headers.setdefault("Content-Security-Policy", POLICY)
        response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def _size(count):
    return f"{count / 1024 / 1024:.3g} MiB" if count >= 1024 * 1024 else f"{count:,} bytes"
