"""Who hears of what: topics, their subscribers, and the actor that watches them."""

from actors.pubsub.pubsub import PubSub

__all__ = ["PubSub"]
