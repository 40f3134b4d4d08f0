"""The client's side of the console: it sends what is typed, and shows the output."""
