"""Asks the application again about one open stream, in a request rebuilt from what was saved of the stream's own.

``identify`` and the rules are asked in a request context, without the functions that run before and after requests:
those count hits and use up rate limits. An application that finds its user there (``flask.g.user``, as in Flask's
tutorial) then gives another answer, or fails; it is asked once more with ``before_request``. Which stream is checked
when, and what follows, is decided in ``reauthorize.py``.
"""

from __future__ import annotations

import io
import json
import sys
import zlib
from typing import Any, Callable, Iterator, Mapping, NamedTuple, Sequence

from flask import Flask
from werkzeug.exceptions import HTTPException

from ..errors import ClientError
from ..hub.stream import Stream
from ..util.request_override import find_override, repeat_override
from .rules import Reader, Rules
from .tickets import restore_ticket

#: Statuses with which an application refuses a request. Others, such as 429 and 503, say nothing about the user.
REFUSALS = (301, 302, 303, 307, 308, 401, 403, 404)

#: The key in the WSGI environment of a rebuilt request; a ``before_request`` function of an application may read it.
RECHECK_KEY = "flask_ssemux.recheck"

#: What a WSGI environment contains besides text (PEP 3333).
_NOT_TEXT = {"wsgi.version": (1, 0), "wsgi.multithread": True, "wsgi.multiprocess": True, "wsgi.run_once": False}


class SavedRequest(NamedTuple):
    """What is kept of a stream's request for as long as the stream is open.

    :param environ: the texts of its WSGI environment, compressed: as they are they would take 3 KB and more.
    :param channels: the channels for which ``authorize`` was asked; None: ``allow_status`` was asked.
    """

    environ: bytes
    channels: Sequence[str] | None

    @classmethod
    def of(cls, environ: Mapping[str, Any], channels: Sequence[str] | None) -> SavedRequest:
        texts = {name: value for name, value in environ.items() if isinstance(value, str)}
        return cls(zlib.compress(json.dumps(texts).encode("ascii"), 1), channels)

    def rebuild(self, stream: Stream) -> dict[str, Any]:
        """Return a WSGI environment like the stream's own, without objects of servers and middleware."""
        texts: dict[str, Any] = json.loads(zlib.decompress(self.environ))
        files = {"wsgi.input": io.BytesIO(), "wsgi.errors": sys.stderr}
        return {**_NOT_TEXT, **texts, **files, **repeat_override(stream), RECHECK_KEY: True}


class Verdict(NamedTuple):
    """The application's answer about a stream.

    :param refusal: why the stream must end; None: it may stay open.
    :param is_by_rules: whether the rules answered for the stream's own user.
    :param with_before: whether ``before_request`` was called, too.
    """

    refusal: str | None
    is_by_rules: bool = False
    with_before: bool = False


class AccessChecker:
    """Asks one application whether a stream may stay open.

    :param report_teardown: takes the error of a teardown function that failed when the verdict was there already.
    """

    def __init__(self, app: Flask, rules: Rules, report_teardown: Callable[[BaseException], None]) -> None:
        self._app = app
        self._rules = rules
        self._report_teardown = report_teardown

    def check_stream(
        self, stream: Stream, saved: SavedRequest, with_before: bool, announce: Callable[[str], None]
    ) -> Verdict:
        """Return whether the stream's user is still the same and may still read its channels.

        :param with_before: an earlier check showed that this stream's user is found in ``before_request``.
        :param announce: called with the name of each function of the application before it is called.
        :raises BaseException: whatever a function of the application raised; there is no verdict.
        """
        first = None
        if not with_before:
            try:
                first = self._check_once(stream, saved, False, announce)
            except Exception:
                if not self._has_before_functions():
                    raise
            if first is not None and (first.refusal is None or not self._has_before_functions()):
                return first
        try:
            return self._check_once(stream, saved, True, announce)
        except Exception:
            if first is not None and first.is_by_rules:
                return first
            raise

    def name_rule(self, channel: str) -> str:
        """Return the name of the rule that is asked about a channel."""
        return "the rule for %r" % self._rules.find_pattern(channel)

    def _has_before_functions(self) -> bool:
        """Return whether any function that may find the user runs before requests."""
        return any(self._app.before_request_funcs.values()) or any(self._app.url_value_preprocessors.values())

    def _check_once(
        self, stream: Stream, saved: SavedRequest, with_before: bool, announce: Callable[[str], None]
    ) -> Verdict:
        verdict: Verdict | None = None
        failure: BaseException | None = None
        environ = saved.rebuild(stream)
        try:
            with self._app.request_context(environ):
                # Caught within the context: Flask keeps a context open for its debugger if an error leaves it.
                try:
                    verdict = self._ask_application(stream, environ, saved.channels, with_before, announce)
                except BaseException as error:
                    failure = error
        except Exception as error:  # of a teardown function, which runs when the verdict is there
            if verdict is None:
                raise
            self._report_teardown(error)
        if verdict is None:
            assert failure is not None
            raise failure
        return verdict._replace(with_before=with_before)

    def _ask_application(
        self,
        stream: Stream,
        environ: Mapping[str, Any],
        channels: Sequence[str] | None,
        with_before: bool,
        announce: Callable[[str], None],
    ) -> Verdict:
        is_same_user = False
        try:
            if with_before:
                announce("before_request")
                answer = self._app.preprocess_request()
                if answer is not None:
                    return Verdict(_describe_refusal(self._app.make_response(answer).status_code))
            announce("identify")
            reader = self._rules.identify_reader(restore_ticket(environ), find_override(environ))
            if reader.user_id != stream.user_id:
                return Verdict("its user is another one now")
            is_same_user = True
            self._ask_rules(reader, channels, announce)
        except ClientError:
            return Verdict("its user may not read it any more", is_same_user)
        except HTTPException as error:
            return Verdict(_describe_refusal(error.code), is_same_user)
        return Verdict(None, True)

    def _ask_rules(self, reader: Reader, channels: Sequence[str] | None, announce: Callable[[str], None]) -> None:
        if channels is None:
            announce("allow_status")
            self._rules.check_status()
        else:
            self._rules.check_channels(reader, self._announce_rules(channels, announce))

    def _announce_rules(self, channels: Sequence[str], announce: Callable[[str], None]) -> Iterator[str]:
        """Yield the channels, and announce the rule of each one before it is asked."""
        for channel in channels:
            announce(self.name_rule(channel))
            yield channel


def _describe_refusal(status: int | None) -> str:
    """Return why an answer with this status ends a stream.

    :raises RuntimeError: such an answer does not end a stream.
    """
    if status not in REFUSALS:
        raise RuntimeError("the application answers %s" % status)
    return "the application answers %s now" % status
