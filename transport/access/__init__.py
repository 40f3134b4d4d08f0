"""Who may come in: origins, tokens, sessions, and what counts as this machine."""
