"""Faults of VAEs, recognised from the outside. Defined in chapter 15.

``diagnose`` makes the experiments, a ``Finding`` says what came of one, ``effective_beta`` turns
sums and means into the weight of the KL. ``patients`` holds the broken models of the chapter.
"""

from course_utils.diagnosis.balance import effective_beta
from course_utils.diagnosis.clinic import diagnose
from course_utils.diagnosis.probe import Finding, Report

__all__ = ["Finding", "Report", "diagnose", "effective_beta"]
