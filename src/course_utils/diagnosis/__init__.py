"""Faults of VAEs, recognised from the outside. Defined in chapter 15.

``diagnose`` makes the experiments and gives a ``Report`` of ``Finding``s; ``effective_beta`` turns
sums and means into the weight of the KL.

Begin at ``faults``, the table of all faults: it names the experiment for each, and the module that
makes it. ``probe`` is what the experiments share, ``calls`` how they call a model, ``clinic`` makes
one after the other, ``report`` is what comes back. ``patients`` holds the broken models of the
chapter.
"""

from course_utils.diagnosis.balance import effective_beta
from course_utils.diagnosis.clinic import diagnose
from course_utils.diagnosis.faults import Finding
from course_utils.diagnosis.report import Report

__all__ = ["Finding", "Report", "diagnose", "effective_beta"]
