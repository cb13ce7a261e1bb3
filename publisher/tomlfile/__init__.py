"""TOML files that people write: read safely, checked as a whole, every problem with its line and column."""
