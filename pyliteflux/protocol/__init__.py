"""Room 2: bytes to meaning and back. Sans-IO: no socket, no clock, no thread.

Chapter: docs/architecture.md.
"""
