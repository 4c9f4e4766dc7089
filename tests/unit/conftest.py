"""What the unit tests share: a clean environment, hypothesis without a clock, applications on a broker of their own."""

from __future__ import annotations

import os

import flask
import pytest
from hypothesis import settings

import flask_ssemux
from flask_ssemux import testing

settings.register_profile("unit", deadline=None, database=None)
settings.load_profile("unit")


@pytest.fixture(autouse=True)
def no_options_in_the_environment(monkeypatch):
    for key in [key for key in os.environ if key.startswith("SSEMUX_")]:
        monkeypatch.delenv(key)


@pytest.fixture
def bare_app(tmp_path):
    """bare_app(SSEMUX_…=…): an application without the extension; its instance folder belongs to the test."""

    def make(name="shop", **config):
        app = flask.Flask(name, instance_path=str(tmp_path / name))
        app.config.update(config)
        return app

    return make


@pytest.fixture
def make_app(bare_app):
    """make_app(mux=None, SSEMUX_…=…): an application with the extension, closed after the test."""
    made = []

    def make(mux=None, name="shop", **config):
        app = bare_app(name, **{"SSEMUX_BROKER": "memory:", **config})
        (mux or flask_ssemux.SSEMux()).init_app(app)
        made.append(app)
        return app

    yield make
    for app in made:
        testing.close(app)
