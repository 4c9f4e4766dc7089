"""Finds out why there is no stream at a URL. Makes no requests; ``checks.py`` judges a stream that exists."""

from __future__ import annotations

import socket
import ssl
from urllib.parse import SplitResult, urlsplit

from .advice import SERVERS, find_hop
from .call import Call
from .examination import Seen
from .flow import describe_burst, is_burst
from .report import FAIL, Advice, Check
from .words import advise_on_buffering, format_seconds, read_message


def explain_missing_stream(seen: Seen) -> Check | None:
    """Return a failed check with the reason, or None if there is a stream."""
    return _explain_no_answer(seen) or _explain_no_headers(seen) or _explain_no_stream(seen)


def _explain_no_answer(seen: Seen) -> Check | None:
    main = seen.main
    if main.status or (main.asked_at and not main.is_over):
        return None
    parts = urlsplit(seen.url)
    address = "%s:%d" % (parts.hostname, parts.port or (443 if parts.scheme == "https" else 80))
    said, fix = _describe_error(main, address)
    if seen.redirects:
        said += ", after a redirect to %s" % seen.url
    return Check("answer", FAIL, said, (Advice(fix),), {"error": type(main.error).__name__})


def _describe_error(main: Call, address: str) -> tuple[str, str]:
    """Return what went wrong with a connection, and what to do."""
    error = main.error
    if isinstance(error, socket.gaierror):
        return "the name of %s is not known: %s" % (address, error), "Check the URL's spelling and the DNS."
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            "the certificate of %s is not trusted: %s" % (address, error.verify_message),
            "Trust its issuer with --ca FILE, or check the stream anyway with --insecure. Browsers refuse the "
            "certificate too.",
        )
    if isinstance(error, ssl.SSLError) and main.asked_at is None:
        why = getattr(error, "reason", None) or error
        return "no TLS with %s: %s" % (address, why), "If the server uses plain HTTP there, write http://."
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens on %s" % address, "Start the server, or correct the URL's port."
    if error is None or isinstance(error, (socket.timeout, TimeoutError)):
        return (
            "no connection to %s in time" % address,
            "Is the server down, or is a firewall in between? --timeout waits longer.",
        )
    if main.asked_at is None:
        return "no connection to %s: %s" % (address, error), "Check the URL and the network."
    return (
        "%s closed the connection without a response (%s)" % (address, error or type(error).__name__),
        "Look into that server's log. If the port uses TLS, write https://.",
    )


def _explain_no_headers(seen: Seen) -> Check | None:
    """Explain a connection on which no headers arrived."""
    main = seen.main
    if main.status:
        return None
    waited = seen.asked.timeout
    measured = {"seconds": waited, "hop": find_hop(seen.headers)}
    if seen.is_probed and is_burst(seen):
        said = "%s buffers the stream: no headers, and %s" % (find_hop(seen.headers), describe_burst(seen))
        return Check("answer", FAIL, said, advise_on_buffering(seen), measured)
    if not seen.headers:
        text = (
            "The server accepts connections but does not answer. All its workers are busy (one open stream is enough "
            "for a sync worker) or hang. With gunicorn:"
        )
        fix = (Advice(text, ('worker_class = "gevent"',)),)
        return Check("answer", FAIL, "no response to any request in %g s" % waited, fix, measured)
    said = "no headers in %g s, although other requests are answered: " % waited
    if find_hop(seen.headers) in SERVERS:
        said += "the application sends nothing before the first event"
        text = "Send something as soon as a stream opens, as flask_ssemux does. For an old view:"
        return Check("answer", FAIL, said, (Advice(text, ("@flask_ssemux.streaming",)),), measured)
    said += "%s buffers the stream" % find_hop(seen.headers)
    return Check("answer", FAIL, said, advise_on_buffering(seen), measured)


#: The default of ``SSEMUX_URL``.
DEFAULT_URL = "/events"

#: What to do about a response that is not a stream, by its status.
STATUS = {
    400: "The server cannot understand the request. Does the port need https://? Is the query correct?",
    401: "Log in as the page does, with --cookie 'session=…' or --header 'Authorization: …'.",
    403: "Use a session that may read this stream (--cookie 'session=…'), or add the missing rule: @mux.authorize.",
    405: "This URL does not accept GET: correct its path.",
    407: "A proxy in between requires a login.",
    429: "A hop limits the number of requests: exempt the stream there.",
    502: "The proxy cannot reach the application. Is it running, on the port that the proxy uses?",
    503: "The server is down or full. A browser does not reconnect after this status.",
    504: "The application did not answer the proxy in time. Are all its workers busy (a sync worker)?",
}


def _explain_no_stream(seen: Seen) -> Check | None:
    main = seen.main
    measured = {"status": main.status, "content_type": main.headers.get("content-type"), "url": seen.url}
    if main.is_stream:
        return _explain_refusal(main) or _explain_no_byte(seen)
    way = " after a redirect to %s" % seen.url if seen.redirects else ""
    if main.status == 200:
        kind = main.headers.get("content-type", "nothing")
        fix = "A browser closes such a stream and does not reconnect: the response must be text/event-stream."
        if "html" in kind:
            fix = (
                "A page came instead: a login form (use --cookie), or the page that a proxy or a single-page "
                "application returns for unknown URLs (correct the path here or in the proxy)."
            )
        return Check("answer", FAIL, "200%s, but %s, not text/event-stream" % (way, kind), (Advice(fix),), measured)
    if main.status == 204:
        return Check("answer", FAIL, "204%s: the server tells the client to stop" % way, (), measured)
    if 300 <= main.status < 400:
        said = "%d to %s, after %d redirects" % (main.status, main.headers.get("location"), len(seen.redirects))
        return Check(
            "answer", FAIL, said, (Advice("The redirects go in a circle. Is a login missing (--cookie)?"),), measured
        )
    if main.status == 404:
        fix = describe_missing_url(urlsplit(seen.url), seen.asked.stream_path, main.body)
        return Check("answer", FAIL, "404%s%s" % (way, read_message(main)), (Advice(fix),), measured)
    fix = STATUS.get(main.status, "Look into the server's log." if main.status >= 500 else "Correct the request.")
    return Check("answer", FAIL, "%d%s%s" % (main.status, way, read_message(main)), (Advice(fix),), measured)


def describe_missing_url(url: SplitResult, path: str | None, body: bytes) -> str:
    """Return what to do about a 404.

    :param path: where the application serves its stream; None if it does not, or if that is not known.
    :param body: of the answer: it shows whether the application gave it.
    """
    if b"<center>nginx" in body or b"<address>Apache" in body:
        return (
            "The proxy gave this answer itself: it does not forward this path to the application. In nginx, the stream "
            "needs a location with a proxy_pass (docs/proxies.md)."
        )
    if path is None or not url.path.endswith(path):
        own = "" if path in (None, DEFAULT_URL) else " This application serves it at %s." % path
        return "Correct the URL's path: the stream is at SSEMUX_URL, after a prefix that a proxy may add." + own
    return (
        "This application serves its stream at %s (SSEMUX_URL). Is another application, or an older version, running "
        "there? Is it mounted below a prefix, which belongs into the URL? `flask ssemux doctor` without a URL asks the "
        "application within this process." % path
    )


def _explain_refusal(main: Call) -> Check | None:
    """Explain a stream that consists of one frame, which tells the client to come back later."""
    if main.is_over and len(main.frames) == 1 and main.frames[0].comment and not main.frames[0].data:
        said = "the server has no room for a stream: %s" % main.frames[0].comment
        fix = Advice("See the server's log, and run `flask ssemux doctor` without a URL.")
        return Check("answer", FAIL, said, (fix,), {"status": 200})
    return None


def _explain_no_byte(seen: Seen) -> Check | None:
    main = seen.main
    if main.times:
        return None
    if main.is_over:
        fix = Advice("Look into the server's log.")
        return Check("answer", FAIL, "the stream ended without a byte", (fix,), {"status": 200})
    said = "headers after %s, and then no byte in %g s" % (format_seconds(main.seconds_to_headers), seen.asked.timeout)
    return Check("answer", FAIL, said, advise_on_buffering(seen), {"status": 200, "hop": find_hop(seen.headers)})
