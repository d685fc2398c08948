"""Agreement corrected for chance has the values of its worked examples."""

import numpy as np
import pytest

from workbench import stats
from workbench.errors import BadInput

FIRST, SECOND = [0, 1, 0, 0, 0, 0, 0, 0, 1, 0], [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]  # Krippendorff 2011, section A


def test_alpha_is_that_of_the_published_example():
    found = stats.krippendorff_alpha(np.array([FIRST, SECOND]).T)
    assert found.alpha.estimate == pytest.approx(0.095, abs=5e-4)
    assert found.disagreement.tolist() == [float(a != b) for a, b in zip(FIRST, SECOND, strict=True)]


def test_alpha_of_three_raters_by_hand():
    """4 units, 12 labels of which 5 are 1: pairs disagree in (0 + 2/3 + 2/3 + 0) / 4 of cases, by chance in 2·5·7 / (12·11)."""
    labels = [[0, 0, 0], [0, 1, 0], [1, 0, 0], [1, 1, 1]]
    assert stats.krippendorff_alpha(labels).alpha.estimate == pytest.approx(1 - (1 / 3) / (70 / 132))


def test_raters_who_always_agree_have_1_and_those_who_guess_about_0():
    generator = np.random.default_rng(0)
    unit = generator.integers(0, 3, size=(200, 1))
    assert stats.krippendorff_alpha(np.repeat(unit, 4, axis=1)).alpha.estimate == 1
    guessed = stats.krippendorff_alpha(generator.integers(0, 3, size=(200, 4))).alpha
    assert guessed.low < 0 < guessed.high


def test_raw_agreement_is_high_where_one_label_is_common_and_alpha_is_not():
    generator = np.random.default_rng(1)
    labels = (generator.random((400, 2)) < 0.05).astype(int)
    found = stats.krippendorff_alpha(labels)
    assert found.disagreement.mean() < 0.15
    assert found.alpha.estimate < 0.2


def test_labels_that_never_vary_have_no_alpha_and_one_rater_is_refused():
    assert np.isnan(stats.krippendorff_alpha([[1, 1], [1, 1]]).alpha.estimate)
    with pytest.raises(BadInput, match="units x raters"):
        stats.krippendorff_alpha([[1], [0]])
