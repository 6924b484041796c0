"""Reactive Streams 1.0.4: publisher, processor, subscriber."""
