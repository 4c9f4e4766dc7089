"""Who is this, what may they read, how many streams may they hold, and until when.

``rules.py`` decides, ``places.py`` counts, ``tickets.py`` says who where no cookie reaches. What ends a stream later:
an order of ``orders.py``, carried out by ``control.py``; ``elders.py``, to make room; ``recheck.py``, which asks again.
"""
