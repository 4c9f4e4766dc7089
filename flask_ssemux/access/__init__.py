"""Who the client is, which channels this user may read, and whether that is still so later.

Rules decide, tickets identify clients without cookies, and open streams are authorized again from time to time.
No streams are opened or counted here.
"""
