"""Publish and subscribe: topics, their subscribers, and the adapters that connect processes."""

from actors.pubsub.adapter import Adapter, LocalAdapter
from actors.pubsub.pubsub import PubSub
from actors.pubsub.redis import RedisPubSub, publish

__all__ = ["Adapter", "LocalAdapter", "PubSub", "RedisPubSub", "publish"]
