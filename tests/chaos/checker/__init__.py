"""An independent judge of a run: it reads what a run left behind and checks every invariant of the failure model.

It imports nothing of the product. What it must know of the rules is written down here a second time, on purpose: a
mistake that both sides shared would be invisible.
"""
