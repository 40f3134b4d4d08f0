"""Phoenix's protocol: its rules as pure functions, and the wire format of its messages."""
