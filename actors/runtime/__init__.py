"""The kernel: processes, their mailboxes, and the scheduler that gives them turns.

Code outside `actors` uses it through `actors.lowlevel`.
"""
