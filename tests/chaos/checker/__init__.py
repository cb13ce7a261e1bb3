"""An independent judge of a run: it checks every invariant of the failure model.

It reads artefacts and imports nothing of the product. The rules that it needs are written here a
second time on purpose. A mistake that both sides shared would be invisible.
"""
