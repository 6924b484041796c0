"""Stages: heads of segments, written by hand.  A family a file; what they share is in `base`."""

from kayrx.runtime.stages import (
    aligned,
    circular,
    interval,
    joins,
    latest,
    operators,
    paced,
    switch,
    timed,
    told,
    until,
    windowed,
)
from kayrx.runtime.stages.base import stage

__all__ = ["aligned", "circular", "interval", "joins", "latest", "operators", "paced", "stage", "switch", "timed",
           "told", "until", "windowed"]
