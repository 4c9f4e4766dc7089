"""Serves the extension's URLs on all hosts of an application.

An application that was made with ``host_matching=True`` finds no URL rule without a host, and one with
``subdomain_matching=True`` finds no URL rule without a subdomain on the subdomains of its tenants. So the URL rules of
the extension get a variable for the host or the subdomain there, and views do not see it. Werkzeug prefers a rule for
one host, whatever its path, to a rule with such a variable. So where the application has a rule for one host with
variables in its path, such as ``/<path:page>``, the rules of the extension are added for this host, too. No views and
no URLs here.
"""

from __future__ import annotations

from typing import Any

from flask import Flask, current_app, has_request_context, request
from werkzeug.routing import Rule

#: The names of the variables. No application uses these names.
HOST, SUBDOMAIN = "ssemux_host", "ssemux_subdomain"


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
    domains = {getattr(rule, key) for rule in rules if "<" in rule.rule and "<" not in (getattr(rule, key) or "<")}
    taken = {(getattr(rule, key), rule.rule) for rule in rules}
    for rule in rules:
        if rule.arguments & {HOST, SUBDOMAIN}:
            for domain in domains:
                if (domain, rule.rule) not in taken:
                    app.url_map.add(_copy_rule(rule, key, domain))


def _copy_rule(rule: Rule, key: str, domain: str) -> Rule:
    copy = rule.empty()
    setattr(copy, key, domain)
    # Flask sets this attribute when it registers a rule.
    copy.provide_automatic_options = getattr(rule, "provide_automatic_options", None)  # type: ignore[attr-defined]
    return copy


def hide_variables(app: Flask) -> None:
    """Keep the variables from views, and fill them in when ``url_for`` builds a URL of the extension."""
    if app.url_map.host_matching or getattr(app, "subdomain_matching", False):
        app.url_value_preprocessor(_drop_variables)
        app.url_defaults(_fill_variables)


def _drop_variables(endpoint: str | None, values: dict[str, Any] | None) -> None:
    if values:
        values.pop(HOST, None)
        values.pop(SUBDOMAIN, None)


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
