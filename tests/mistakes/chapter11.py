"""Mistakes that chapter 11 must notice."""

from mutants import Mistake

MISTAKES = [
    Mistake(
        "σ for σ² in the log-density",
        "log-density",
        "np.exp(logvar))",
        "np.exp(logvar / 2))",
        ("11.4 Gaussian log-density",),
    ),
    Mistake(
        "the ½ of the KL dropped",
        "kl-definition",
        "return 0.5 * (np.exp(log_ratio)",
        "return (np.exp(log_ratio)",
        ("11.12 standard errors", "11.12 closed form", "11.13 so is"),
    ),
]
