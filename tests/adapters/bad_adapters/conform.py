"""The conformance kit over adapters that must fail it; `test_conformance_kit.py` runs this file."""

from tests.adapters.bad_adapters.greedy import GreedyFactory
from tests.adapters.bad_adapters.hasty import HastyFactory
from tests.adapters.test_conformance import TestWebhook as Sound


class TestHasty(Sound):
    factory = HastyFactory()


class TestGreedy(Sound):
    factory = GreedyFactory()


del Sound  # run by test_conformance_kit.py, not collected here
