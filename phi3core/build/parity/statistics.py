"""What two models' predictions of the same tokens say, by the definitions of llama.cpp's report on KL divergence.

Every ± is the standard error of a mean over tokens. Knows nothing of models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Floats = np.ndarray[Any, Any]
_Z = 1.96  # of a 95 % interval


@dataclass(frozen=True)
class Mean:
    """A mean over tokens, with its standard error."""

    value: float
    error: float

    @property
    def low(self) -> float:
        """The lower end of its 95 % interval."""
        return self.value - _Z * self.error

    @property
    def high(self) -> float:
        return self.value + _Z * self.error


@dataclass(frozen=True)
class Figures:
    """How far the compared model is from its base over some tokens.

    kl: the KL divergence of the compared model's distribution from the base's (KLD), in nats. same_top: the share of
    tokens whose likeliest one is the same. base_perplexity, perplexity: of the base and of the compared model.
    ratio: the second divided by the first. delta_p: how much more likely the compared model takes the text's own token
    to be (Δp), 0 to 1; delta_p_rms its root mean square.
    """

    tokens: int
    kl: Mean
    kl_median: float
    kl_p90: float
    kl_p99: float
    kl_max: float
    same_top: Mean
    base_perplexity: Mean
    perplexity: Mean
    ratio: Mean
    delta_p: Mean
    delta_p_rms: float


@dataclass(frozen=True)
class Rows:
    """One number for each predicted token. base_loss, loss: minus the logarithm of the text's own token's probability.

    same_top: whether both take the same token to be the likeliest.
    """

    kl: Floats
    same_top: Floats
    base_loss: Floats
    loss: Floats

    def figures(self) -> Figures:
        median, p90, p99 = (float(np.percentile(self.kl, share)) for share in (50, 90, 99))
        change = np.exp(-self.loss) - np.exp(-self.base_loss)
        return Figures(
            tokens=len(self.kl),
            kl=_mean(self.kl),
            kl_median=median,
            kl_p90=p90,
            kl_p99=p99,
            kl_max=float(self.kl.max()),
            same_top=_mean(self.same_top),
            base_perplexity=_exp(_mean(self.base_loss)),
            perplexity=_exp(_mean(self.loss)),
            ratio=_exp(_mean(self.loss - self.base_loss)),  # of the difference: both read the same tokens
            delta_p=_mean(change),
            delta_p_rms=float(np.sqrt(np.mean(change**2))),
        )


def join(parts: Sequence[Rows]) -> Rows:
    """The rows of several passages."""
    names = ("kl", "same_top", "base_loss", "loss")
    return Rows(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def compare_logits(base: Floats, compared: Floats, tokens: Floats) -> Rows:
    """Rows for a piece of text.

    Args:
        base, compared: float32[n, vocabulary], the logits with which each predicts.
        tokens: int[n], what then stood there.
    """
    shared = min(base.shape[1], compared.shape[1])  # one may be padded further, with tokens that never come
    first, second = _log_softmax(base[:, :shared]), _log_softmax(compared[:, :shared])
    at = np.arange(len(tokens)), tokens
    kl = (np.exp(first) * (first - second)).sum(axis=1, dtype=np.float64)
    return Rows(
        np.maximum(kl, 0.0),  # it is never negative, but rounding is
        (first.argmax(axis=1) == second.argmax(axis=1)).astype(np.float64),
        -first[at].astype(np.float64),
        -second[at].astype(np.float64),
    )


def _log_softmax(logits: Floats) -> Floats:
    shifted = logits - logits.max(axis=1, keepdims=True)
    total: Floats = np.exp(shifted).sum(axis=1, dtype=np.float64)
    result: Floats = shifted - np.log(total)[:, None].astype(np.float32)
    return result


def _mean(values: Floats) -> Mean:
    spread = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    return Mean(float(values.mean()), spread / float(np.sqrt(max(len(values), 1))))


def _exp(mean: Mean) -> Mean:
    """The exponential of a mean; its error to the first order."""
    value = float(np.exp(mean.value))
    return Mean(value, value * mean.error)
