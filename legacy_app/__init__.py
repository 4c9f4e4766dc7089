"""An old Flask application: text and CSV files are uploaded as jobs and checked.

The factory: a list of which part is set up from what, and nothing else. Every
part is a file of its own. ``gunicorn "legacy_app:create_app()"`` runs it.
"""

from __future__ import annotations

from flask import Flask

from . import (
    api,
    db,
    demo,
    failures,
    pages,
    runner,
    settings,
    stream_after,
    stream_before,
    stream_wrapped,
    users,
    watch,
)


def create_app(config=None):
    """Build the application.

    :param config: settings that come before the environment's, mapping or None.
    """
    app = Flask(__name__, instance_path=settings.instance_path(config))
    settings.load(app, config)
    db.init_app(app)
    runner.init_app(app)
    users.init_app(app)
    failures.init_app(app)
    app.register_blueprint(pages.bp)
    app.register_blueprint(api.bp)
    app.register_blueprint(stream_before.bp)
    app.register_blueprint(stream_wrapped.bp)
    stream_after.init_app(app)
    demo.init_app(app)
    watch.init_app(app)
    return app
