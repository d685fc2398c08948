"""Laws of the figures: the badge is on the picture, the table beside it, the same bytes for the same figure."""

import hashlib
import json

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from workbench.errors import BadInput, StoreFailed
from workbench.figures import BADGES, curves, heatmap, intervals, save, short_names, show

LANGUAGES = ["x-en", "x-fr", "no"]
TEMPLATES = ["GPT-3 style", "does this imply, with the full stop of the premise left out"]


@pytest.fixture
def table():
    rows = [
        {"template": template, "language": language, "accuracy": 0.3 + 0.1 * i + 0.2 * j, "layer": i}
        for i, language in enumerate(LANGUAGES)
        for j, template in enumerate(TEMPLATES)
    ]
    return pd.DataFrame(rows).assign(low=lambda t: t.accuracy - 0.05, high=lambda t: t.accuracy + 0.05)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_RUN", str(tmp_path))
    return tmp_path / "figures"


def bars(table, **options):
    return intervals(table, x="accuracy", y="template", low="low", high="high", **options)


def keep(figure, table, folder, badge="SYNTHETIC"):
    show(
        figure,
        table,
        name="spread",
        badge=badge,
        alt="Wording moves accuracy by 20 points.",
        note="mini-bloomz",
    )
    return (folder / "spread.png").read_bytes()


def test_the_table_and_the_text_alternative_are_kept_beside_the_picture(table, folder):
    keep(bars(table, group="language", title="How much does\nthe wording decide?"), table, folder)
    pd.testing.assert_frame_equal(pd.read_csv(folder / "spread.csv"), table)
    facts = json.loads((folder / "spread.json").read_text())
    assert facts["title"] == "How much does the wording decide?"
    assert (facts["badge"], facts["alt"]) == ("SYNTHETIC", "Wording moves accuracy by 20 points.")


def test_the_same_figure_gives_the_same_bytes_and_another_badge_gives_others(table, folder):
    figure = bars(table, group="language")
    first = keep(figure, table, folder)
    assert keep(bars(table, group="language"), table, folder) == first
    assert keep(figure, table, folder) == first, "showing twice draws one badge"
    others = {hashlib.sha256(keep(figure, table, folder, badge=badge)).hexdigest() for badge in BADGES}
    assert len(others) == 3


def test_no_picture_holds_a_time_or_a_version(table, folder):
    png = keep(bars(table), table, folder)
    assert b"Software" not in png
    assert b"tIME" not in png
    assert b"Description" in png, "the twin: text chunks can be seen this way"


@pytest.mark.parametrize("badge", BADGES)
def test_the_badge_stands_above_all_that_is_drawn(table, folder, badge):
    """Its colour is in the top strip, at the right, of any figure, also one that was not made here."""
    figure = Figure(figsize=(4, 3))
    figure.add_subplot().set_title("A title that runs over the whole of the width")
    keep(figure, table, folder, badge=badge)
    pixels = mpl.image.imread(folder / "spread.png")
    height, width = pixels.shape[:2]
    wanted = pd.Series(mpl.colors.to_rgb(BADGES[badge]))

    def has_badge(part):
        return bool((abs(part[..., :3] - wanted.to_numpy()) < 0.01).all(axis=-1).any())

    assert has_badge(pixels[: height // 8, width // 2 :])
    assert not has_badge(pixels[height // 4 :])


def test_rows_keep_the_order_of_the_table(table):
    labels = [label.get_text().replace("\n", " ") for label in bars(table).axes[0].get_yticklabels()]
    assert labels == TEMPLATES
    grid = heatmap(table, rows="language", columns="template", values="accuracy").axes[0]
    assert [label.get_text() for label in grid.get_yticklabels()] == LANGUAGES


def test_a_heatmap_writes_each_value_and_leaves_missing_cells_empty(table):
    grid = heatmap(table.iloc[:-1], rows="language", columns="template", values="accuracy", fmt=".1f").axes[0]
    assert [text.get_text() for text in grid.texts] == ["0.3", "0.5", "0.4", "0.6", "0.5", "·"]


def test_panels_are_grids_of_the_same_rows_columns_and_colours(table):
    both = pd.concat([table.assign(condition="a"), table.assign(condition="b", accuracy=table.accuracy / 2)])
    cells = {"rows": "language", "columns": "template", "values": "accuracy"}
    figure = heatmap(both, **cells, panel="condition", fmt=".2f")
    first, second, _ = figure.axes  # and the colour bar
    assert [first.get_title(loc="left"), second.get_title(loc="left")] == ["a", "b"]
    assert first.images[0].get_clim() == second.images[0].get_clim() == (0.15, 0.7)
    assert [text.get_text() for text in second.texts][:2] == ["0.15", "0.25"]
    with pytest.raises(BadInput, match="several"):
        heatmap(both, **cells)


def test_two_values_for_one_cell_are_refused(table):
    with pytest.raises(BadInput, match="several"):
        heatmap(table, rows="language", columns="layer", values="accuracy")


def test_every_group_has_its_own_curve_and_marker(table):
    axes = curves(
        table, x="layer", y="accuracy", group="template", low="low", high="high", reference=0.5
    ).axes[0]
    drawn = [line for line in axes.lines if len(line.get_xdata()) == 3]
    assert len({line.get_marker() for line in drawn}) == len({line.get_color() for line in drawn}) == 2


@pytest.mark.parametrize("reference", [0.5, 1, np.float32(0.5), np.int64(1)])
def test_a_reference_is_drawn_whatever_kind_of_number_it_is(table, reference):
    """numpy's own kinds, as a mean of a column may be, left the line out without a word."""
    for chart in (bars, lambda table, **told: curves(table, x="layer", y="accuracy", **told)):
        drawn = chart(table, reference=reference, reference_label="chance").axes[0]
        assert [line.get_label() for line in drawn.lines].count("chance") == 1


def test_each_axis_of_curves_is_logarithmic_only_where_asked(table):
    for chosen in ({}, {"logx": True}, {"logy": True}):
        axes = curves(table, x="layer", y="accuracy", group="template", **chosen).axes[0]
        scales = {"logx": axes.get_xscale(), "logy": axes.get_yscale()}
        assert {name: scale == "log" for name, scale in scales.items()} == {
            "logx": False,
            "logy": False,
        } | chosen


def test_labels_on_the_across_axis_stay_labels(table):
    axes = curves(table, x="language", y="accuracy", group="template").axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == LANGUAGES


def test_a_missing_column_names_those_there_are(table):
    with pytest.raises(BadInput, match=r"'acuracy'.*accuracy"):
        curves(table, x="layer", y="acuracy")
    with pytest.raises(BadInput, match="no rows"):
        curves(table.iloc[:0], x="layer", y="accuracy")
    with pytest.raises(BadInput, match="both"):
        curves(table, x="layer", y="accuracy", low="low")


@pytest.mark.parametrize("wrong", [{"badge": "REAL"}, {"name": "../up"}, {"alt": " "}])
def test_a_figure_without_badge_name_or_text_is_refused_and_nothing_is_written(table, folder, wrong):
    settings = {"name": "spread", "badge": "MEASURED", "alt": "What it says."} | wrong
    with pytest.raises(BadInput):
        show(bars(table), table, **settings)
    assert not folder.exists()


def test_drawing_leaves_the_settings_of_others_alone(table, folder):
    before = dict(mpl.rcParams)
    keep(bars(table), table, folder)
    assert dict(mpl.rcParams) == before


def test_outside_a_run_showing_writes_nothing(table, tmp_path, monkeypatch):
    monkeypatch.delenv("WORKBENCH_RUN", raising=False)
    monkeypatch.chdir(tmp_path)
    show(bars(table), table, name="spread", badge="MEASURED", alt="What it says.")
    assert list(tmp_path.iterdir()) == []


def test_miniatures_never_share_a_figure_with_other_checkpoints(checkpoints):
    from workbench.figures import badge_for
    from workbench.models import load

    mini, other = load("mini-bloomz"), load(str(checkpoints["bloom"]))
    assert badge_for(mini, load("mini-mt0")) == "SYNTHETIC"
    assert badge_for(other) == "MEASURED"
    with pytest.raises(BadInput, match="all model parameters"):
        badge_for(mini, other)


def test_a_badge_counts_the_checkpoint_and_the_data(checkpoints):
    """Sentences of an artificial world put to BLOOMZ were called MEASURED."""
    from workbench.figures import badge_for
    from workbench.models import load
    from workbench.paths import data_path

    mini, other = load("mini-bloomz"), load(str(checkpoints["bloom"]))
    for world in ("miniature", str(data_path("mini/tasks/sentiment.jsonl"))):
        assert badge_for(mini, source=world) == badge_for(other, source=world) == "SYNTHETIC"
    for real in ("lexicon", "published", str(data_path("examples/xnli"))):
        assert (badge_for(mini, source=real), badge_for(other, source=real)) == ("SYNTHETIC", "MEASURED")


def test_a_figure_is_saved_as_png_and_vector_pdf_with_its_badge_and_the_same_bytes_twice(tmp_path):
    table = pd.DataFrame({"x": [0.2], "y": ["a"], "low": [0.1], "high": [0.3]})
    figure = intervals(table, x="x", y="y", low="low", high="high")
    told = {"name": "f", "badge": "MEASURED", "alt": "One point."}
    first = [path.read_bytes() for path in save(figure, tmp_path, **told)]
    assert (first[0][:4], first[1][:4]) == (b"\x89PNG", b"%PDF")
    assert all(b"MEASURED: One point." in content for content in first)
    again = [path.read_bytes() for path in save(figure, tmp_path, **told)]
    assert again == first
    other = [path.read_bytes() for path in save(figure, tmp_path, **{**told, "badge": "SYNTHETIC"})]
    assert other[1] != first[1]
    with pytest.raises(StoreFailed, match="could not write figure f"):
        save(figure, tmp_path / "f.png", **told)  # a file stands where the folder should


def test_names_of_models_are_as_short_as_tells_them_apart():
    assert short_names(["bigscience/mt0-small", "/a/b/mine"]) == {
        "bigscience/mt0-small": "mt0-small",
        "/a/b/mine": "mine",
    }
    steps = ["/runs/first/step-9", "/runs/second/step-9", "bloom-560m"]
    assert [*short_names(steps).values()] == ["first/step-9", "second/step-9", "bloom-560m"]
    assert short_names(["a//b", "a/b"]) == {"a//b": "a//b", "a/b": "a/b"}
    assert short_names([]) == {}
