"""Calibration takes away a planted preference for a label, and nothing where there is none."""

import numpy as np
import pandas as pd
import pytest

from workbench.errors import BadInput
from workbench.prompts import Template
from workbench.studies import calibration, sensitivity
from workbench.tasks import Item

PRIOR = np.array([2.0, 0.0])  # nats by which the first label is likelier whatever is asked


def items(count=200):
    return [
        Item(f"i{n}", f"text {n}", ("good", "bad"), n % 2, "en", "mood", "w", f"m{n}", "")
        for n in range(count)
    ]


def scored(asked, strength, prior=PRIOR, seed=0):
    """A table as `rank` gives it, of a model that knows the answer with some noise and prefers the first label."""
    generator = np.random.default_rng(seed)
    signal = [strength * np.eye(2)[one.gold] + generator.normal(size=2) * 0.5 for one in asked]
    scores = [(one + prior).tolist() for one in signal]
    best = [int(np.argmax(one)) for one in scores]
    return pd.DataFrame(
        {
            "id": [one.id for one in asked], "task": "mood", "template": "w", "language": "en", "cluster": [o.cluster for o in asked],
            "choices": [list(one.choices) for one in asked], "gold": [one.gold for one in asked], "scores": scores,
            "prediction": best, "correct": [b == o.gold for b, o in zip(best, asked, strict=True)], "margin": 0.0, "protocol": "xmtf",
        }
    )  # fmt: skip


def test_a_planted_preference_goes_and_accuracy_comes(monkeypatch):
    asked = items()
    table = scored(asked, 1.5)
    monkeypatch.setattr(calibration, "rank", lambda _, neutral, protocol: scored(neutral, 0.0))
    found = calibration.calibrate(None, table, calibration.after_domain(asked))
    bias = [abs(sensitivity.label_bias(one)["bias"].iloc[0]) for one in (table, found)]
    assert bias[0] > 0.2 > 4 * bias[1]
    assert found["correct"].mean() > table["correct"].mean() + 0.1


def test_where_there_is_no_preference_calibration_with_a_constant_changes_nothing(monkeypatch):
    asked = items()
    table = scored(asked, 1.5, prior=np.zeros(2))
    constant = table.assign(scores=[[-3.0, -3.0]] * len(table))
    monkeypatch.setattr(calibration, "rank", lambda *_, **__: constant)
    found = calibration.calibrate(None, table, [asked, asked])
    assert found["prediction"].tolist() == table["prediction"].tolist()


def test_neutral_items_keep_wording_and_choices_and_lose_the_text():
    template = Template(
        "ask", "{{text}} Good or bad? ||| {{answer_choices[label]}}", "good ||| bad", task="mood"
    )
    row = {"id": "1", "cluster": "1", "language": "en", "text": "It rains.", "label": 1}
    (empty,), (dots,) = calibration.content_free([row], [template], "text")
    assert (empty.prompt, dots.prompt) == ("N/A Good or bad?", "... Good or bad?")
    assert empty.choices == ("good", "bad")
    with pytest.raises(BadInput, match="no field 'passage'"):
        calibration.content_free([row], [template], "passage")


def test_other_choices_are_refused():
    asked = items(4)
    with pytest.raises(BadInput, match="other choices"):
        calibration.calibrate(None, scored(asked, 1.0), [asked[:2]])
