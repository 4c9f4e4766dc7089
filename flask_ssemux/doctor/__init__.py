"""``flask ssemux doctor`` finds what is wrong between a stream and its client, and shows how to fix it.

This is not part of a running application: nothing else in the package imports it before the command runs.
"""
