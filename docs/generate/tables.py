"""The tables of the reference that are made from code: options, commands, endpoints, errors of HTTP, metrics.

Each function returns Markdown; ``TABLES`` has the names by which the pages of docs/reference/ ask for them:
``<!-- table: options -->``. The Python API is in ``python_reference.py``, and that of ssemux.js in
``javascript_reference.py``.
"""

from __future__ import annotations

import re
from pathlib import Path

from docstrings import Docstring, convert_inline, write_cell


def write_options() -> str:
    """Return a table of all options with their defaults, and an entry for each, which the search finds by its name."""
    from dataclasses import fields

    from flask_ssemux.options import Options, key_of, list_options

    rows, entries = ["| option | default |", "|---|---|"], []
    allowed = {key_of(option.name): option.metadata["allowed"] for option in fields(Options)}
    for key, default, about in list_options():
        rows.append("| [`%s`](#%s) | %s |" % (key, make_anchor(key), write_cell(default)))
        entries.append("### `%s` { #%s }" % (key, make_anchor(key)))
        entries.append("%s%s." % (about[0].upper(), about[1:]) if about[0] != "`" else about + ".")
        entries.append("Default: %s. Allowed: %s." % (default, allowed[key]))
    return "\n\n".join(["\n".join(rows), *entries])


def make_anchor(name: str) -> str:
    """Return the anchor of an option or a metric: ``SSEMUX_HEARTBEAT`` has ``#ssemux_heartbeat``."""
    return name.lower().replace(" ", "-")


def write_commands() -> str:
    """Return an entry for each command of ``flask ssemux``, as click knows it."""
    import click

    from flask_ssemux.cli import commands

    parts = []
    for name in commands.list_commands(None):
        command = commands.get_command(None, name)
        context = click.Context(command, info_name="flask ssemux " + name)
        parts.append("### `flask ssemux %s` { #%s }" % (name, name))
        parts.append("```console\n$ %s\n```" % command.get_usage(context).replace("Usage: ", ""))
        parts.append(convert_inline(_join_lines(command.help or "")))
        parts.append(_write_parameters(command, context))
    return "\n\n".join(filter(None, parts))


def _write_parameters(command, context) -> str:
    rows = []
    for parameter in command.params:
        if parameter.param_type_name == "option":
            option, about = parameter.get_help_record(context)
            rows.append("| `%s` | %s |" % (write_cell(option), write_cell(about)))
    return "\n".join(["| option | |", "|---|---|", *rows]) if rows else ""


def _join_lines(text: str) -> str:
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))


def write_endpoints() -> str:
    """Return the rules of an application that has everything switched on."""
    from flask import Flask

    import flask_ssemux

    app = Flask("reference")
    app.config.update(SSEMUX_BROKER="memory:")
    mux = flask_ssemux.init_app(app)
    mux.allow_status(lambda: True)
    rows = ["| endpoint | URL | methods |", "|---|---|---|"]
    for rule in app.url_map.iter_rules():
        if rule.endpoint.startswith("ssemux"):
            methods = ", ".join("`%s`" % name for name in sorted(rule.methods - {"OPTIONS"}))
            rows.append("| `%s` | `%s` | %s |" % (rule.endpoint, rule.rule, methods))
    return "\n".join(rows)


def write_refusals() -> str:
    """Return the answers with which a request is refused: status, code and reason."""
    from flask_ssemux import errors

    rows = ["| status | `error` | when |", "|---|---|---|"]
    found = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, errors.ClientError)]
    for each in sorted(found, key=lambda each: (each.status, each.code)):
        if each is not errors.ClientError:
            rows.append("| %d | `%s` | %s |" % (each.status, each.code, Docstring(each.__doc__).summary))
    return "\n".join(rows)


def write_gunicorn_settings() -> str:
    """Return the settings of gunicorn_conf.py with the comments above them. An import of the module would patch."""
    from flask_ssemux import options

    source = Path(options.__file__).with_name("gunicorn_conf.py").read_text(encoding="utf-8")
    rows = ["| setting | value | why |", "|---|---|---|"]
    for about, name, value in re.findall(r"((?:^#: .*\n)+)(\w+) = (.*)$", source, re.M):
        text = " ".join(line[3:] for line in about.splitlines())
        rows.append("| `%s` | `%s` | %s |" % (name, value, write_cell(convert_inline(text))))
    return "\n".join(rows)


def write_metrics() -> str:
    """Return each metric with its type and labels, as prometheus_client collects it from a worker that has all."""
    rows = ["| metric | type | labels | |", "|---|---|---|---|"]
    for family in collect_metrics():
        name = family.name + ("_total" if family.type == "counter" else "")
        labels = sorted({label for sample in family.samples for label in sample.labels})
        shown = ", ".join("`%s`" % label for label in labels)
        rows.append(
            "| `%s`{ #%s } | %s | %s | %s |" % (name, name, family.type, shown, write_cell(family.documentation))
        )
    return "\n".join(rows)


def collect_metrics() -> list:
    from flask_ssemux.status import metrics

    worker = {metric.figure: 1 for metric in metrics._OF_WORKERS}
    totals = {"workers": 1, "users": 1, "channels": 1, "events": 1, "silence": [1], "silence_sum": 1}
    status = {"broker": {"is_reachable": True}, "totals": totals, "silence_bounds": [], "workers": [worker]}
    return list(metrics._Collector(status).collect())


TABLES = {
    "options": write_options,
    "commands": write_commands,
    "endpoints": write_endpoints,
    "refusals": write_refusals,
    "gunicorn": write_gunicorn_settings,
    "metrics": write_metrics,
}
