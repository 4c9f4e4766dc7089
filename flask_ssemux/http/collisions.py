"""Finds URLs for which flask_ssemux has an endpoint, and the application another one: one of the two gets no request.

Werkzeug serves one of them, and reports nothing about the other; which one often depends on the order of registration.
So the URL map itself is asked which endpoint answers a GET request (``url_requests.py``). An endpoint that only takes
what no other one takes, such as that of ``/<path:page>``, does no harm. Nothing is registered here.
"""

from __future__ import annotations

from typing import Iterator, NamedTuple

from flask import Flask
from werkzeug.routing import Rule

from ..state import ApplicationState
from .url_requests import Request, UrlMap


class Collision(NamedTuple):
    """An endpoint that another endpoint takes requests from.

    :param url: as in the URL rule, if all requests are taken; otherwise one that is taken.
    :param served: the endpoint that answers these requests.
    :param hidden: the endpoint that does not get them.
    :param is_whole: whether the hidden endpoint gets no request for this URL rule at all.
    :param advice: what to do.
    """

    url: str
    served: str
    hidden: str
    is_whole: bool
    advice: str

    def __str__(self) -> str:
        return "GET %s is answered by the endpoint %r, and the endpoint %r %s: %s" % (
            self.url, self.served, self.hidden,
            "for the same URL gets no request" if self.is_whole else "does not get all of its requests", self.advice,
        )  # fmt: skip


def find_collisions(app: Flask, state: ApplicationState) -> list[Collision]:
    """Return the collisions among the URL rules that the application has by now."""
    return list(dict.fromkeys(_Finder(app, state).find_collisions()))


class _Finder:
    def __init__(self, app: Flask, state: ApplicationState) -> None:
        self._views = app.view_functions
        self._streams = {endpoint for endpoint, view in app.view_functions.items() if view in state.views}
        own = self._streams | state.page_endpoints
        own |= {endpoint for endpoint in app.view_functions if endpoint.startswith("ssemux.")}
        self._own = own
        self._url_map = UrlMap(app, own)

    def find_collisions(self) -> Iterator[Collision]:
        """Yield who takes requests from our endpoints, and from whom our endpoints take all requests, or a redirect."""
        for rule in self._url_map.wanted:
            yield from self._find_takers(rule)
            yield from self._find_redirected(rule)
            for rival in self._url_map.find_twins(rule):
                if rival.endpoint not in self._own:
                    takers = self._find_takers(rival)
                    yield from (taken for taken in takers if taken.is_whole and taken.served in self._own)

    def _find_redirected(self, rule: Rule) -> Iterator[Collision]:
        """Yield from whom a rule takes a redirect: without it, Flask sends a request for /events to /events/."""
        for rival in self._url_map.find_redirected(rule):
            if rival.endpoint not in self._own:
                yield self._describe(rule.rule, rule.endpoint, rival, False)

    def _find_takers(self, rule: Rule) -> Iterator[Collision]:
        """Yield which other endpoints answer requests for the URLs of this rule."""
        requests = self._url_map.make_requests(rule)
        takers = {request: self._find_taker(request, rule) for request in requests}
        if not requests:  # two rules for the same URLs: Werkzeug prefers the first one
            first = self._url_map.find_twins(rule)[0].endpoint
            if self._is_other(first, rule):
                yield self._describe(rule.rule, first, rule, True)
        elif all(takers.values()):
            yield self._describe(rule.rule, str(takers[requests[0]]), rule, True)
        else:
            for domain in dict.fromkeys(request.domain for request in requests):
                found = {request: taker for request, taker in takers.items() if request.domain == domain}
                yield from self._compare_domain(rule, domain, found)

    def _compare_domain(self, rule: Rule, domain: str, takers: dict[Request, str | None]) -> Iterator[Collision]:
        """Yield which endpoint takes requests on one host or subdomain."""
        is_whole = all(takers.values())
        for request, taker in takers.items():
            if taker is not None:
                url = rule.rule if is_whole else request.path
                yield self._describe(url + self._url_map.name_domain(domain), taker, rule, is_whole)
                break

    def _find_taker(self, request: Request, rule: Rule) -> str | None:
        """Return the endpoint that answers this request, if that is not the rule's own."""
        endpoint = self._url_map.find_endpoint(request)
        return endpoint if endpoint is not None and self._is_other(endpoint, rule) else None

    def _is_other(self, endpoint: str, rule: Rule) -> bool:
        return endpoint != rule.endpoint and self._views.get(endpoint) is not self._views.get(rule.endpoint)

    def _describe(self, url: str, served: str, rule: Rule, is_whole: bool) -> Collision:
        if self._streams & {served, rule.endpoint}:
            advice = "remove one of the two, or call add_stream with another URL"
        else:
            advice = (
                "set SSEMUX_URL to a path that no other endpoint has, for example SSEMUX_URL = '/ssemux/events', or "
                "change the URL of the other endpoint"
            )
        return Collision(url, served, rule.endpoint, is_whole, advice)
