"""What is measured on generated digits: classes, neighbours, distances, copies, and how sure a classifier is."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor, nn

from minidiff import data, pretrained
from minidiff.metrics import density_coverage, features, frechet_distance, moments, precision_recall

SURE = 0.95  # a picture is read with confidence where its likeliest class has at least this probability


class Nearest(NamedTuple):
    """The nearest training picture of each of N pictures."""

    distance: Tensor  # [N] Euclidean, over all pixels in [-1,1]
    index: Tensor  # [N] int64


def nearest(x: Tensor, train: Tensor, chunk: int = 500) -> Nearest:
    """Finds the nearest training picture of each picture, by the Euclidean distance of their pixels.

    Args:
        x: [N,C,H,W].
        train: [M,C,H,W].
        chunk: pictures at once; [chunk,M] distances are held.

    >>> train = torch.tensor([0.0, 1.0, 5.0]).view(3, 1, 1, 1)
    >>> nearest(torch.full((1, 1, 1, 1), 4.5), train)
    Nearest(distance=tensor([0.5000]), index=tensor([2]))
    """
    if x.shape[1:] != train.shape[1:]:
        raise ValueError(f"x must have pictures of train's shape {list(train.shape[1:])}; got {list(x.shape[1:])}")
    x, train = x.flatten(1), train.flatten(1)  # [N,D], [M,D]
    squares = train.square().sum(1)  # [M]
    index = torch.cat([torch.addmm(squares, part, train.T, alpha=-2).argmin(1) for part in x.split(chunk)])
    return Nearest((x - train[index]).norm(dim=1), index)  # by subtraction: the product loses small distances


def copy_distance(test: Tensor, train: Tensor, share: float = 0.01) -> float:
    """The distance that only a share of test pictures fall below: a sample that does is called a copy.

    Args:
        test: [N,C,H,W], none of them in `train`.
        train: [M,C,H,W].
        share: of test pictures, hence the share of copies that real pictures have themselves.
    """
    return nearest(test, train).distance.quantile(share).item()


def class_shares(classifier: nn.Module, x: Tensor) -> list[float]:
    """Share of pictures that the classifier reads as each class."""
    logits = features(classifier, x)  # [N,K]
    return (torch.bincount(logits.argmax(1), minlength=logits.shape[1]) / len(x)).tolist()


def confident_share(classifier: nn.Module, x: Tensor) -> float:
    """Share of pictures whose likeliest class has a probability of at least `SURE`."""
    return (features(classifier, x).softmax(1).amax(1) >= SURE).float().mean().item()


def spliced(x: Tensor, y: Tensor, seed: int = 0) -> Tensor:
    """Pictures that are no digit: the upper half of one above the lower half of another of a different class.

    Args:
        x: [N,C,H,W], with at least two classes.
        y: [N] labels.
        seed: of the partners.

    Returns:
        [N,C,H,W]: upper halves in the order of `x`.
    """
    if len(y.unique()) < 2:
        raise ValueError("y must hold at least two classes, so that every picture has a partner of another one")
    rng = torch.Generator().manual_seed(seed)
    rank = torch.rand(len(x), len(x), generator=rng).to(x.device)  # partner: a random one among the other classes
    partner = rank.masked_fill(y[:, None] == y, -1.0).argmax(1)
    half = x.shape[2] // 2
    return torch.cat([x[:, :, :half], x[partner][:, :, half:]], dim=2)


class Judged(NamedTuple):
    """Neighbours and distance of a set of features to real ones."""

    precision: float
    recall: float
    density: float
    coverage: float
    frechet: float


def judged(real: Tensor, fake: Tensor) -> Judged:
    """Precision and recall (k = 3), density and coverage (k = 5), Frechet distance, of features [N,D] and [M,D]."""
    distance = frechet_distance(*moments(real), *moments(fake))
    return Judged(*precision_recall(real, fake), *density_coverage(real, fake), distance)


class Reference(NamedTuple):
    """What samples are compared with, made once for each n and split."""

    classifier: nn.Module
    real: Tensor  # [n,128] features of held-out digits
    floor: Judged  # n training digits against them: what a perfect model would reach
    train: Tensor  # [M,1,32,32]
    copy: float  # see copy_distance


@cache
def reference(n: int = 10_000, validation: bool = False) -> Reference:
    """The held-out digits, the training digits' own figures, and the distance of a copy.

    Args:
        n: pictures in each set.
        validation: hold out the last training digits, on which everything is chosen, in place of the test digits.
    """
    classifier = pretrained.load("mnist-classifier").model
    train = data.load("mnist", "train")["x"]
    if validation:
        held, train = train[-n:], train[:-n]
    else:
        held = data.load("mnist", "test")["x"][:n]
    real = features(classifier.features, held)
    floor = judged(real, features(classifier.features, train[:n]))
    return Reference(classifier, real, floor, train, copy_distance(held, train))


def measure(x: Tensor, n: int = 10_000, validation: bool = False) -> dict:
    """Everything that the course asks of generated digits.

    Args:
        x: [n,1,32,32] in [-1,1].
        n: real pictures that they are compared with.
        validation: as in `reference`.

    Returns:
        The figures of the samples; under "real" those of n training digits, the floor. Distances are in the features of
        the bundled classifier; `copies` is the share nearer to a training digit, in pixels, than 99 % of held-out
        digits are, so that 0.01 is what real digits have.
    """
    ref = reference(n, validation)
    found, shares = judged(ref.real, features(ref.classifier.features, x)), class_shares(ref.classifier, x)
    return {
        "n": len(x),
        **_named(found),
        "recall_over_real_recall": found.recall / ref.floor.recall,
        "coverage_over_real_coverage": found.coverage / ref.floor.coverage,
        "class_shares": shares,
        "rarest_class": min(shares),
        "commonest_class": max(shares),
        "copies": (nearest(x, ref.train).distance < ref.copy).float().mean().item(),
        "confident": confident_share(ref.classifier, x),
        "real": _named(ref.floor),
    }


def confidence(x: Tensor, n: int = 2000, seed: int = 0) -> dict[str, float]:
    """The confident share of real digits, of samples, of uniform noise, and of digits spliced from two.

    Args:
        x: [N,1,32,32], the samples.
        n: pictures of each other kind.
        seed: of noise and splices.
    """
    classifier, test = pretrained.load("mnist-classifier").model, data.load("mnist", "test")
    noise = 2 * torch.rand(n, *x.shape[1:], generator=torch.Generator().manual_seed(seed)) - 1
    sets = {
        "real": test["x"][:n],
        "samples": x,
        "noise": noise,
        "spliced": spliced(test["x"][:n], test["y"][:n], seed),
    }
    return {name: confident_share(classifier, pictures) for name, pictures in sets.items()}


def _named(found: Judged) -> dict[str, float]:
    names = {"frechet": "frechet_distance_in_classifier_features"}
    return {names.get(k, k): v for k, v in found._asdict().items()}
