"""Loads the application for ``flask ssemux doctor``, which also runs if there is none, or if it cannot be loaded."""

from __future__ import annotations

import click
from flask.cli import NoAppException, ScriptInfo

from ..errors import SSEMuxError
from ..state import KEY
from .command import FoundApplication
from .report import FAIL, Advice, Check

WHY_NO_KEY = "%s, whose SECRET_KEY a probe needs"


def load_application(context: click.Context) -> FoundApplication:
    """Return the application that ``flask`` finds, if it can be loaded."""
    try:
        app = context.ensure_object(ScriptInfo).load_app()
    except NoAppException as error:
        text = "Name it as for every command of `flask`: FLASK_APP, or `flask --app shop:create_app ssemux doctor`."
        said = "there is no application here: %s" % " ".join(str(error).split("\n\n")[0].split())
        trouble = Check("application", FAIL, said, (Advice(text),))
        return FoundApplication(trouble=trouble, why_no_key=WHY_NO_KEY % "there is no application here")
    except Exception as error:  # whatever the application's own code raises
        why = "the application cannot be loaded"
        kind = "" if isinstance(error, SSEMuxError) else "%s: " % type(error).__name__
        text = "The server does not start either. `flask routes` shows where this was raised."
        said = "%s: %s%s" % (why, kind, error)
        return FoundApplication(trouble=Check("application", FAIL, said, (Advice(text),)), why_no_key=WHY_NO_KEY % why)
    return FoundApplication(app, app.extensions.get(KEY))
