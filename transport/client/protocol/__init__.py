"""The client's half of the protocol, without I/O: methods report what happened, effects say what to do."""
