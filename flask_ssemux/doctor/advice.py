"""Tables of the known hops: how to recognise them, and which lines of their configuration fix a trouble."""

from __future__ import annotations

from typing import Mapping

from .report import Advice

NGINX, APACHE, CADDY, HAPROXY, VARNISH, CLOUDFLARE, CLOUDFRONT, ALB, GUNICORN, WERKZEUG, UNKNOWN = (
    "nginx", "Apache", "Caddy", "HAProxy", "Varnish", "Cloudflare", "CloudFront", "AWS ALB", "gunicorn", "Werkzeug",
    "the hop in between",
)  # fmt: skip

#: A header, what its lower-case value contains, and the hop. The first match is the hop nearest to the client.
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

#: Servers that run the application: a response from one of them shows no hop in between.
SERVERS = (GUNICORN, WERKZEUG)

#: Headers in which hops name themselves, or say what they did.
TELLING = ("server", "via", "x-cache", "x-cache-status", "cf-cache-status", "x-varnish", "x-served-by")

BUFFERED, IGNORED, COMPRESSED, CACHED, IDLE, LIMITED = (
    "buffered", "ignored", "compressed", "cached", "idle", "limited",
)  # fmt: skip

_APPLICATION_SENDS = (
    "In the application: send the header that turns buffering off for this response only. flask_ssemux's streams have "
    "it; an old view gets it from @flask_ssemux.streaming, or sends it itself:"
)

LINES: Mapping[tuple[str, str], tuple[Advice, ...]] = {
    (BUFFERED, NGINX): (
        Advice(_APPLICATION_SENDS, ("X-Accel-Buffering: no",)),
        Advice(
            "Or in nginx, in the stream's location (without proxy_ignore_headers X-Accel-Buffering, which cancels the "
            "header):",
            ("proxy_buffering off;",),
        ),
    ),
    (IGNORED, NGINX): (
        Advice(
            "The stream has the header X-Accel-Buffering: no, but nginx is configured to ignore it. Remove the header "
            "from proxy_ignore_headers, or in the stream's location:",
            ("proxy_buffering off;",),
        ),
    ),
    (BUFFERED, APACHE): (
        Advice(
            "In Apache: flush after every packet, and use no mod_deflate (or other output filter) for the stream:",
            (
                'ProxyPass "/events" "http://127.0.0.1:8000/events" flushpackets=on',
                'SetEnvIf Request_URI "^/events" no-gzip=1',
            ),
        ),
    ),
    (BUFFERED, CADDY): (
        Advice(
            "Caddy's `encode` holds a stream's headers back until it has enough data to compress: exclude the stream:",
            ("@pages not path /events*", "encode @pages zstd gzip"),
        ),
    ),
    (BUFFERED, VARNISH): (
        Advice(
            "In Varnish: pipe the stream (VCL):",
            ('sub vcl_recv { if (req.url ~ "^/events") { return (pipe); } }',),
        ),
    ),
    (BUFFERED, GUNICORN): (
        Advice(
            "No proxy names itself in the headers, so the application itself may hold the stream back: a middleware or "
            "an after_request function that collects bodies (compression, ETags, logging of bodies), or a generator "
            "that yields nothing for that long. Run the doctor against the application's own port to find out whether "
            "it is the application or a hop."
        ),
    ),
    (BUFFERED, UNKNOWN): (
        Advice(
            "Turn response buffering off for the stream in the hop in between. In nginx, and in products that are "
            "based on it (ingress, many platforms), a response header or a setting does that:",
            ("X-Accel-Buffering: no", "proxy_buffering off;"),
        ),
        Advice(
            "Run the doctor against the application's own port, then through each hop, to find the one that buffers."
        ),
    ),
    (COMPRESSED, NGINX): (
        Advice(
            "In nginx: remove text/event-stream (and *) from gzip_types, or in the stream's location:",
            ("gzip off;",),
        ),
    ),
    (COMPRESSED, APACHE): (
        Advice("In Apache: no compression for the stream:", ('SetEnvIf Request_URI "^/events" no-gzip=1',)),
    ),
    (COMPRESSED, CADDY): (
        Advice(
            "In Caddy: exclude the stream from `encode`:",
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
        Advice("In Cloudflare: add a Compression Rule for the stream's path that disables compression."),
    ),
    (COMPRESSED, GUNICORN): (
        Advice(
            "The application compresses the stream: Flask-Compress is configured to compress streams. Exclude them:",
            ('COMPRESS_MIMETYPES = ["text/html", "text/css", "application/javascript", "application/json"]',),
        ),
    ),
    (COMPRESSED, UNKNOWN): (Advice("Turn compression off for text/event-stream in the hop in between."),),
    (CACHED, NGINX): (
        Advice(
            "In nginx: remove proxy_ignore_headers Cache-Control, and in the stream's location:",
            ("proxy_cache off;",),
        ),
    ),
    (CACHED, APACHE): (Advice("In Apache: exclude the stream from mod_cache:", ('CacheDisable "/events"',)),),
    (CACHED, VARNISH): (
        Advice(
            "In Varnish: do not cache the stream (VCL):",
            ('sub vcl_recv { if (req.url ~ "^/events") { return (pass); } }',),
        ),
    ),
    (CACHED, CLOUDFRONT): (
        Advice("In CloudFront: add a behaviour for the stream's path with the managed cache policy CachingDisabled."),
    ),
    (CACHED, CLOUDFLARE): (Advice('In Cloudflare: add a Cache Rule "Bypass cache" for the stream\'s path.'),),
    (CACHED, UNKNOWN): (
        Advice("Exempt the stream's path from the cache in between. The stream already has Cache-Control: no-cache."),
    ),
    (IDLE, NGINX): (
        Advice(
            "In nginx, in the stream's location: more than three heartbeats (and nothing shorter in a hop behind it):",
            ("proxy_read_timeout SECONDSs;",),
        ),
    ),
    (IDLE, APACHE): (Advice("In Apache: more than three heartbeats:", ("ProxyTimeout SECONDS", "Timeout SECONDS")),),
    (IDLE, HAPROXY): (
        Advice("In HAProxy: more than three heartbeats:", ("timeout client SECONDSs", "timeout server SECONDSs")),
    ),
    (IDLE, VARNISH): (
        Advice(
            "In Varnish, for the backend (VCL): more than three heartbeats:", (".between_bytes_timeout = SECONDSs;",)
        ),
    ),
    (IDLE, ALB): (
        Advice(
            "In the load balancer's attributes: more than three heartbeats:",
            ("idle_timeout.timeout_seconds = SECONDS",),
        ),
    ),
    (IDLE, GUNICORN): (
        Advice(
            "No proxy names itself in the headers; most balancers and firewalls do not. Set the idle time-out to more "
            "than three heartbeats, SECONDS s: in HAProxy `timeout client` and `timeout server`, in AWS ALB "
            "`idle_timeout.timeout_seconds`."
        ),
    ),
    (IDLE, UNKNOWN): (
        Advice("Raise the idle (read) time-out of the hop in between to more than three heartbeats, SECONDS s."),
    ),
    (LIMITED, NGINX): (
        Advice(
            "In nginx: limit_conn (or limit_req) counts open streams. Allow more, or exempt the stream's location. "
            "With proxy_cache_lock on, a second request waits for the first: set proxy_cache off there.",
            ("limit_conn per_ip 32;",),
        ),
    ),
    (LIMITED, GUNICORN): (
        Advice(
            "One stream uses up the server's capacity: use gunicorn's gevent worker, with enough worker_connections:",
            ('worker_class = "gevent"', "worker_connections = 10000"),
        ),
    ),
    (LIMITED, UNKNOWN): (
        Advice(
            "A client may open fewer connections than it has tabs: a hop has a limit for each address, or the server "
            "has one thread. With gunicorn:",
            ('worker_class = "gevent"', "worker_connections = 10000"),
        ),
    ),
}


def find_hop(headers: Mapping[str, str]) -> str:
    """Return the hop nearest to the client that names itself in the response headers."""
    for name, word, hop in SIGNS:
        if name in headers and word in headers[name].lower():
            return hop
    return UNKNOWN


def describe_hops(headers: Mapping[str, str]) -> str:
    """Return the headers in which hops name themselves, for the report's first line."""
    return ", ".join(
        headers[name] if name == "server" else "%s: %s" % (name.title(), headers[name])
        for name in TELLING
        if name in headers
    )


def find_advice(trouble: str, hop: str, path: str, seconds: float = 0) -> tuple[Advice, ...]:
    """Return what to do about a trouble at a hop.

    :param path: the path of the stream's URL. It replaces /events in the lines above, as ``seconds`` replaces SECONDS.
    """
    found = LINES.get((trouble, GUNICORN if hop in SERVERS else hop)) or LINES[trouble, UNKNOWN]

    def filled(text: str) -> str:
        return text.replace("/events", path).replace("SECONDS", "%.0f" % seconds)

    return tuple(Advice(filled(one.text), tuple(map(filled, one.lines))) for one in found)
