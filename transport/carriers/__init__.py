"""What carries the messages of a connection: WebSockets, long polling and ASGI, behind one protocol class."""
