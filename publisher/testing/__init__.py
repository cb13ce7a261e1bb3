"""Test support.

It has a runtime with a manual clock, a fake adapter, builders for a filled store, and the
conformance kit.
"""
