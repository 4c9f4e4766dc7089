"""Who the user of a request is, which channels this user may read, and whether both still hold while a stream is open.

Rules decide, tickets identify clients without cookies, and open streams are checked again from time to time. No streams
are opened or counted here.
"""
