"""The figures of all workers on all machines, for people and for programs.

`worker` counts what this process has. This folder adds up the reports of all processes and shows them as a page, as
JSON and for Prometheus.
Nothing here is needed to serve a stream.
"""
