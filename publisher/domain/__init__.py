"""The nouns of publisher. Pure: no clock, no random numbers, no file, no socket, no third-party package."""
