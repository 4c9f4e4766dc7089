"""The status of all workers on all machines.

Each worker counts its own figures (``worker/stream_stats.py``). This folder combines the reports of all processes and
shows them as a page, as JSON and for Prometheus. Nothing here is needed to serve a stream.
"""
