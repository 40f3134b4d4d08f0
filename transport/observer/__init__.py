"""The live page of the supervision tree: who may see it, what it is told, and how it looks into an actor."""
