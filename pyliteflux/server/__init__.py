"""The roof: the only code that knows all three rooms, and joins them.

Chapter: docs/architecture.md.
"""
