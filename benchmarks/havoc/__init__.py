"""What chaos.py and soak.py share: the server that is tried, a bad network, clients, and the ledger that they keep."""
