"""The client's side of the console: what is typed goes to the server, what it prints is shown."""
