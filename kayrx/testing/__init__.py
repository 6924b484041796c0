"""The testing kit: virtual time, and checks that nothing is left behind.  Nothing in kayrx imports it."""

from kayrx.testing.clock import VirtualLoop, run_virtual
from kayrx.testing.left import Left, left_behind

__all__ = ["Left", "VirtualLoop", "left_behind", "run_virtual"]
