"""Test support: a runtime with a manual clock, a fake adapter, builders for a filled store, the conformance kit."""
