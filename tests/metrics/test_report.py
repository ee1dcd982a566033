"""Results: their text, their JSON, and what may be compared with what."""

import json
import warnings
from dataclasses import FrozenInstanceError, replace

import pytest

from minidiff.metrics.report import CMMD, INCEPTION, METRICS, Report, Result, difference

PLAIN = Result(
    "frechet_distance", 12.3456, (300, 200), 128, "mnist-classifier", "grey, 32x32", "", (11.02, 14.1), 0.95,
    "200 subsets", 0.75, 0.6,
)  # fmt: skip
SHORT = Result("recall", 0.5, (300, 200), 128, "mnist-classifier", "grey, 32x32", "k = 3")
REPORT = Report(
    (PLAIN, SHORT), ("mnist:test", "a <b> folder"), (300, 200), "mnist:train", ("one & two",), 7, "minidiff 0.1.0"
)

JSON = REPORT.to_json()


def test_a_result_says_everything_it_depends_on():
    assert str(PLAIN) == (
        "Frechet distance in mnist-classifier features: 12.3 (95 % interval 11.0 to 14.1, real pictures score 0.8), "
        "N = 300 and 200, D = 128, preprocessing: grey, 32x32"
    )
    assert str(SHORT) == "recall in mnist-classifier features: 0.5000, N = 300 and 200, D = 128, k = 3, " + (
        "preprocessing: grey, 32x32"
    )
    with pytest.raises(FrozenInstanceError):
        PLAIN.value = 0.0


@pytest.mark.parametrize(
    ("metric", "extractor", "dim", "label"),
    [
        ("frechet_distance", INCEPTION, 2048, "FID"),
        ("frechet_distance", INCEPTION, 768, "Frechet distance"),
        ("frechet_distance", "mnist-classifier", 2048, "Frechet distance"),
        ("kernel_distance", INCEPTION, 2048, "KID"),
        ("kernel_distance", "mnist-classifier", 128, "kernel distance"),
        ("inception_score", INCEPTION, 2048, "Inception Score"),
        ("inception_score", "mnist-classifier", 128, "class score"),
        ("cmmd", CMMD, 768, "CMMD"),
        ("cmmd", "open_clip:ViT-B-32/openai", 512, "Gaussian-kernel distance"),
        ("recall", "mnist-classifier", 128, "recall"),
    ],
)
def test_famous_names_only_in_the_features_they_were_defined_with(metric, extractor, dim, label):
    result = Result(metric, 1.0, (10, 10), dim, extractor, "none")
    assert result.label == label
    assert str(result).startswith(label)


@pytest.mark.parametrize(
    ("value", "interval", "shown"),
    [
        (12.3456, (11.02, 14.1), "12.3"),
        (12.3456, (12.3, 12.4), "12.346"),
        (12345.6, (11000.0, 13000.0), "12,346"),
        (0.000123456, (0.0001, 0.00015), "0.000123"),
        (0.5, None, "0.5000"),
        (123.456, None, "123.5"),
        (0.0, None, "0"),
        (0.0, (0.0, 0.0), "0"),
        (-0.00021, (-0.0005, 0.0001), "-0.00021"),
    ],
)
def test_digits_that_the_interval_supports(value, interval, shown):
    assert replace(SHORT, value=value, interval=interval).show(value) == shown


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"extractor": "other"}, "extractor"),
        ({"preprocessing": "RGB, 64x64"}, "preprocessing"),
        ({"metric": "kernel_distance"}, "metric"),
        ({"settings": "k = 5"}, "settings"),
        ({"dim": 64}, "dim"),
    ],
)
def test_numbers_on_different_scales_are_not_compared(change, name):
    other = replace(PLAIN, **change)
    for compare in (lambda: other > PLAIN, lambda: other <= PLAIN, lambda: other < PLAIN, lambda: other <= PLAIN,
                    lambda: difference(PLAIN, other), lambda: sorted([PLAIN, other])):  # fmt: skip
        with pytest.raises(ValueError, match=f"cannot be compared: {name} is "):
            compare()
    with pytest.raises(ValueError, match="compared with a result; got float"):
        assert PLAIN < 1.0


def test_numbers_on_one_scale_are():
    better = replace(PLAIN, value=2.0, floor=None, interval=None)
    assert better < PLAIN and better <= PLAIN and better < PLAIN and better <= PLAIN and not better > PLAIN
    assert difference(PLAIN, better) == pytest.approx(10.3456)
    assert min(PLAIN, better) is better and replace(PLAIN, method="") >= PLAIN and not PLAIN < PLAIN


def test_other_numbers_of_pictures_are_warned_of_where_they_matter():
    with pytest.warns(UserWarning, match=r"of the difference 0, about -0\.5 .*300 and 200 against 300 and 100"):
        difference(PLAIN, replace(PLAIN, n=(300, 100), bias=1.1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        difference(SHORT, replace(SHORT, n=(300, 100)))
        difference(PLAIN, replace(PLAIN, bias=0.61))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metric": "fid"}, "metric must be one of frechet_distance, .*; got 'fid'"),
        ({"value": float("nan")}, "value of frechet_distance must be finite; got nan"),
        ({"floor": float("inf")}, "floor of frechet_distance must be finite"),
        ({"bias": float("nan")}, "bias of frechet_distance must be finite"),
        ({"interval": (2.0, 1.0)}, "low end first"),
        ({"interval": (float("nan"), 1.0)}, "low end first"),
    ],
)
def test_what_is_no_result(change, message):
    with pytest.raises(ValueError, match=message):
        replace(PLAIN, **change)


def test_json_there_and_back():
    text = REPORT.to_json()
    assert Report.from_json(text) == REPORT
    found = json.loads(text)
    assert sorted(found) == ["floor", "format", "made_with", "n", "notes", "results", "seed", "sets"]
    assert sorted(found["results"][0]) == sorted(
        ["metric", "label", "better", "value", "interval", "level", "method", "n", "dim", "extractor", "preprocessing",
         "settings", "floor", "bias"]
    )  # fmt: skip
    assert found["results"][0]["value"] == 12.3456 and found["results"][1]["interval"] is None
    assert found["format"] == "minidiff report 1" and found["results"][0]["label"] == "Frechet distance"


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"format": "other"}', JSON.replace('"value"', '"a"'), JSON.replace('"seed"', '"a"'), JSON[:-3]],
)
def test_other_json_is_no_report(text):
    with pytest.raises(ValueError, match="must be a report's JSON"):
        Report.from_json(text)


def test_table():
    lines = str(REPORT).splitlines()
    assert lines[0].split() == ["A", "mnist:test,", "300", "pictures"]
    assert lines[1].split() == ["B", "a", "<b>", "folder,", "200", "pictures"]
    assert lines[2].split() == ["real", "pictures", "mnist:train", "in", "place", "of", "B"]
    assert lines[3].split() == ["features", "mnist-classifier,", "D", "=", "128"]
    assert lines[4].split() == ["preprocessing", "grey,", "32x32"]
    head, first, second = lines[6:9]
    assert head.split() == ["value", "95", "%", "interval", "real", "pictures", "better", "settings"]
    assert first.split() == ["Frechet", "distance", "12.3", "11.0", "to", "14.1", "0.8", "lower"]
    assert second.split() == ["recall", "0.5000", "higher", "k", "=", "3"]
    assert head.index("value") + len("value") == first.index("12.3") + len("12.3") == second.index("0.5000") + 6
    assert head.index("better") == first.index("lower") == second.index("higher")
    assert lines[10:] == ["- intervals: 200 subsets", "- one & two", "- minidiff 0.1.0, seed 7"]


def test_columns_without_content_are_left_out():
    head = str(replace(REPORT, results=(SHORT,), floor="")).splitlines()[5]
    assert head.split() == ["value", "better", "settings"]


def test_html_is_escaped_and_holds_the_same_cells():
    page = REPORT.to_html()
    assert page.count("<tr>") == 3 and page.count("<td>") == 12
    assert "a &lt;b&gt; folder" in page and "one &amp; two" in page and "<b>" not in page
    for cell in ("12.3", "11.0 to 14.1", "mnist-classifier, D = 128", "grey, 32x32", "0.5000"):
        assert cell in page
    assert page == REPORT._repr_html_()


def test_long_lines_are_folded():
    lines = str(replace(REPORT, notes=("a word " * 40,))).splitlines()
    assert max(map(len, lines)) <= 100 and lines[-2].startswith("  a word")


def test_a_report_finds_its_results():
    assert REPORT["recall"] is SHORT
    with pytest.raises(KeyError, match="'precision' was not measured; there are frechet_distance, recall"):
        REPORT["precision"]


def test_every_metric_has_a_direction():
    assert {known.better for known in METRICS.values()} == {"lower", "higher"}
