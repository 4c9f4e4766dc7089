"""How a stream's frames get onto the socket."""
