"""Redis, or Valkey, between the PubSubs of several processes; it needs the extra `redis`."""

from actors.pubsub.redis.publish_message import publish
from actors.pubsub.redis.redis_pubsub import RedisPubSub

__all__ = ["RedisPubSub", "publish"]
