"""Makes the requests of one run against a URL, and waits for the responses. Nothing is judged here.

Requests that take long run at the same time, so that a run takes one heartbeat and a few seconds.
"""

from __future__ import annotations

import time
from typing import Any, Callable, NamedTuple
from urllib.parse import urlencode, urljoin, urlsplit, urlunsplit

from ..http.probe import EVENT, PARAMETER, SILENCE, Plan
from ..sse.encode import OWN_PREFIX
from .call import Call, Caller, negotiate_protocol
from .frames import Frame

HELLO, RESET, PROBED = (OWN_PREFIX + name for name in ("hello", "reset", EVENT))

#: The number of timed frames in a probe. They take two seconds.
FRAMES = 6

#: Redirects that are followed; browsers follow 20.
REDIRECTS = 5

#: A cursor that no server ever sent: a stream that receives it answers with ssemux.reset.
STRANGE_CURSOR = "ssemux-doctor"

#: Seconds by which an event may be late without an error.
GRACE = 2.0


class Inquiry(NamedTuple):
    """What the user asked for.

    :param timeout: the maximum of seconds to wait for headers and for a first byte. A stream that does not say how long
        its heartbeat is is also watched for this time.
    :param secret_key: the application's; without one there are no probes.
    :param progress: called repeatedly with a text that says what is waited for.
    :param why_no_key: why there is no key.
    :param stream_path: where the application serves its stream; None if it does not, or if that is not known.
    """

    url: str
    caller: Caller
    timeout: float
    secret_key: Any
    progress: Callable[[str], None]
    why_no_key: str = ""
    stream_path: str | None = None


class Seen:
    """The responses to all requests. A request that was not made is None."""

    def __init__(self, asked: Inquiry) -> None:
        self.asked = asked
        self.url = asked.url
        self.redirects: list[str] = []
        #: The request for the stream, as a browser sends it.
        self.main: Call
        #: A request whose response no hop holds back: HEAD, or another page if the stream answers HEAD like GET.
        self.head: Call | None = None
        self.protocol: str | None = None
        #: A probe with timed frames, a probe with one long silence, and two requests for one and the same short probe.
        self.flow: Call | None = None
        self.quiet: Call | None = None
        self.twins: list[Call] = []
        self.why_no_probe = ""
        #: A second stream without compression, and the number of other streams that were open then.
        self.second: Call | None = None
        self.others = 0
        #: Streams that resume with the cursor of the hello event, and with an invalid cursor.
        self.resumed: Call | None = None
        self.strange: Call | None = None

    @property
    def hello(self) -> Frame | None:
        """The hello event, which streams of flask_ssemux send. It says how long the stream may be silent."""
        return next((frame for frame in self.main.events(HELLO) if _read_heartbeat(frame)), None)

    @property
    def heartbeat(self) -> float:
        """The longest silence in seconds that the hello event announces; 0 without one."""
        return _read_heartbeat(self.hello) if self.hello else 0.0

    @property
    def is_probed(self) -> bool:
        """Whether a frame of the probe arrived: then the stream is flask_ssemux's and has the same SECRET_KEY."""
        return self.flow is not None and bool(self.flow.events(PROBED))

    @property
    def headers(self) -> dict[str, str]:
        """The stream's response headers, or those of the request that no hop holds back."""
        return self.main.headers or (self.head.headers if self.head else {})


def examine(asked: Inquiry) -> Seen:
    """Make the requests. Every wait is bounded."""
    run = _Run(asked)
    try:
        run.make_requests()
    finally:
        for call in run.calls:
            call.close()
        for call in run.calls:
            call.join()
    return run.seen


class _Run:
    def __init__(self, asked: Inquiry) -> None:
        self.asked = asked
        self.seen = Seen(asked)
        self.calls: list[Call] = []

    def make_requests(self) -> None:
        self._find_stream()
        seen = self.seen
        if not seen.main.status and seen.is_probed:
            self._probe_twice()  # a short probe passes as a whole through hops that hold a stream back
        if not seen.main.is_stream or not self._wait_for(
            "the first byte", lambda: seen.main.times or seen.main.is_over
        ):
            return
        # If there is a hello event, it arrives with the first bytes.
        self._wait_for("the first event", lambda: seen.main.frames or seen.main.is_over, GRACE)
        seen.others = 1 + (seen.flow is not None and not seen.flow.is_over)
        seen.second = self._start_call(Accept_Encoding="identity")
        if seen.hello:
            self._examine_own_stream()
        else:
            self._watch_other_stream()

    def _find_stream(self) -> None:
        """Open the stream, and follow redirects."""
        seen = self.seen
        self._open_stream()
        while seen.main.status in (301, 302, 303, 307, 308) and len(seen.redirects) < REDIRECTS:
            url = urljoin(seen.url, seen.main.headers.get("location", ""))
            if urlsplit(url).scheme not in ("http", "https"):
                break
            seen.redirects.append(url)
            seen.url = url
            self._open_stream()
        if seen.main.status and not seen.main.is_stream:
            self._wait_for("the answer's text", lambda: seen.main.is_over, GRACE)
        if seen.main.asked_at:
            seen.protocol = negotiate_protocol(seen.url, self.asked.caller)

    def _open_stream(self) -> None:
        """Request the stream, its probe, and a response that no hop holds back, all at the same time."""
        seen = self.seen
        for call in self.calls:
            call.close()
        main = seen.main = self._start_call()
        self._wait_for("a connection", lambda: main.asked_at or main.is_over, self.asked.timeout + GRACE)
        if not main.asked_at or (main.is_over and not main.status):
            return
        head = seen.head = self._request_head()
        seen.flow = self._start_probe(Plan(FRAMES))
        self._wait_for("the headers", self._has_answered)
        if not main.status and not head.status:  # a stream may answer HEAD like GET
            page = seen.head = self._start_call(urljoin(seen.url, "/"))
            self._wait_for("another page", lambda: page.status or page.is_over, GRACE)

    def _has_answered(self) -> bool:
        """Tell whether the headers arrived, or will not, because the probe that was started later is complete."""
        main, flow = self.seen.main, self.seen.flow
        if main.headers_at or main.is_over:
            return True
        return bool(flow and flow.ended_at and flow.events(PROBED) and time.monotonic() > flow.ended_at + GRACE / 2)

    def _examine_own_stream(self) -> None:
        """Make the requests that only a stream of flask_ssemux answers."""
        seen, main = self.seen, self.seen.main
        heartbeat = seen.heartbeat
        began = time.monotonic()
        seen.quiet = self._start_probe(Plan(silence=heartbeat))
        seen.resumed = self._start_call(Last_Event_ID=seen.hello.id if seen.hello else "")
        seen.strange = self._start_call(Last_Event_ID=STRANGE_CURSOR)
        self._probe_twice()
        opened = [call for call in (seen.second, seen.resumed, seen.strange) if call]
        self._wait_for("the other streams", lambda: all(call.events(HELLO) or call.is_over for call in opened))
        for call in (seen.resumed, seen.strange):
            call.close()
        flow, quiet = seen.flow, seen.quiet
        if flow:
            self._wait_for("the probe's frames", lambda: flow.is_over)
        if not seen.is_probed:
            seen.quiet = quiet = None
        longest = (min(heartbeat, SILENCE) if quiet else heartbeat * 1.25) + GRACE

        def had_heartbeats() -> bool:
            return _had_heartbeat(main) and (quiet is None or quiet.is_over)

        self._wait_for("the heartbeat", had_heartbeats, longest - (time.monotonic() - began))

    def _probe_twice(self) -> None:
        """Request the same probe URL twice, one request after the other, to find a cache."""
        first = self._start_probe(Plan())
        if first:
            self.seen.twins = [first]
            self._wait_for("a short probe", lambda: first.is_over)
            self.seen.twins.append(self._start_call(first.url))
            self._wait_for("a short probe", lambda: self.seen.twins[1].is_over)

    def _watch_other_stream(self) -> None:
        """Watch a stream of another package, which says nothing about itself."""
        main, second = self.seen.main, self.seen.second
        if self.seen.flow:
            self.seen.flow.close()
        self.seen.flow = None
        until = time.monotonic() + self.asked.timeout
        self._wait_for("a second stream", lambda: bool(second and (second.times or second.is_over)))
        if second:
            second.close()
        self._wait_for("frames", lambda: main.is_over, until - time.monotonic())

    # ----------------------------------------------------------------------

    def _start_call(self, url: str = "", method: str = "GET", **headers: str) -> Call:
        caller = self.asked.caller if self._is_home else self.asked.caller._replace(headers={})
        made = caller.call(url or self.seen.url, method, **headers)
        self.calls.append(made)
        return made

    @property
    def _is_home(self) -> bool:
        """Whether the host is still the one that the user named: cookies and tokens are sent only there."""
        return urlsplit(self.seen.url).hostname == urlsplit(self.asked.url).hostname

    def _request_head(self) -> Call:
        """Request HEAD with the encodings that browsers accept today, because no body has to be decompressed."""
        return self._start_call(method="HEAD", Accept_Encoding="gzip, deflate, br, zstd")

    def _start_probe(self, plan: Plan) -> Call | None:
        if not self.asked.secret_key:
            self.seen.why_no_probe = self.asked.why_no_key
            return None
        if not self._is_home:
            self.seen.why_no_probe = "the stream is on another host than the URL"
            return None
        parts = urlsplit(self.seen.url)
        query = "&".join(filter(None, [parts.query, urlencode({PARAMETER: plan.sign(self.asked.secret_key)})]))
        return self._start_call(urlunsplit(parts._replace(query=query)))

    def _wait_for(self, what: str, check: Callable[[], Any], seconds: float | None = None) -> bool:
        """Wait until the check succeeds or the time is over, and return whether it succeeded."""
        seconds = self.asked.timeout if seconds is None else seconds
        began = time.monotonic()
        while not check():
            waited = time.monotonic() - began
            if waited > seconds:
                return False
            self.asked.progress("waiting for %s: %.0f of %.0f s" % (what, waited, seconds))
            time.sleep(0.02)
        return True


def _read_heartbeat(hello: Frame) -> float:
    said = hello.json().get("heartbeat")
    return float(said) if isinstance(said, (int, float)) and 0 < said < 1e6 else 0.0


def _had_heartbeat(main: Call) -> bool:
    """Tell whether something arrived after the first frames, or never will because the stream is over."""
    return main.is_over or any(frame.comment == "heartbeat" or frame.at > main.times[0] + 0.3 for frame in main.frames)
