"""What is going on, in all workers and on all machines, for people and for programs.

``census.py`` counts this process, ``totals.py`` and ``distinct.py`` add all of them up, ``feed.py`` asks and tells, and
``page.py`` and ``metrics.py`` show it. Nothing here is needed to serve a stream.
"""
