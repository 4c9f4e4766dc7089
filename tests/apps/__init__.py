"""Small Flask applications that the tests serve with real servers."""
