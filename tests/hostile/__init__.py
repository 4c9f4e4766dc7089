"""What clients and publishers who mean harm send, over real HTTP to real servers, and what must not come of it."""
