"""The server's side of the console: a session for each client that attaches."""
