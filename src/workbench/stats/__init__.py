"""Intervals, paired tests and null distributions for accuracies: small functions on arrays, each stating its assumptions.

An item is one question. The same question asked in several languages or wordings yields several outcomes of one
cluster; intervals are valid only if clusters, not outcomes, are resampled.
"""

from workbench.stats.agreement import Agreement, krippendorff_alpha
from workbench.stats.differences import equivalence, paired_difference
from workbench.stats.intervals import Interval, bootstrap, bootstrap_ratio, mean_interval, wilson
from workbench.stats.paired import PairedTest, holm, mcnemar, sign_flip
from workbench.stats.seeds import multi_bootstrap
from workbench.stats.shares import clustered_wilson
from workbench.stats.spread import (
    Omnibus,
    SpreadNull,
    SpreadTest,
    binomial_spread,
    cochran_q,
    permutation_spread,
)
from workbench.stats.variance import VarianceComponents, variance_components

__all__ = [
    "Agreement",
    "Interval",
    "Omnibus",
    "PairedTest",
    "SpreadNull",
    "SpreadTest",
    "VarianceComponents",
    "binomial_spread",
    "bootstrap",
    "bootstrap_ratio",
    "clustered_wilson",
    "cochran_q",
    "equivalence",
    "holm",
    "krippendorff_alpha",
    "mcnemar",
    "mean_interval",
    "multi_bootstrap",
    "paired_difference",
    "permutation_spread",
    "sign_flip",
    "variance_components",
    "wilson",
]
