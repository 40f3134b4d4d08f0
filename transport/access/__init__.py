"""Access control: origins, tokens, sessions, and local clients."""
