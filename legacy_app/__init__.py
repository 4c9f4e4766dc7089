"""An old Flask application: visitors upload text and CSV files, and jobs check them.

This file contains only the factory, which sets up the parts. Each part is in a file of its own.
``gunicorn "legacy_app:create_app()"`` runs the application.
"""

from __future__ import annotations

from flask import Flask

from . import (
    api,
    db,
    demo,
    failures,
    language,
    pages,
    queries,
    runner,
    settings,
    stream_after,
    stream_before,
    stream_feed,
    stream_wrapped,
    users,
    watch,
)


def create_app(config=None):
    """Create the application.

    :param config: a mapping of settings, which take precedence over the environment; or None.
    """
    app = Flask(__name__, instance_path=settings.get_instance_path(config))
    settings.load_settings(app, config)
    db.init_app(app)
    runner.init_app(app)
    users.init_app(app)
    language.init_app(app)
    failures.init_app(app)
    app.register_blueprint(pages.bp)
    app.register_blueprint(api.bp)
    app.register_blueprint(stream_before.bp)
    app.register_blueprint(stream_wrapped.bp)
    mux = stream_after.init_app(app)
    stream_feed.init_app(app, mux)
    queries.init_app(app)
    demo.init_app(app)
    watch.init_app(app)
    return app
