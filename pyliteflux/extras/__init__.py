"""What a user could have written: built on the app's own interfaces, and on nothing else.

Chapter: docs/middleware.md.
"""
