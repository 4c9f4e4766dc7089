"""``flask ssemux doctor``: what is wrong between a stream and its client, and which lines mend it.

Not part of a running application: nothing else in the package imports it before the command is run.
"""
