"""Publish and subscribe: topics, their subscribers, and the adapters that connect processes."""

from actors.pubsub.adapter import Adapter, LocalAdapter
from actors.pubsub.pubsub import PubSub

__all__ = ["Adapter", "LocalAdapter", "PubSub"]
