"""The lab application with its status page, which everybody but the user `mallory` may see."""

from __future__ import annotations

from flask import Flask, request

from tests.apps import lab, plain


@plain.mux.allow_status
def may_look():
    return request.headers.get("X-User") != "mallory"


def create_app() -> Flask:
    return lab.create_app()
