"""The table of faults: each by its name, with the experiment, the symptom and the mend.

Experiments, and the module that makes each:
    run        everything once, in the model's own type, on the caller's batch (``running``)
    reach      what a part can say whatever its weights (``reach``)
    middle     middles of inputs against middles of outputs (``networks``)
    twice      the same question twice (``networks``)
    exchange   the codes of other rows (``networks``)
    density    the slope of log_likelihood by x against decode (``density``)
    noise      the codes that are drawn for a mean and a width of ours (``sampler``)
    pull       the gradient of the loss by mean, width and image of ours (``kl``,
               ``reconstruction``, ``balance``)
"""

from dataclasses import dataclass
from typing import NamedTuple

from course_utils.console import as_shown


class Fault(NamedTuple):
    """One row of the table."""

    experiment: str
    symptom: str
    mend: str


FREE_HEADS = "no activation on the heads, mean and logvar alike"
BENDS = "put an activation after each hidden layer"
EPS = "draw eps of the shape of mu, (n, k)"
UNCUT = "write z = mu + exp(logvar / 2) * eps: no detach, no item, no torch.normal"
KL = "½ Σ (mu² + exp(logvar) - 1 - logvar), summed over code numbers"
ONE_MEANING = "one meaning for the second head: sampler exp(logvar / 2), KL exp(logvar)"

# fmt: off
FAULTS = {
    # the data, and what does not run
    "data not finite": Fault("run", "nan from the first step", "clean the data first"),
    "input range": Fault("reach", "a cross-entropy below zero, or images that never fit",
        "divide bytes by 255, once; do not standardise data for a decoder that ends in a sigmoid"),
    "exception": Fault("run", "an error", "read the message; mend what it names"),
    "shapes": Fault("run", "an error, or images compared with other images",
        "return what is expected"),
    "not finite": Fault("run", "the loss is nan or infinite",
        "take the loss from logits, clamp logvar before exp"),
    "loss without gradient": Fault("run", "nothing is learned",
        "return a tensor: no item(), no numpy, no detach()"),
    # the decoder's last layer
    "decoder cannot reach the data": Fault(
        "reach", "images that stay too dark, too bright or too flat",
        "no activation on the decoder's last layer, or scale the data to what it can say"),
    "half of the decoder's range unused": Fault(
        "reach, density",
        "some pixels below zero, in reconstructions and samples, where the data have none",
        "end the decoder in a sigmoid, or bring the data to the whole range: 2 * x - 1"),
    "no sigmoid": Fault("pull, density, reach", "outputs outside [0, 1]",
        "decode ends in a sigmoid; the loss takes the logits before it"),
    "sigmoid twice": Fault("pull, density", "grey images, loss far too high",
        "give the loss logits, or take the one that expects probabilities"),
    # the heads
    "mean never negative": Fault("reach", "means of one sign", FREE_HEADS),
    "logvar never negative": Fault("reach", "no code narrower than the prior", FREE_HEADS),
    "activation on the heads": Fault("reach", "means or widths in a small range", FREE_HEADS),
    "sigma is zero": Fault("reach", "nan, or ln 0",
        "no ReLU on sigma: let the head give logvar, or use softplus"),
    "logarithm of a negative head": Fault("pull", "nan where the head is negative",
        "let the head give logvar, or make it positive (softplus) before the logarithm"),
    # the networks
    "encoder without nonlinearity": Fault("middle", "more layers do not help", BENDS),
    "decoder without nonlinearity": Fault("middle", "more layers do not help", BENDS),
    "random at evaluation": Fault("twice", "two codes or reconstructions of one image",
        "for a code or a reconstruction use the mean, mu; draw only where a bound is meant"),
    "worse than the mean image": Fault("exchange", "dark where the data are bright",
        "the sign and the arguments of the error"),
    "the code is ignored": Fault("exchange", "one image for all codes, rate near 0",
        "weaken the decoder or the weight of the KL; early in training, wait"),
    # the sampler
    "code not finite": Fault("noise", "nan in z",
        "look for a logarithm or a root of a negative number before z"),
    "no noise": Fault("noise", "a plain autoencoder, whose loss is no bound",
        "draw z = mu + exp(logvar / 2) * eps: at the mean code the loss is no bound"),
    "the same noise at every call": Fault("noise", "one draw for ever",
        "seed once, at the start of the program, never inside the model"),
    "noise shared by rows": Fault("noise", "all rows move together", EPS),
    "noise shared by code numbers": Fault("noise", "all code numbers move together", EPS),
    "mean of the code": Fault("noise", "z is not around mu",
        "add the noise to mu: z = mu + exp(logvar / 2) * eps"),
    "width of the noise": Fault("noise", "too good a loss, worse images",
        "scale the noise by exp(logvar / 2)"),
    "noise not standard normal": Fault("noise", "z off its place", "draw eps with torch.randn"),
    "gradient of the sample": Fault("noise", "the encoder learns the wrong thing",
        "compute z as mu + exp(logvar / 2) * eps from tensors that need gradients"),
    "detached sample": Fault("noise", "the encoder learns from the KL alone", UNCUT),
    "detached width": Fault("noise", "widths drift to 1", UNCUT),
    # the KL
    "no KL": Fault("pull", "codes far apart, bad samples", "add the KL"),
    "sign of the KL": Fault("pull", "the loss falls without end",
        "add the KL, or -½ Σ (1 + logvar - mu² - exp(logvar)) with its minus"),
    "log2 in the KL": Fault("pull", "codes wider than the prior",
        "torch.log, not torch.log2; or logvar itself"),
    "form of the KL": Fault("pull", "means or widths off", KL),
    "KL not in closed form": Fault("pull", "means or widths off", KL),
    "KL without its -1": Fault("pull", "a loss too high by k / 2", KL),
    "KL reads logvar otherwise": Fault("pull", "widths off", ONE_MEANING),
    # the weights
    "mean against sum": Fault("pull", "collapse", "sum the reconstruction over pixels"),
    "mean against mean": Fault("pull", "collapse", "sum over pixels and over code numbers"),
    "KL averaged over code numbers": Fault("pull", "β too small", "sum the KL over code numbers"),
    "KL divided by the number of pixels": Fault("pull", "β too small", "divide neither term by it"),
    "KL summed over the wrong axis": Fault("pull", "collapse", "kl.sum(dim=1), then the mean"),
    "KL summed over rows": Fault("pull", "collapse", "sum over code numbers, mean over rows"),
    "reconstruction summed over rows": Fault("pull", "β too small, smaller for larger batches",
        "sum over pixels, mean over rows"),
    "KL without its ½": Fault("pull", "β twice as large", KL),
    "β on the wrong term": Fault("pull", "β does the contrary",
        "multiply the KL by β, not the reconstruction"),
    "weight of the KL": Fault("pull", "collapse, or an autoencoder",
        "sum both within a sample; or say which β you mean: diagnose(…, beta=…)"),
    # the reconstruction
    "arguments exchanged": Fault("pull, density", "images that are no images, loss below zero",
        "cross-entropy(prediction, image): the prediction first, the image as the target"),
    "no reconstruction": Fault("pull", "nothing is learned but the prior",
        "no detach between decode and the loss"),
    "sign of the reconstruction": Fault("pull", "the negative of the images",
        "minus the log-likelihood, plus the KL"),
    "sign of the log-likelihood": Fault("density", "the negative of the images",
        "ln p(x|z) is minus the error"),
    "scale of the log-likelihood": Fault("density", "β off", "ln p(x|z) is a sum over pixels"),
    "log_likelihood and decode disagree": Fault("density", "images unlike the loss",
        "both must use the same network, with one sigmoid"),
}
# fmt: on


@dataclass(frozen=True)
class Finding:
    """One fault.

    Attributes:
        name: of the fault; always the same for the same fault.
        evidence: what was measured, with numbers.
        mend: what to do.
    """

    name: str
    evidence: str
    mend: str

    def __str__(self) -> str:
        return as_shown(f"{self.name}: {self.evidence}")

    def __repr__(self) -> str:  # print(diagnose(...)) must work on any console too
        return as_shown(f"Finding({self.name!r}, {self.evidence!r}, {self.mend!r})")


def finding(name: str, evidence: str, mend: str = "") -> Finding:
    """Make the finding of a fault of the table, with its usual mend where none is given."""
    return Finding(name, evidence, mend or FAULTS[name].mend)
