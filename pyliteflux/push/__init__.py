"""Who hears what: clients, topics, acks. Knows doors, not who stands behind them.

Chapter: docs/topics.md.
"""
