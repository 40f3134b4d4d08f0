"""The live page of the supervision tree: access to it, the channel behind it, and the inspection of one actor."""
