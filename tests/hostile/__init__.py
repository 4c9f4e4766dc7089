"""What malicious clients and publishers send, over real HTTP to real servers, and what must not result from it."""
