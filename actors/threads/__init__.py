"""Actors that may block: each has a thread of its own."""
