"""What is handed back: findings, notes, and what was not tested."""

from collections.abc import Iterable

from course_utils.console import as_shown
from course_utils.diagnosis.faults import Finding

NEVER_SEEN = (
    "the training loop and its rate, test data among the training data, one activation missing"
    " among several, gradients cut or a head used twice inside encode, an encoder blind to x"
)


class Report(list[Finding]):
    """The findings, causes first, with what else is to be said. Prints one line each.

    Attributes:
        notes: what is unusual and no fault.
        untested: what could not be tested here, and why. The last line says it.
    """

    def __init__(
        self, found: Iterable[Finding], notes: Iterable[str] = (), untested: Iterable[str] = ()
    ) -> None:
        first: dict[str, Finding] = {}
        for finding in found:
            first.setdefault(finding.name, finding)
        super().__init__(first.values())
        self.notes, self.untested = list(dict.fromkeys(notes)), list(dict.fromkeys(untested))

    def __str__(self) -> str:
        lines = [str(finding) for finding in self] or ["no finding in what was tested"]
        lines += [f"note: {note}" for note in self.notes]
        here = "".join(f"{text}; " for text in self.untested)
        return as_shown("\n".join([*lines, f"not tested: {here}{NEVER_SEEN}"]))

    __repr__ = __str__
