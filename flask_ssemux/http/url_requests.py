"""Asks an application's URL map which endpoint answers a GET request, and makes requests for a URL rule.

No view and no converter of the application is called: a converter may ask a database. Nothing is registered here.
"""

from __future__ import annotations

import itertools
from typing import Any, Collection, Iterator, NamedTuple
from urllib.parse import unquote, urlsplit

from flask import Flask
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, RequestRedirect, Rule

from .hosts import VARIABLE, forget_names

#: Values for the variables of a URL rule. Each of Werkzeug's converters takes at least one of them, except ``any``.
VALUES = ("1", "a", "a/b", "00000000-0000-0000-0000-000000000000")

#: A rule that has more variables than this is only tried with the same value for all of them.
MAX_VARIABLES = 3

#: The maximum number of hosts or subdomains for which each URL is tried.
MAX_DOMAINS = 100

#: The maximum number of redirects that are followed; Werkzeug adds or removes slashes by redirects.
MAX_REDIRECTS = 2


class Request(NamedTuple):
    """A GET request.

    :param domain: its host if the application matches hosts, otherwise its subdomain.
    """

    domain: str
    path: str


class UrlMap:
    """Those URL rules of an application that a GET request may reach, as far as they may meet the wanted endpoints.

    :param wanted: endpoints.
    """

    def __init__(self, app: Flask, wanted: Collection[str]) -> None:
        self._map = app.url_map
        self._key = "host" if app.url_map.host_matching else "subdomain"
        self._has_domains = bool(app.url_map.host_matching or getattr(app, "subdomain_matching", False))
        reachable = [rule for rule in app.url_map.iter_rules() if self._is_reachable(rule)]
        near = _select_near(reachable, [rule for rule in reachable if rule.endpoint in wanted])
        #: The rules of the wanted endpoints that may be for the same URL as another rule, and all such rules.
        self.wanted = [
            rule for rule in near if rule.endpoint in wanted and any(_may_meet(rule, other) for other in near)
        ]
        self.rules = [rule for rule in near if any(rule is other or _may_meet(rule, other) for other in self.wanted)]
        domains = list(dict.fromkeys(self._get_domain(rule) for rule in self.rules))[:MAX_DOMAINS]
        #: Hosts or subdomains of requests, and those of the rules for which they stand.
        self._domains = {_fill_in(domain): domain for domain in domains}
        self._converters = {name: _make_inert(kind) for name, kind in app.url_map.converters.items()}
        is_inert = self._converters == app.url_map.converters
        self._asked = app.url_map if is_inert else self._copy_rules(self.rules)
        self._twins: dict[str, list[Rule]] = {}
        for rule in self.rules:
            self._twins.setdefault(self._make_key(rule), []).append(rule)

    def _is_reachable(self, rule: Rule) -> bool:
        if rule.build_only or getattr(rule, "websocket", False) or "GET" not in (rule.methods or ["GET"]):
            return False
        return self._has_domains or self._get_domain(rule) == self._map.default_subdomain

    def _get_domain(self, rule: Rule) -> str:
        return getattr(rule, self._key) or ""

    def _make_key(self, rule: Rule) -> str:
        return forget_names("%s|%s" % (self._get_domain(rule), rule.rule))

    def find_twins(self, rule: Rule) -> list[Rule]:
        """Return the rules that are for the same URLs, this one included."""
        return self._twins[self._make_key(rule)]

    def find_redirected(self, rule: Rule) -> list[Rule]:
        """Return the rules that differ by a slash at their end, so that Flask would redirect requests to them."""
        return self._twins.get(self._make_key(rule) + "/", [])

    def name_domain(self, domain: str) -> str:
        """Return the words that name the host or subdomain of a request; "" if it is one of all or the default."""
        named = forget_names(self._domains.get(domain, ""))
        is_any = named in ("<default>", self._map.default_subdomain, "")
        return "" if is_any else " on the %s %r" % (self._key, self._domains[domain])

    def make_requests(self, rule: Rule) -> list[Request]:
        """Return requests that the rule would answer if it were alone; none, if its variables cannot be tried."""
        if not rule.arguments:
            return [Request(self._get_domain(rule), rule.rule)]
        alone = self._copy_rules([rule])
        made = list(_build_requests(next(alone.iter_rules())))
        paths = dict.fromkeys(request.path for request in made)
        made += [Request(domain, path) for domain in self._domains for path in paths]
        return [request for request in dict.fromkeys(made) if _match(alone, request) == rule.endpoint]

    def find_endpoint(self, request: Request) -> str | None:
        """Return the endpoint that answers; None if there is none."""
        return _match(self._asked, request)

    def _copy_rules(self, rules: list[Rule]) -> Map:
        known = self._map
        made = Map(
            default_subdomain=known.default_subdomain,
            strict_slashes=known.strict_slashes,
            merge_slashes=known.merge_slashes,
            redirect_defaults=known.redirect_defaults,
            converters=self._converters,
            host_matching=known.host_matching,
        )
        for rule in rules:
            made.add(rule.empty())
        return made


def _get_head(rule: Rule) -> str:
    """Return the text before a rule's first variable, without a slash at its end."""
    return rule.rule.partition("<")[0].rstrip("/")


def _select_near(rules: list[Rule], wanted: list[Rule]) -> list[Rule]:
    """Return the rules that begin as one of the wanted rules does; in time that grows with their number only."""
    heads = {_get_head(rule) for rule in wanted}
    beginnings = {head[:length] for head in heads for length in range(len(head) + 1)}
    with_variables = tuple(_get_head(rule) for rule in wanted if "<" in rule.rule)
    return [
        rule
        for rule in rules
        for head in [_get_head(rule)]
        if head in heads or ("<" in rule.rule and head in beginnings) or head.startswith(with_variables)
    ]


def _may_meet(rule: Rule, other: Rule) -> bool:
    """Return whether two rules may be for the same URL; False only if there is none."""
    if rule is other:
        return False
    head, other_head = _get_head(rule), _get_head(other)
    return (
        head == other_head
        or ("<" in other.rule and head.startswith(other_head))
        or ("<" in rule.rule and other_head.startswith(head))
    )


def _fill_in(domain: str) -> str:
    """Return a host or subdomain for which a rule may be."""
    return VARIABLE.sub(lambda found: "1" if (found.group(1) or "").startswith(("int", "float")) else "a", domain)


def _make_inert(kind: Any) -> Any:
    """Return a converter that matches the same texts, and leaves them as they are."""
    if kind.__module__.startswith("werkzeug."):
        return kind
    return type(kind.__name__, (kind,), {"to_python": lambda _, value: value, "to_url": lambda _, value: value})


def _build_requests(rule: Rule) -> Iterator[Request]:
    """Yield a request for each combination of values that the rule's converters take."""
    names = sorted(rule.arguments - set(rule.defaults or ()))
    is_short = len(names) <= MAX_VARIABLES
    for values in itertools.product(VALUES, repeat=len(names)) if is_short else zip(*[VALUES] * len(names)):
        try:
            built = rule.build(dict(zip(names, values)), append_unknown=False)
        except ValueError:  # of a converter of Werkzeug's, which does not take this value
            continue
        if built is not None:
            yield Request(built[0], unquote(built[1]))


def _match(url_map: Map, request: Request, redirects: int = MAX_REDIRECTS) -> str | None:
    if url_map.host_matching:
        adapter = url_map.bind(request.domain)
    else:
        adapter = url_map.bind("localhost", subdomain=request.domain)
    try:
        return str(adapter.match(request.path, method="GET")[0])
    except RequestRedirect as redirect:
        parts = urlsplit(redirect.new_url)
        if not redirects or parts.netloc != adapter.get_host(None):
            return None
        return _match(url_map, Request(request.domain, unquote(parts.path)), redirects - 1)
    except HTTPException:
        return None
