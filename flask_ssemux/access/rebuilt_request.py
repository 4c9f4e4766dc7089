"""The application asked again about one open stream, in a request rebuilt from what was kept of the stream's own.

``identify`` and the rules are asked in a request context, without what runs before and after requests: those functions
count hits and use up rate limits. An application whose user is found there (``flask.g.user``, as in Flask's tutorial)
gives another answer without them, or none; it is asked once more with ``before_request``. Which stream is asked when,
and what follows, is ``reauthorize.py``'s.
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
from ..util.request_override import repeat_override
from .rules import Rules, text_of

#: Answers of an application that would not have let the stream begin; others, such as 429 and 503, say nothing of it.
NO = (301, 302, 303, 307, 308, 401, 403, 404)

#: In the environment of a request that only asks again: an application's ``before_request`` may look for it.
KEY = "flask_ssemux.recheck"

#: What a WSGI environment has besides text (PEP 3333).
_REST = {"wsgi.version": (1, 0), "wsgi.multithread": True, "wsgi.multiprocess": True, "wsgi.run_once": False}


class Question(NamedTuple):
    """What is kept of a stream's request.

    :param environ: the texts of its WSGI environment, packed: as they are they would take 3 KB and more.
    :param channels: those that ``authorize`` was asked for; None: ``allow_status`` was.
    """

    environ: bytes
    channels: Sequence[str] | None

    @classmethod
    def of(cls, environ: Mapping[str, Any], channels: Sequence[str] | None) -> Question:
        texts = {name: value for name, value in environ.items() if isinstance(value, str)}
        return cls(zlib.compress(json.dumps(texts).encode("ascii"), 1), channels)

    def rebuilt(self, stream: Stream) -> dict[str, Any]:
        """A WSGI environment like the stream's own. Objects that a server or middleware put there are gone."""
        texts: dict[str, Any] = json.loads(zlib.decompress(self.environ))
        streams = {"wsgi.input": io.BytesIO(), "wsgi.errors": sys.stderr}
        return {**_REST, **texts, **streams, **repeat_override(stream), KEY: True}


class Answer(NamedTuple):
    """What the application said.

    :param why: why the stream must end; None: it may go on.
    :param is_firm: whether the rules said so of the stream's own user.
    :param with_before: whether ``before_request`` was asked, too.
    """

    why: str | None
    is_firm: bool = False
    with_before: bool = False


class Asker:
    """Asks an application.

    :param report: takes what a teardown function raised when the answer was there already.
    """

    def __init__(self, app: Flask, rules: Rules, report: Callable[[BaseException], None]) -> None:
        self._app = app
        self._rules = rules
        self._report = report

    def ask(self, stream: Stream, question: Question, with_before: bool, at: Callable[[str], None]) -> Answer:
        """Ask who reads this stream now, and whether they may.

        :param with_before: it was found out before that this stream's user is found in ``before_request``.
        :param at: told what is asked, before it is.
        :raises BaseException: nobody can tell; whatever a function of the application raised.
        """
        first = None
        if not with_before:
            try:
                first = self._ask(stream, question, False, at)
            except Exception:
                if not self._has_before():
                    raise
            if first is not None and (first.why is None or not self._has_before()):
                return first
        try:
            return self._ask(stream, question, True, at)
        except Exception:
            if first is not None and first.is_firm:
                return first
            raise

    def _has_before(self) -> bool:
        """Whether anything runs before requests that may find their user."""
        return any(self._app.before_request_funcs.values()) or any(self._app.url_value_preprocessors.values())

    def _ask(self, stream: Stream, question: Question, with_before: bool, at: Callable[[str], None]) -> Answer:
        answer: Answer | None = None
        failure: BaseException | None = None
        try:
            with self._app.request_context(question.rebuilt(stream)):
                # Within the context: Flask keeps one open for its debugger, if an error leaves it.
                try:
                    answer = self._answer(stream, question.channels, with_before, at)
                except BaseException as error:
                    failure = error
        except Exception as error:  # of what tears the context down, which begins when the answer is there
            if answer is None:
                raise
            self._report(error)
        if answer is None:
            assert failure is not None
            raise failure
        return answer._replace(with_before=with_before)

    def _answer(
        self, stream: Stream, channels: Sequence[str] | None, with_before: bool, at: Callable[[str], None]
    ) -> Answer:
        is_known = False
        try:
            if with_before:
                at("before_request")
                answer = self._app.preprocess_request()
                if answer is not None:
                    return Answer(_reason(self._app.make_response(answer).status_code))
            at("identify")
            user = self._rules.user()
            if text_of(user) != stream.user_id:
                return Answer("its user is another one now")
            is_known = True
            self._check(user, channels, at)
        except ClientError:
            return Answer("its user may not read it any more", is_known)
        except HTTPException as error:
            return Answer(_reason(error.code), is_known)
        return Answer(None, True)

    def _check(self, user: Any, channels: Sequence[str] | None, at: Callable[[str], None]) -> None:
        if channels is None:
            at("allow_status")
            self._rules.check_status()
        else:
            self._rules.check(user, self._told(channels, at))

    def _told(self, channels: Sequence[str], at: Callable[[str], None]) -> Iterator[str]:
        """The channels, each of them told when its rule is asked."""
        for channel in channels:
            at(self.rule_of(channel))
            yield channel

    def rule_of(self, channel: str) -> str:
        """The name of what is asked about a channel."""
        return "the rule for %r" % self._rules.rule_of(channel)


def _reason(status: int | None) -> str:
    """Why such an answer ends a stream.

    :raises RuntimeError: it does not.
    """
    if status not in NO:
        raise RuntimeError("the application answers %s" % status)
    return "the application answers %s now" % status
