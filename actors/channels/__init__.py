"""What a channel is made of: its messages, typed payloads, events, and the fastlane to its client."""
