"""Render posts from templates and pictures; previews and sending use the same code."""
