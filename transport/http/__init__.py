"""The HTTP server: the listener, its connections, and static pages."""
