"""Serves the extension's URLs on all hosts of an application.

An application that was made with ``host_matching=True`` finds no URL rule without a host, and one with
``subdomain_matching=True`` finds no URL rule without a subdomain on the subdomains of its tenants. So the URL rules of
the extension get a variable for the host or the subdomain there, and views do not see it. Werkzeug prefers a rule for
certain hosts, whatever its path, to a rule for all of them. So where the application has such a rule with variables in
its path, as ``/<path:page>``, the rules of the extension are added for these hosts, too. No views and no URLs here.
"""

from __future__ import annotations

import itertools
import re
from typing import Any

from flask import Flask, current_app, has_request_context, request
from werkzeug.routing import Rule

#: The names of the variables. No application uses these names.
HOST, SUBDOMAIN = "ssemux_host", "ssemux_subdomain"

#: How the names of the variables begin in copies of the rules, which are for hosts like those of the application.
PART = "ssemux_part"

#: A variable in a URL rule: its converter, with the converter's arguments.
VARIABLE = re.compile(r"<(?:([A-Za-z_]\w*(?:\([^<>]*\))?):)?[A-Za-z_]\w*>")


def make_rule_options(app: Flask) -> list[dict[str, Any]]:
    """Return the options of each URL rule that a URL of the extension needs in this application."""
    if app.url_map.host_matching:
        return [{"host": "<%s>" % HOST}]
    if getattr(app, "subdomain_matching", False):
        return [{}, {"subdomain": "<%s>" % SUBDOMAIN}]
    return [{}]


def claim_domains(app: Flask) -> None:
    """Add the URL rules of the extension for each host or subdomain for which the application has a rule of its own.

    Call this again when the application has more rules.
    """
    key = "host" if app.url_map.host_matching else "subdomain"
    rules = list(app.url_map.iter_rules())
    domains = {getattr(rule, key) or "" for rule in rules if "<" in rule.rule}
    taken = {(forget_names(getattr(rule, key) or ""), rule.rule) for rule in rules}
    for rule in rules:
        if rule.arguments & {HOST, SUBDOMAIN}:
            for domain in domains - {""}:
                if (forget_names(domain), rule.rule) not in taken:
                    app.url_map.add(_copy_rule(rule, key, domain))
                    taken.add((forget_names(domain), rule.rule))


def forget_names(text: str) -> str:
    """Return a rule's host, subdomain or path without the names of its variables."""
    return VARIABLE.sub(lambda found: "<%s>" % _get_converter(found), text)


def _get_converter(variable: re.Match[str]) -> str:
    converter = variable.group(1) or "default"
    return "default" if converter == "string" else converter


def _copy_rule(rule: Rule, key: str, domain: str) -> Rule:
    """Return the same rule for this host or subdomain."""
    copy = rule.empty()
    setattr(copy, key, _rename_variables(domain))
    # Flask sets this attribute when it registers a rule.
    copy.provide_automatic_options = getattr(rule, "provide_automatic_options", None)  # type: ignore[attr-defined]
    return copy


def _rename_variables(domain: str) -> str:
    numbers = itertools.count(1)
    return VARIABLE.sub(lambda found: "<%s:%s%d>" % (_get_converter(found), PART, next(numbers)), domain)


def hide_variables(app: Flask) -> None:
    """Keep the variables from views, and fill them in when ``url_for`` builds a URL of the extension."""
    if app.url_map.host_matching or getattr(app, "subdomain_matching", False):
        app.url_value_preprocessor(_drop_variables)
        app.url_defaults(_fill_variables)


def _drop_variables(endpoint: str | None, values: dict[str, Any] | None) -> None:
    if values:
        for name in [name for name in values if name in (HOST, SUBDOMAIN) or name.startswith(PART)]:
            del values[name]


def _fill_variables(endpoint: str, values: dict[str, Any]) -> None:
    """Build the URL for the host that the current request came to."""
    if not has_request_context():
        return
    if current_app.url_map.is_endpoint_expecting(endpoint, HOST):
        values.setdefault(HOST, request.host)
    elif current_app.url_map.is_endpoint_expecting(endpoint, SUBDOMAIN):
        adapter = current_app.create_url_adapter(request)
        if adapter is not None and adapter.subdomain:
            values.setdefault(SUBDOMAIN, adapter.subdomain)
