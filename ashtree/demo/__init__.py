"""The demo that `ashtree demo` runs: `app.py` is a symbolic link to `demo.py` in a checkout, and a file once installed."""
