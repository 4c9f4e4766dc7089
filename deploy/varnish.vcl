# Varnish in front of gunicorn: /etc/varnish/default.vcl. TLS ends before it (hitch, HAProxy, a balancer).
# Yours to change: 127.0.0.1:8000, and the URLs of streams: SSEMUX_URL and those given to add_stream.

vcl 4.1;

backend gunicorn {
    .host = "127.0.0.1";
    .port = "8000";
}

sub vcl_recv {
    # Piped, bytes pass as they come, and a client that leaves is noticed at once. Unpiped they pass too, but a stream
    # holds two threads, and a client that leaves is noticed when the third heartbeat cannot be written. The longest
    # silence is varnishd's "-p pipe_timeout", 60 s: three heartbeats.
    if (req.url ~ "^/(events|api/jobs/stream)(\?|$)") {
        return (pipe);
    }
}

sub vcl_pipe {
    # Else the client could send its next requests past Varnish over the same connection.
    set bereq.http.Connection = "close";
}
