"""One-off work as an actor: start it, await its result."""
