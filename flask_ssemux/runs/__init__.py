"""Generators that run once: runs (one execution, apart from any client) and feeds (one in the whole deployment).

Neither requests nor streams: ``http`` and ``hub`` have those. What a generator yields becomes events like all others.
"""
