# Varnish in front of gunicorn: /etc/varnish/default.vcl. TLS ends before it (hitch, HAProxy, a balancer).
# Yours to change: 127.0.0.1:8000, and the URLs of streams: SSEMUX_URL and those given to add_stream.

vcl 4.1;

backend gunicorn {
    .host = "127.0.0.1";
    .port = "8000";
}

sub vcl_recv {
    # Piped, bytes pass as they come, and a client that leaves is noticed at once. The time-out is varnishd's
    # "-p pipe_timeout", 60 s: three heartbeats.
    # Otherwise (Varnish fetches, and streams to whoever waits) a second client with the same URL first waits in line,
    # and one that leaves is noticed only when the next heartbeat cannot be written.
    if (req.url ~ "^/(events|api/jobs/stream)(\?|$)") {
        return (pipe);
    }
}

sub vcl_pipe {
    # Else the client could send its next requests past Varnish over the same connection.
    set bereq.http.Connection = "close";
}
