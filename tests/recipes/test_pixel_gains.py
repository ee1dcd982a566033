"""The gains of lesson 04's grid: Welch's intervals against SciPy's, and what is recorded against what follows."""

import statistics

import pytest
from scipy import stats

from minidiff.course.l04_helpers import measured
from minidiff.models.fcn import parameters
from minidiff.recipes import pixel_gains, pixels, results

SAMPLES = (
    ([0.86, 0.88, 0.87], [0.84, 0.86, 0.85]),
    ([0.2, 0.21, 0.19], [0.05, 0.9, 0.4]),
    ([1.0, 1.5, 0.5, 0.9], [0.3, 0.31, 0.29]),
)


@pytest.mark.parametrize("before, after", SAMPLES)
def test_interval_is_that_of_welch_s_test(before, after):
    runs = [pixel_gains.runs_of(statistics.mean(v), *pixels.interval(v), len(v)) for v in (before, after)]
    wanted = stats.ttest_ind(after, before, equal_var=False).confidence_interval(0.95)
    assert pixel_gains.welch(*runs) == pytest.approx(tuple(wanted), rel=1e-9)


def test_a_side_that_was_cut_off_does_not_count():
    values = [0.99, 0.97, 0.995]
    low, high = pixels.interval(values)
    assert high > 1
    runs = pixel_gains.runs_of(statistics.mean(values), low, 1.0, 3)
    assert runs.error == pytest.approx(statistics.stdev(values) / 3**0.5)
    with pytest.raises(ValueError, match="cut off at 0 and at 1"):
        pixel_gains.runs_of(0.5, 0.0, 1.0, 3)
    with pytest.raises(ValueError, match="at least 2; one run has no spread; got 1"):
        pixel_gains.runs_of(0.5, 0.4, 0.6, 1)


def test_runs_without_a_spread():
    assert pixel_gains.welch(pixel_gains.Runs(0.5, 0.0, 3), pixel_gains.Runs(0.75, 0.0, 3)) == (0.25, 0.25)


def test_a_gain_is_an_improvement():
    grid = {"sum-symmetric": pixel_gains.Runs(0.3, 0.01, 3), "concatenate-symmetric": pixel_gains.Runs(0.2, 0.02, 3)}
    (name,) = pixel_gains.gains(grid, 1)  # the other pairs are not there
    assert name == "concatenate over sum, symmetric"
    up, down = pixel_gains.gains(grid, -1)[name], pixel_gains.gains(grid, 1)[name]
    assert up[0] == pytest.approx(0.1) and up[1] < up[0] < up[2]
    assert down == pytest.approx((-up[0], -up[2], -up[1]))


def test_every_pair_differs_in_one_thing():
    cells = {"-".join(cell) for cell in pixels.GRID}
    assert len(pixel_gains.pairs()) == 9
    for before, after in pixel_gains.pairs().values():
        assert {before, after} <= cells
        assert sum(a != b for a, b in zip(before.split("-"), after.split("-"), strict=True)) == 1


@pytest.mark.parametrize(
    "ends, holds", (((0.1, 0.2), True), ((-0.2, -0.1), False), ((-0.1, 0.2), None), ((0, 1), None))
)
def test_an_interval_that_holds_0_leaves_it_open(ends, holds):
    assert pixel_gains.verdict(*ends) is holds


def test_the_sweep_records_its_gains(monkeypatch, tmp_path):
    monkeypatch.setenv("MINIDIFF_RESULTS", str(tmp_path))
    monkeypatch.setenv("MINIDIFF_RECORD", "1")
    monkeypatch.setenv("MINIDIFF_PROFILE", "laptop")
    seeds = {cell: [0.5 + 0.07 * i + d for d in (0.0, 0.01, 0.03)] for i, cell in enumerate(pixels.GRID)}
    found = {cell: [{"lr": 1, "parameters": 1, "mse": v} for v in values] for cell, values in seeds.items()}
    pixels.write("denoising", found, {"a machine"})
    gain, *ends = measured("denoising", "mse_gains")["concatenate over sum, symmetric"]
    one, other = seeds["sum", "symmetric"], seeds["concatenate", "symmetric"]
    wanted = stats.ttest_ind(one, other, equal_var=False).confidence_interval(0.95)  # less error is better
    assert gain == pytest.approx(statistics.mean(one) - statistics.mean(other)) and ends == pytest.approx(tuple(wanted))
    claimed = {r["name"]: r for r in results.load(tmp_path) if r["provenance"]["source"] == "recipe pixel_gains"}
    del claimed["04_denoising_mse_gains"]
    assert len(claimed) == 4 and all(r["claim"] == 13 for r in claimed.values())
    row = claimed["04_denoising_concatenate_over_sum_symmetric"]
    assert row["interval"] == ends and row["holds"] is pixel_gains.verdict(*ends) is False


@pytest.mark.parametrize("task, figure", [(t, f) for t, figures in pixel_gains.GAINED.items() for f in figures])
def test_recorded_gains_follow_from_the_recorded_grid(task, figure):
    grid, origin = pixel_gains.recorded(task, figure)
    table = pixel_gains.gains(grid, pixels.TASKS[task].better)
    stored = measured(task, f"{figure}_gains")
    assert stored.keys() == table.keys() == pixel_gains.pairs().keys() and origin["seed"] == list(pixels.SEEDS)
    for name, row in table.items():
        assert stored[name] == pytest.approx(row, rel=1e-6)
        claim = results.find(f"04_{task}_{results.slug(name)}")
        if claim and figure in claim["note"]:
            assert claim["interval"] == pytest.approx(row[1:], rel=1e-6)
            assert claim["holds"] is pixel_gains.verdict(*row[1:])


@pytest.mark.parametrize("name", pixels.TASKS)
def test_recorded_sizes_are_those_of_the_networks(name):
    stored, task = results.find(f"04_{name}_parameters")["value"], pixels.TASKS[name]
    assert stored == {"-".join(cell): parameters(pixels.config(task, *cell)) for cell in task.grid}
    assert max(stored.values()) / min(stored.values()) < 1.1
    fcn, unet = (stored["-".join(cell)] for cell in (pixels.FCN, pixels.UNET))
    assert abs(fcn - unet) <= 0.05 * unet
