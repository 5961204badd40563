"""Faults of VAEs, recognised from the outside. Defined in chapter 15.

``diagnose`` makes the experiments and gives a ``Report`` of ``Finding``s; ``effective_beta`` turns
sums and means into the weight of the KL. ``faults`` is the table of all faults, ``probe`` what the
experiments share; ``networks``, ``sampler`` and ``balance`` are the experiments, and ``clinic``
calls them. ``patients`` holds the broken models of the chapter.
"""

from course_utils.diagnosis.balance import effective_beta
from course_utils.diagnosis.clinic import diagnose
from course_utils.diagnosis.probe import Finding, Report

__all__ = ["Finding", "Report", "diagnose", "effective_beta"]
