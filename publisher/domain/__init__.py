"""The domain types of publisher, as pure code.

No clock, no random numbers, no file, no socket and no third-party package is used here.
"""
