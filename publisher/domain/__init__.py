"""The nouns of publisher. Pure: no clock, no dice, no file, no socket, no third-party package."""
