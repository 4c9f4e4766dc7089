"""Which hop it is, and the lines of its configuration that mend it. A table; nothing is measured or judged here."""

from __future__ import annotations

from typing import Mapping

from .report import Advice

NGINX, APACHE, CADDY, HAPROXY, VARNISH, CLOUDFLARE, CLOUDFRONT, ALB, GUNICORN, WERKZEUG, UNKNOWN = (
    "nginx", "Apache", "Caddy", "HAProxy", "Varnish", "Cloudflare", "CloudFront", "AWS ALB", "gunicorn", "Werkzeug",
    "the hop in between",
)  # fmt: skip

#: What a header's value has in it, lower case, and who that is; the first that matches is the nearest to the client.
SIGNS = (
    ("server", "cloudflare", CLOUDFLARE),
    ("via", "cloudfront", CLOUDFRONT),
    ("via", "varnish", VARNISH),
    ("x-varnish", "", VARNISH),
    ("server", "awselb", ALB),
    ("via", "caddy", CADDY),
    ("server", "caddy", CADDY),
    ("server", "nginx", NGINX),
    ("server", "openresty", NGINX),
    ("server", "apache", APACHE),
    ("via", "haproxy", HAPROXY),
    ("server", "haproxy", HAPROXY),
    ("server", "gunicorn", GUNICORN),
    ("server", "werkzeug", WERKZEUG),
)

#: Servers that run the application: with these no hop is seen in between.
SERVERS = (GUNICORN, WERKZEUG)

#: Headers by which hops say who they are, or what they did.
TELLING = ("server", "via", "x-cache", "x-cache-status", "cf-cache-status", "x-varnish", "x-served-by")

BUFFERED, IGNORED, COMPRESSED, CACHED, IDLE, LIMITED = (
    "buffered", "ignored", "compressed", "cached", "idle", "limited",
)  # fmt: skip

_APPLICATION_SENDS = (
    "In the application: send the header that turns it off for this answer alone. flask_ssemux's streams carry it; "
    "an old view gets it from @flask_ssemux.streaming, or sends it itself:"
)

LINES: Mapping[tuple[str, str], tuple[Advice, ...]] = {
    (BUFFERED, NGINX): (
        Advice(_APPLICATION_SENDS, ("X-Accel-Buffering: no",)),
        Advice(
            "Or in nginx, in the stream's location (and no proxy_ignore_headers X-Accel-Buffering, which undoes the "
            "header):",
            ("proxy_buffering off;",),
        ),
    ),
    (IGNORED, NGINX): (
        Advice(
            "The stream is sent with X-Accel-Buffering: no, and nginx is told not to heed it: take that out of "
            "proxy_ignore_headers, or in the stream's location:",
            ("proxy_buffering off;",),
        ),
    ),
    (BUFFERED, APACHE): (
        Advice(
            "In Apache: flush after every packet, and no mod_deflate (or another output filter) for the stream:",
            (
                'ProxyPass "/events" "http://127.0.0.1:8000/events" flushpackets=on',
                'SetEnvIf Request_URI "^/events" no-gzip=1',
            ),
        ),
    ),
    (BUFFERED, CADDY): (
        Advice(
            "In Caddy `encode` holds a stream's headers back until it has enough to compress: leave the stream out:",
            ("@pages not path /events*", "encode @pages zstd gzip"),
        ),
    ),
    (BUFFERED, VARNISH): (
        Advice(
            "In Varnish: hand the stream through, unchanged (VCL):",
            ('sub vcl_recv { if (req.url ~ "^/events") { return (pipe); } }',),
        ),
    ),
    (BUFFERED, GUNICORN): (
        Advice(
            "No proxy says its name here, so the application itself may hold it: a middleware or an after_request "
            "that collects bodies (compression, ETags, logging of bodies), or a generator that yields nothing for that "
            "long. Run the doctor against the application's own port to see whether it is the application or a hop."
        ),
    ),
    (BUFFERED, UNKNOWN): (
        Advice(
            "Turn response buffering off for the stream in whatever is in between; nginx and what is made of it "
            "(ingress, many platforms) by a header of the answer, or by a setting:",
            ("X-Accel-Buffering: no", "proxy_buffering off;"),
        ),
        Advice("Run the doctor against the application's own port, then through each hop, to see which one it is."),
    ),
    (COMPRESSED, NGINX): (
        Advice(
            "In nginx: take text/event-stream (and *) out of gzip_types, or in the stream's location:",
            ("gzip off;",),
        ),
    ),
    (COMPRESSED, APACHE): (
        Advice("In Apache: no compression for the stream:", ('SetEnvIf Request_URI "^/events" no-gzip=1',)),
    ),
    (COMPRESSED, CADDY): (
        Advice(
            "In Caddy: leave the stream out of `encode`:",
            ("@pages not path /events*", "encode @pages zstd gzip"),
        ),
    ),
    (COMPRESSED, HAPROXY): (
        Advice(
            "In HAProxy: list the types to compress, without text/event-stream:",
            ("compression type text/html text/css application/javascript application/json",),
        ),
    ),
    (COMPRESSED, CLOUDFLARE): (
        Advice("In Cloudflare: a Compression Rule for the stream's path with compression disabled."),
    ),
    (COMPRESSED, GUNICORN): (
        Advice(
            "The application does it: Flask-Compress is told to compress streams. Leave them out:",
            ('COMPRESS_MIMETYPES = ["text/html", "text/css", "application/javascript", "application/json"]',),
        ),
    ),
    (COMPRESSED, UNKNOWN): (Advice("Turn compression off for text/event-stream in whatever is in between."),),
    (CACHED, NGINX): (
        Advice(
            "In nginx: no proxy_ignore_headers Cache-Control, and in the stream's location:",
            ("proxy_cache off;",),
        ),
    ),
    (CACHED, APACHE): (Advice("In Apache: keep mod_cache off the stream:", ('CacheDisable "/events"',)),),
    (CACHED, VARNISH): (
        Advice(
            "In Varnish: hand the stream through (VCL):",
            ('sub vcl_recv { if (req.url ~ "^/events") { return (pass); } }',),
        ),
    ),
    (CACHED, CLOUDFRONT): (
        Advice("In CloudFront: a behaviour for the stream's path with the managed cache policy CachingDisabled."),
    ),
    (CACHED, CLOUDFLARE): (Advice('In Cloudflare: a Cache Rule for the stream\'s path, "Bypass cache".'),),
    (CACHED, UNKNOWN): (
        Advice("Exempt the stream's path from the cache in between; the stream itself says Cache-Control: no-cache."),
    ),
    (IDLE, NGINX): (
        Advice(
            "In nginx: over three heartbeats, in the stream's location (and nothing shorter in a hop behind it):",
            ("proxy_read_timeout SECONDSs;",),
        ),
    ),
    (IDLE, APACHE): (Advice("In Apache: over three heartbeats:", ("ProxyTimeout SECONDS", "Timeout SECONDS")),),
    (IDLE, HAPROXY): (
        Advice("In HAProxy: over three heartbeats:", ("timeout client SECONDSs", "timeout server SECONDSs")),
    ),
    (IDLE, VARNISH): (
        Advice("In Varnish, for the backend (VCL): over three heartbeats:", (".between_bytes_timeout = SECONDSs;",)),
    ),
    (IDLE, ALB): (
        Advice(
            "In the load balancer's attributes: over three heartbeats:", ("idle_timeout.timeout_seconds = SECONDS",)
        ),
    ),
    (IDLE, GUNICORN): (
        Advice(
            "No proxy says its name here; balancers and firewalls mostly do not. HAProxy has `timeout client` and "
            "`timeout server`, AWS ALB `idle_timeout.timeout_seconds`: over three heartbeats, SECONDS s."
        ),
    ),
    (IDLE, UNKNOWN): (
        Advice("Raise the idle (read) time-out of whatever is in between to over three heartbeats, SECONDS s."),
    ),
    (LIMITED, NGINX): (
        Advice(
            "In nginx: limit_conn (or limit_req) counts open streams; allow more, or leave the stream's location out. "
            "With proxy_cache_lock on, a second request waits for the first: proxy_cache off there.",
            ("limit_conn per_ip 32;",),
        ),
    ),
    (LIMITED, GUNICORN): (
        Advice(
            "One stream takes all that the server has: use gunicorn's gevent worker, with room in worker_connections:",
            ('worker_class = "gevent"', "worker_connections = 10000"),
        ),
    ),
    (LIMITED, UNKNOWN): (
        Advice(
            "Something allows one client fewer connections than it has tabs: a limit per address in a hop, or a server "
            "with one thread. Behind gunicorn:",
            ('worker_class = "gevent"', "worker_connections = 10000"),
        ),
    ),
}


def hop_of(headers: Mapping[str, str]) -> str:
    """Who answered, by its headers: the hop nearest to the client that says so."""
    for name, word, hop in SIGNS:
        if name in headers and word in headers[name].lower():
            return hop
    return UNKNOWN


def told_by(headers: Mapping[str, str]) -> str:
    """What the hops say of themselves, for the report's first line."""
    return ", ".join(
        headers[name] if name == "server" else "%s: %s" % (name.title(), headers[name])
        for name in TELLING
        if name in headers
    )


def advice(trouble: str, hop: str, path: str, seconds: float = 0) -> tuple[Advice, ...]:
    """What mends a trouble at a hop.

    :param path: of the stream's URL; the lines above say /events and SECONDS.
    """
    found = LINES.get((trouble, GUNICORN if hop in SERVERS else hop)) or LINES[trouble, UNKNOWN]

    def filled(text: str) -> str:
        return text.replace("/events", path).replace("SECONDS", "%.0f" % seconds)

    return tuple(Advice(filled(one.text), tuple(map(filled, one.lines))) for one in found)
