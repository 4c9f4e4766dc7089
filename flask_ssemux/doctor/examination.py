"""One run against a URL: which requests are made, when, and how long is waited. Nothing is judged here.

All that needs time runs at once, so that a run takes one heartbeat and a few seconds.
"""

from __future__ import annotations

import time
from typing import Any, Callable, NamedTuple
from urllib.parse import urlencode, urljoin, urlsplit, urlunsplit

from ..http.probe import EVENT, PARAMETER, SILENCE, Plan
from ..sse.encode import OWN_PREFIX
from .call import Call, Caller, protocol_of
from .frames import Frame

HELLO, RESET, PROBED = (OWN_PREFIX + name for name in ("hello", "reset", EVENT))

#: Timed frames of a probe: they take two seconds.
FRAMES = 6

#: Redirects that are followed; browsers follow 20.
REDIRECTS = 5

#: A cursor that is nobody's: a stream that hears of it answers with ssemux.reset.
STRANGE_CURSOR = "ssemux-doctor"

#: Seconds that an event may be late for reasons that are nobody's fault.
GRACE = 2.0


class Asked(NamedTuple):
    """What the user asked for.

    :param timeout: the most seconds to wait for headers, for a first byte; and how long a stream that does not say what
        its heartbeat is is watched.
    :param secret_key: of the application; None: no probes.
    :param progress: called with what is waited for, again and again.
    """

    url: str
    caller: Caller
    timeout: float
    secret_key: Any
    progress: Callable[[str], None]


class Seen:
    """What came of all requests. A request that was not made is None."""

    def __init__(self, asked: Asked) -> None:
        self.asked = asked
        self.url = asked.url
        self.redirects: list[str] = []
        #: As a browser's.
        self.main: Call
        #: That nothing holds back: to HEAD; or of another page, where a stream answers HEAD as it does GET.
        self.head: Call | None = None
        self.protocol: str | None = None
        #: The stream's probe of timed frames, and of one silence; the same one twice.
        self.flow: Call | None = None
        self.quiet: Call | None = None
        self.twins: list[Call] = []
        self.why_no_probe = ""
        #: A second stream without compression, beside so many others.
        self.second: Call | None = None
        self.others = 0
        #: With the cursor that the hello gave, and with a strange one.
        self.resumed: Call | None = None
        self.strange: Call | None = None

    @property
    def hello(self) -> Frame | None:
        """The greeting of a stream of ours, which says how long it may be silent."""
        return next((frame for frame in self.main.events(HELLO) if _heartbeat_in(frame)), None)

    @property
    def heartbeat(self) -> float:
        """Of a stream of ours: its longest silence, in seconds."""
        return _heartbeat_in(self.hello) if self.hello else 0.0

    @property
    def is_probed(self) -> bool:
        """Whether the stream gives probes: it is ours, has our key, and a frame came."""
        return self.flow is not None and bool(self.flow.events(PROBED))

    @property
    def headers(self) -> dict[str, str]:
        """Of the answer, or of that to HEAD, where it is not held back."""
        return self.main.headers or (self.head.headers if self.head else {})


def examine(asked: Asked) -> Seen:
    """Make the requests. Every wait is bounded."""
    run = _Run(asked)
    try:
        run.all()
    finally:
        for call in run.calls:
            call.close()
        for call in run.calls:
            call.join()
    return run.seen


class _Run:
    def __init__(self, asked: Asked) -> None:
        self.asked = asked
        self.seen = Seen(asked)
        self.calls: list[Call] = []

    def all(self) -> None:
        self._first()
        seen = self.seen
        if not seen.main.status and seen.is_probed:
            self._twins()  # short enough to come whole through what holds a stream back
        if not seen.main.is_stream or not self._wait("the first byte", lambda: seen.main.times or seen.main.is_over):
            return
        # The greeting is with the first bytes, if there is one.
        self._wait("the first event", lambda: seen.main.frames or seen.main.is_over, GRACE)
        seen.others = 1 + (seen.flow is not None and not seen.flow.is_over)
        seen.second = self._call(Accept_Encoding="identity")
        if seen.hello:
            self._ours()
        else:
            self._another_kind()

    def _first(self) -> None:
        """Find the stream, and who is there."""
        seen = self.seen
        self._open()
        while seen.main.status in (301, 302, 303, 307, 308) and len(seen.redirects) < REDIRECTS:
            url = urljoin(seen.url, seen.main.headers.get("location", ""))
            if urlsplit(url).scheme not in ("http", "https"):
                break
            seen.redirects.append(url)
            seen.url = url
            self._open()
        if seen.main.status and not seen.main.is_stream:
            self._wait("the answer's text", lambda: seen.main.is_over, GRACE)
        if seen.main.asked_at:
            seen.protocol = protocol_of(seen.url, self.asked.caller)

    def _open(self) -> None:
        """The stream, its probe, and a request that nothing holds back, all at once."""
        seen = self.seen
        for call in self.calls:
            call.close()
        main = seen.main = self._call()
        self._wait("a connection", lambda: main.asked_at or main.is_over, self.asked.timeout + GRACE)
        if not main.asked_at or (main.is_over and not main.status):
            return
        head = seen.head = self._head()
        seen.flow = self._probe(Plan(FRAMES))
        self._wait("the headers", self._has_answered)
        if not main.status and not head.status:  # a stream may also answer HEAD as it does GET
            page = seen.head = self._call(urljoin(seen.url, "/"))
            self._wait("another page", lambda: page.status or page.is_over, GRACE)

    def _has_answered(self) -> bool:
        """Or will not: its probe, begun beside it, came whole already."""
        main, flow = self.seen.main, self.seen.flow
        if main.headers_at or main.is_over:
            return True
        return bool(flow and flow.ended_at and flow.events(PROBED) and time.monotonic() > flow.ended_at + GRACE / 2)

    def _ours(self) -> None:
        seen, main = self.seen, self.seen.main
        heartbeat = seen.heartbeat
        began = time.monotonic()
        seen.quiet = self._probe(Plan(silence=heartbeat))
        seen.resumed = self._call(Last_Event_ID=seen.hello.id if seen.hello else "")
        seen.strange = self._call(Last_Event_ID=STRANGE_CURSOR)
        self._twins()
        opened = [call for call in (seen.second, seen.resumed, seen.strange) if call]
        self._wait("the other streams", lambda: all(call.events(HELLO) or call.is_over for call in opened))
        for call in (seen.resumed, seen.strange):
            call.close()
        flow, quiet = seen.flow, seen.quiet
        if flow:
            self._wait("the probe's frames", lambda: flow.is_over)
        if not seen.is_probed:
            seen.quiet = quiet = None
        longest = (min(heartbeat, SILENCE) if quiet else heartbeat * 1.25) + GRACE

        def has_beaten() -> bool:
            return _has_beaten(main) and (quiet is None or quiet.is_over)

        self._wait("the heartbeat", has_beaten, longest - (time.monotonic() - began))

    def _twins(self) -> None:
        """A probe twice, one after the other, by one URL."""
        first = self._probe(Plan())
        if first:
            self.seen.twins = [first]
            self._wait("a short probe", lambda: first.is_over)
            self.seen.twins.append(self._call(first.url))
            self._wait("a short probe", lambda: self.seen.twins[1].is_over)

    def _another_kind(self) -> None:
        """A stream that says nothing of itself: watch it."""
        main, second = self.seen.main, self.seen.second
        if self.seen.flow:
            self.seen.flow.close()
        self.seen.flow = None
        until = time.monotonic() + self.asked.timeout
        self._wait("a second stream", lambda: bool(second and (second.times or second.is_over)))
        if second:
            second.close()
        self._wait("what comes", lambda: main.is_over, until - time.monotonic())

    # ----------------------------------------------------------------------

    def _call(self, url: str = "", method: str = "GET", **headers: str) -> Call:
        caller = self.asked.caller if self._is_home else self.asked.caller._replace(headers={})
        made = caller.call(url or self.seen.url, method, **headers)
        self.calls.append(made)
        return made

    @property
    def _is_home(self) -> bool:
        """Still at the host that the user named: only there go cookies and tokens."""
        return urlsplit(self.seen.url).hostname == urlsplit(self.asked.url).hostname

    def _head(self) -> Call:
        """As browsers of today ask; of what they take, this client reads gzip and deflate."""
        return self._call(method="HEAD", Accept_Encoding="gzip, deflate, br, zstd")

    def _probe(self, plan: Plan) -> Call | None:
        if not self.asked.secret_key:
            self.seen.why_no_probe = "this application has no SECRET_KEY to ask for them with"
            return None
        if not self._is_home:
            self.seen.why_no_probe = "the stream is on another host than the URL"
            return None
        parts = urlsplit(self.seen.url)
        query = "&".join(filter(None, [parts.query, urlencode({PARAMETER: plan.token(self.asked.secret_key)})]))
        return self._call(urlunsplit(parts._replace(query=query)))

    def _wait(self, what: str, check: Callable[[], Any], seconds: float | None = None) -> bool:
        """Wait until it is so; whether it is."""
        seconds = self.asked.timeout if seconds is None else seconds
        began = time.monotonic()
        while not check():
            waited = time.monotonic() - began
            if waited > seconds:
                return False
            self.asked.progress("waiting for %s: %.0f of %.0f s" % (what, waited, seconds))
            time.sleep(0.02)
        return True


def _heartbeat_in(hello: Frame) -> float:
    said = hello.json().get("heartbeat")
    return float(said) if isinstance(said, (int, float)) and 0 < said < 1e6 else 0.0


def _has_beaten(main: Call) -> bool:
    """Whether anything came after the first frames, or never will."""
    return main.is_over or any(frame.comment == "heartbeat" or frame.at > main.times[0] + 0.3 for frame in main.frames)
