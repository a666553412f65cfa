"""Conversations: one object per connection joins transport, protocol and app.

Chapter: docs/life-of-a-request.md.
"""
