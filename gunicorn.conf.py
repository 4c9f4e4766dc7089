"""How gunicorn runs the example, and a model for a project's own: one line, then what differs.

gunicorn -c gunicorn.conf.py "legacy_app:create_app()"
"""

from flask_ssemux.gunicorn_conf import *  # noqa: F401,F403

bind = "127.0.0.1:8000"
accesslog = "-"
