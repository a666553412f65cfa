"""The app room: from a request to a response by plain calls; no wire format, no sockets.

Chapter: docs/architecture.md.
"""
