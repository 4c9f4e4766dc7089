"""Helpers that know nothing of events, streams or HTTP: forks, threads, background work, log throttle, redaction.

Everything in the package may import them. They import nothing of the package.
"""
