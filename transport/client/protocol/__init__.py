"""The client's half of the protocol without I/O: what happens goes in, effects come out."""
