"""What carries it: WebSockets, long polling and ASGI, behind one seam."""
