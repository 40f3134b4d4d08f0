"""Histories of topics: recent broadcasts, kept for clients that were away, and how these get what they have missed."""

from actors.history.history import History
from actors.history.history_store import HistoryStore
from actors.history.memory_history import MemoryHistory

__all__ = ["History", "HistoryStore", "MemoryHistory"]
