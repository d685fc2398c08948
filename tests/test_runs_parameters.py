"""What the notebooks may be given is checked before anything starts, and a run is named after what it was given."""

from workbench.runs.identity import run_id_of

LONG = {"models": ["mini-bloomz"], "bases": ["mini-bloom"], "english_models": [], "native_models": []}


def test_a_runs_name_keeps_the_short_parameter_that_a_sweep_goes_over():
    """The name was cut at its end: `…-native-models-limi-b9e51a19c65b` for every limit of a sweep."""
    for limit in (12, 24):
        found = run_id_of({}, {**LONG, "limit": limit})
        assert f"-limit-{limit}-" in found
        assert len(found) <= 60 + 1 + 12
    assert run_id_of({}, {"model": "models/mine", "languages": ["x-en"]}).startswith("mine-languages-x-en-")
    assert run_id_of({}, {}).startswith("default-")
