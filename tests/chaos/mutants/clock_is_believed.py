"""The wall clock is taken as it is, at the start and after it was set.

Breaks I6 (F61), I7 (F08, F25) and I9: a daemon that starts with a clock hours ahead sends what is due in hours, ends
what is too late by that clock, and takes the settle time of a doubt for over.
"""

from publisher.runtime.clock import Runtime


def plant() -> None:
    Runtime.is_clock_confirmed = lambda _runtime: True
