"""Reports on two sets: every number is the pure function's, and what must be said is said."""

import os
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from minidiff import data, pretrained
from minidiff.evaluation import FeatureExtractor, Pictures, chosen, evaluate, load_extractor, metric_names, open_set
from minidiff.evaluation.sets import draw
from minidiff.metrics.clip_score import clip_score
from minidiff.metrics.features import features, moments
from minidiff.metrics.frechet import frechet_bias, frechet_distance, frechet_from_features
from minidiff.metrics.inception_score import inception_score
from minidiff.metrics.intervals import bootstrap, half_samples
from minidiff.metrics.kernels import cmmd, mmd2
from minidiff.metrics.neighbours import density_coverage, precision_recall
from minidiff.metrics.report import METRICS, Report

from .folders import noise

NAMED = os.environ.get("MINIDIFF_DATA")
needs_mnist = pytest.mark.skipif(
    not NAMED or not Path(NAMED, "MNIST").is_dir(), reason="MINIDIFF_DATA names no folder with MNIST"
)

D = 6
WEIGHT = torch.randn(3 * 4 * 4, D, generator=torch.Generator().manual_seed(5))
HEAD = torch.randn(D, 4, generator=torch.Generator().manual_seed(6))
TEXTS = torch.randn(44, D, generator=torch.Generator().manual_seed(7))
CAPTIONS = tuple(f"picture {i}" for i in range(44))
TINY = FeatureExtractor("tiny", "none", lambda x: x.flatten(1) @ WEIGHT, head=lambda f: f @ HEAD)
ALL = [name for name in METRICS if not name.startswith("clip_score")]
A, B, C = noise(60, 3, 4, 4, seed=1), noise(44, 3, 4, 4, seed=2) * 0.8, noise(52, 3, 4, 4, seed=3)
FA, FB, FC = (x.flatten(1) @ WEIGHT for x in (A, B, C))


@pytest.fixture(autouse=True)
def _warnings_are_errors():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def pure(real, fake, seed=0):
    """All metrics by the functions that define them."""
    p, d = precision_recall(real, fake, 3), density_coverage(real, fake, 5)
    score = inception_score(fake @ HEAD, logits=True, splits=10, seed=seed).mean
    return {
        "frechet_distance": frechet_distance(*moments(real), *moments(fake)), "kernel_distance": mmd2(real, fake),
        "cmmd": cmmd(real, fake), "precision": p.precision, "recall": p.recall, "density": d.density,
        "coverage": d.coverage, "inception_score": score,
    }  # fmt: skip


def values(report):
    return {r.metric: r.value for r in report.results}


def test_every_number_is_the_pure_functions():
    report = evaluate(A, B, TINY, ALL, floor=C, names=("real", "made", "more"), seed=3)
    assert values(report) == pytest.approx(pure(FA, FB, 3), rel=1e-9)
    stand_in = FC[draw(52, 44, seed=3)]
    assert {r.metric: r.floor for r in report.results} == pytest.approx(pure(FA, stand_in, 3), rel=1e-6)
    assert (report.sets, report.floor, report.seed) == (("real", "made"), "more", 3)
    bias = frechet_bias(moments(FA).cov, 60, 44)
    for r in report.results:
        assert r.n == ((44,) if r.metric == "inception_score" else (60, 44))
        assert (r.dim, r.extractor, r.preprocessing, r.level) == (D, "tiny", "none", 0.95)
        assert r.bias == (pytest.approx(bias) if r.metric == "frechet_distance" else None)
        assert r.interval[0] <= r.value <= r.interval[1] and "20 random halves" in r.method
    assert report["precision"].settings == "k = 3" and report["coverage"].settings == "k = 5"
    assert Report.from_json(report.to_json()) == report


def test_intervals_are_those_of_half_samples():
    report = evaluate(A, B, TINY, ALL, seed=7, halves=5, level=0.8)

    def expected(metric, *sets):
        return half_samples(metric, *sets, n=5, seed=7, level=0.8)

    assert report["frechet_distance"].interval == pytest.approx(expected(frechet_from_features, FA, FB))
    assert report["kernel_distance"].interval == pytest.approx(expected(mmd2, FA, FB))
    low, high = expected(lambda a, b: precision_recall(a, b).recall, FA, FB)
    assert report["recall"].interval == pytest.approx((max(0, low), min(1, high)))
    low, high = expected(lambda a, b: density_coverage(a, b).coverage, FA, FB)
    assert report["coverage"].interval == pytest.approx((max(0, low), min(1, high)))
    low, high = expected(lambda x: inception_score(x, logits=True, splits=10, seed=7).mean, FB @ HEAD)
    assert report["inception_score"].interval == pytest.approx((max(1, low), high))
    assert report["density"].level == 0.8
    assert report["density"].method == "the value plus and minus 1.28 standard deviations over 5 random halves"


def test_no_intervals_where_none_are_wanted_or_halves_are_too_small():
    assert all(r.interval is None and r.method == "" for r in evaluate(A, B, TINY, halves=0).results)
    report = evaluate(A, B[:11], TINY, ["precision", "coverage", "kernel_distance"])
    assert report["coverage"].interval is None and report["coverage"].value == density_coverage(FA, FB[:11]).coverage
    assert report["precision"].interval and report["kernel_distance"].interval
    for halves in (1, -2):
        with pytest.raises(ValueError, match=f"halves must be 0 or at least 2; got {halves}"):
            evaluate(A, B, TINY, halves=halves)


def test_values_lie_in_their_ranges():
    report = evaluate(A, A.flip(0) * 0.99, TINY, ALL, seed=1)
    for r in report.results:
        known = METRICS[r.metric]
        assert known.low <= r.interval[0] <= r.value <= r.interval[1] <= known.high
    assert report["kernel_distance"].interval[0] < 0


def test_tensors_iterables_and_sets_are_all_the_same():
    expected = values(evaluate(A, B, TINY, halves=0))
    assert values(evaluate(iter(A.split(7)), B.split(13), TINY, halves=0)) == pytest.approx(expected)
    a, b = Pictures("a", A, torch.arange(60), notes=("note a",)), Pictures("b", B, torch.arange(44))
    report = evaluate(a, b, TINY, halves=0)
    assert values(report) == pytest.approx(expected) and report.sets == ("a", "b") and report.notes[0] == "note a"


def test_which_metrics():
    plain, clip = FeatureExtractor("x", "", TINY), FeatureExtractor("open_clip:a/b", "", TINY)
    rest = ("frechet_distance", "kernel_distance", "precision", "recall", "density", "coverage")
    assert chosen(None, plain) == rest and chosen(None, TINY) == (*rest, "inception_score")
    assert chosen(None, clip) == ("frechet_distance", "kernel_distance", "cmmd", *rest[2:])
    assert chosen(["recall", " cmmd", "recall"], plain) == ("recall", "cmmd")
    assert list(metric_names()) == list(METRICS)
    report = evaluate(A, B, TINY, ["recall", "frechet_distance"], halves=0)
    assert [r.metric for r in report.results] == ["recall", "frechet_distance"]
    with pytest.raises(ValueError, match="metrics must be among frechet_distance, .*; got 'fid', ''"):
        chosen(["recall", "fid", ""], plain)
    with pytest.raises(ValueError, match="metrics must be among .*; got none"):
        chosen([], plain)
    with pytest.raises(ValueError, match="inception_score needs an extractor with a classifier; x has none"):
        chosen(["inception_score"], plain)


@pytest.mark.parametrize(("metric", "least"), [("frechet_distance", 2), ("precision", 4), ("density", 6)])
def test_too_few_pictures(metric, least):
    with pytest.raises(ValueError, match=f"{metric} needs at least {least} pictures in each set; B has {least - 1}"):
        evaluate(A, B[: least - 1], TINY, [metric])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the few
        assert len(evaluate(A, B[:least], TINY, [metric]).results) == 1
    with pytest.raises(ValueError, match=f"pictures in each set; A has {least - 1}"):
        evaluate(A[: least - 1], B, TINY, [metric])


def test_no_more_pictures_than_dimensions_is_warned_of():
    with pytest.warns(UserWarning, match=r"about [\d.]+ of the Frechet .* 6 are no more than the .* 6 dim"):
        report = evaluate(A, B[:6], TINY, ["frechet_distance"])
    bias = frechet_bias(moments(FA).cov, 60, 6)
    assert report.notes == (
        f"at least about {bias:.3g} of the Frechet distance comes from the numbers of pictures alone: 6 are no more "
        "than the features' 6 dimensions",
    )
    enough = evaluate(A, B[:7], TINY, ["frechet_distance"])
    assert len(enough.notes) == 1 and enough.notes[0].endswith("wider than it need be where the sets are nearly equal")
    [note] = evaluate(A, B[:7], TINY, ["frechet_distance"], halves=0).notes
    assert note.endswith("comes from the numbers of pictures alone")
    assert evaluate(A, B[:6], TINY, ["recall"]).notes == ()


def test_the_same_pictures_and_copies_are_warned_of():
    with pytest.warns(UserWarning, match="A and B hold the same pictures: the distances say nothing"):
        report = evaluate(A, A.flip(0), TINY, ["frechet_distance"])
    assert report["frechet_distance"].value == pytest.approx(0, abs=1e-9)
    with pytest.warns(UserWarning, match="3 of 47 pictures of B are also in A"):
        report = evaluate(A, torch.cat([B, A[10:13]]), TINY, ["recall"])
    assert report.notes == ("3 of 47 pictures of B are also in A",)
    with pytest.warns(UserWarning, match="4 of 48 pictures of B are copies of others in it") as told:
        evaluate(A, torch.cat([B[:1], B, B[5:8]]), TINY, ["recall"])
    assert told[0].filename == __file__  # the warning names the caller's line
    with pytest.warns(UserWarning, match="44 of 44 pictures of C are also in A"):
        evaluate(A, B, TINY, ["recall"], floor=A.flip(0))


def test_fewer_pictures_for_the_floor_are_noted():
    report = evaluate(A, B, TINY, ["recall"], floor=C[:20])
    assert report.notes == ("real pictures were 20 against 44 of B; each metric depends on that number",)
    assert report["recall"].floor == precision_recall(FA, FC[:20]).recall
    with pytest.raises(ValueError, match="recall needs at least 4 pictures in each set; C has 3"):
        evaluate(A, B, TINY, ["recall"], floor=C[:3])


def test_other_sizes_are_noted():
    means = FeatureExtractor("means", "none", lambda x: x.mean(dim=(2, 3)))
    [note] = evaluate(noise(9, 3, 4, 5), noise(9, 3, 7, 6, seed=1), means, ["recall"]).notes
    assert note == "pictures of A are 5x4, those of B 6x7: sharpness alone makes them differ"


def test_a_set_for_the_floor_is_drawn_from_before_it_is_read():
    c = Pictures("c", C, torch.arange(52), notes=("note c",))
    report = evaluate(Pictures("a", A, torch.arange(60), notes=("note c",)), B, TINY, ["recall"], floor=c, seed=3)
    assert report["recall"].floor == precision_recall(FA, FC[draw(52, 44, 3)]).recall
    assert report.notes == ("note c", "c: 44 of its 52 pictures, drawn with seed 3") and report.floor == "c"


def test_what_an_extractor_cannot_read():
    classifier = load_extractor("mnist-classifier")
    with pytest.raises(ValueError, match="B cannot be read by mnist-classifier: pictures must have 1 channel; got 3"):
        evaluate(noise(9, 1, 32, 32), noise(9, 3, 32, 32), classifier)
    with pytest.raises(ValueError, match=r"A cannot be read by tiny: images must lie in \[-1,1\]"):
        evaluate(3 * A, B, TINY)
    with pytest.raises(ValueError, match="A cannot be read by tiny: images must hold at least one picture"):
        evaluate([], B, TINY)


def test_progress_goes_to_stderr(capsys):
    evaluate(A, B.split(10), TINY, ["recall"], progress=True)
    out, err = capsys.readouterr()
    assert out == "" and "A:" in err and "60/60" in err and "metrics" in err


def test_the_seed_decides():
    one, two, three = (evaluate(A, B, TINY, floor=C, seed=s).to_json() for s in (1, 1, 2))
    assert one == two != three


def test_a_folder_and_a_named_set(tmp_path):
    from .folders import digits, write

    write(tmp_path, digits(150, "train"))
    a, b = open_set("digits:test"), open_set(tmp_path, channels=1)
    report = evaluate(a, b, load_extractor("mnist-classifier"), halves=0)
    model = pretrained.load("mnist-classifier").model
    real, fake = (features(model.features, x) for x in (data.load("digits", "test")["x"], digits(150, "train")))
    assert report["frechet_distance"].value == pytest.approx(frechet_from_features(real, fake), rel=0.01)  # 8 bits
    assert report["recall"].value == pytest.approx(precision_recall(real, fake).recall, abs=0.02)
    assert report.sets == ("digits:test", str(tmp_path))


def test_the_clip_score_of_captions():
    reads = replace(TINY, texts=lambda captions: torch.stack([TEXTS[int(c.split()[1])] for c in captions]))
    report = evaluate(A, B, reads, captions=CAPTIONS, floor=C, halves=4, seed=2)
    found = clip_score(FB, TEXTS)
    score, percent = report["clip_score"], report["clip_score_100"]
    assert score.value == pytest.approx(found.score) and percent.value == pytest.approx(found.percent)
    assert (score.settings, percent.settings) == ("2.5 max(cos, 0)", "100 cos") and score.floor is None
    expected = bootstrap(lambda cos: 2.5 * cos.clamp_min(0).mean().item(), found.cosines, n=1000, seed=2)
    assert score.interval == pytest.approx(tuple(expected)) and score.method == "bootstrap, 1,000 draws"
    assert percent.interval[0] <= percent.value <= percent.interval[1]
    assert evaluate(A, B, reads, ["clip_score"], captions=CAPTIONS, halves=0)["clip_score"].interval is None
    b = Pictures("b", B, torch.arange(44), CAPTIONS).drawn(30, seed=1)
    assert evaluate(A, b, reads, ["clip_score"])["clip_score"].value == pytest.approx(
        clip_score(FB[b.items], TEXTS[b.items]).score
    )
    with pytest.raises(KeyError):
        evaluate(A, B, reads, halves=0)["clip_score"]
    with pytest.raises(ValueError, match="clip_score needs captions of the pictures that are judged; they have none"):
        evaluate(A, B, reads, ["clip_score"])
    with pytest.raises(ValueError, match="captions must be one for each of the 44 pictures; got 43"):
        evaluate(A, B, reads, ["clip_score_100"], captions=CAPTIONS[1:])
    with pytest.raises(ValueError, match="clip_score needs an extractor that reads texts; tiny does not"):
        evaluate(A, B, TINY, ["clip_score"], captions=CAPTIONS)


@needs_mnist
def test_the_floor_of_mnist():
    """Halves of the test digits against each other: nothing but noise and the bias of their number."""
    x = data.load("mnist", "test")["x"][torch.randperm(10_000, generator=torch.Generator().manual_seed(0))]
    found = load_extractor("mnist-classifier")
    report = evaluate(
        x[:1000], x[1000:2000], found, ["frechet_distance", "precision", "recall"], floor=x[2000:], halves=0
    )
    r = report["frechet_distance"]
    assert 0.4 * r.bias < r.value < 2 * r.bias and 0.4 * r.bias < r.floor < 2 * r.bias
    assert report["precision"].value > 0.85 and report["recall"].value > 0.85
