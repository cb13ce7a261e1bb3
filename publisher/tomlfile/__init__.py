"""TOML files that people write, read safely and checked as a whole.

Every problem has its line and column.
"""
