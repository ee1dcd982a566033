"""The exercises of lesson 04; those about convolutions are in `l04_sliding` and `l04_reach`."""

import numpy as np
import torch
from torch import Tensor

from minidiff.course.exercise import Exercise
from minidiff.course.l04_reach import BILINEAR, FIELD
from minidiff.course.l04_sliding import DECONVOLVE, SLIDE


def _randn(rng: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=rng)


def _true_fuse(coarse: Tensor, fine: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    def matrix(n: int) -> np.ndarray:
        at = np.clip((np.arange(2 * n) + 0.5) / 2 - 0.5, 0, n - 1)
        low = np.minimum(np.floor(at).astype(int), max(n - 2, 0))
        table = np.zeros((2 * n, n))
        table[np.arange(2 * n), low] += 1 - (at - low)
        table[np.arange(2 * n), np.minimum(low + 1, n - 1)] += at - low
        return table

    doubled = np.einsum("bkhw,ih,jw->bkij", coarse.numpy(), matrix(coarse.shape[2]), matrix(coarse.shape[3]))
    scores = np.einsum("kc,bchw->bkhw", weight.numpy(), fine.numpy()) + bias.numpy()[:, None, None]
    return torch.from_numpy(doubled + scores)


_FUSE = "def fuse(coarse, fine, weight, bias):\n"
_SCORE = "    scores = F.conv2d(fine, weight[:, :, None, None], bias)\n"
_DOUBLE = '    doubled = F.interpolate(coarse, scale_factor=2.0, mode="bilinear", align_corners=False)\n'

FUSE = Exercise(
    id="04.fuse",
    title="FCN's summed skip",
    prompt="""\
One step of FCN's decoder, equation (5). The coarse map already holds scores, one channel a class. The fine map holds
features. Give the fine map scores of its own with a 1x1 convolution, double the coarse scores bilinearly, and add.""",
    minutes=7,
    difficulty=2,
    starter='''\
def fuse(coarse, fine, weight, bias):
    """coarse [B,K,H,W] scores; fine [B,C,2H,2W] features; weight [K,C] and bias [K] of the 1x1 convolution.

    Returns [B,K,2H,2W] scores.
    """
    raise NotImplementedError
''',
    solution='''\
def fuse(coarse, fine, weight, bias):
    """Doubled coarse scores plus the fine map's own scores."""
    scores = F.conv2d(fine, weight[:, :, None, None], bias)
    doubled = F.interpolate(coarse, scale_factor=2.0, mode="bilinear", align_corners=False)
    return doubled + scores
''',
    hints=(
        "A 1x1 convolution is `F.conv2d` with weights of shape [K, C, 1, 1].",
        '`F.interpolate` with `mode="bilinear"` doubles as your hat kernel does, borders apart. Mind `align_corners`.',
        "Score the fine map before you add: only scores of the same classes can be added.",
    ),
    wrong={
        "nearest": (
            _FUSE + _SCORE + '    return F.interpolate(coarse, scale_factor=2.0, mode="nearest") + scores\n',
            "You repeat the coarse scores. FCN interpolates: its deconvolutions begin as the hat kernel.",
        ),
        "align_corners": (
            _FUSE
            + _SCORE
            + '    return F.interpolate(coarse, scale_factor=2.0, mode="bilinear", align_corners=True) + scores\n',
            "With `align_corners=True` the corner pixels' *centres* are pinned, so the factor is not 2 but "
            "(2H - 1) / (H - 1): the coarse scores drift against the fine ones, worst at the borders.",
        ),
        "no_score_of_its_own": (
            _FUSE + _DOUBLE + "    return doubled + fine.mean(1, keepdim=True)\n",
            "The fine map's channels are features, not classes. The 1x1 convolution is what turns them into scores.",
        ),
        "shrinks_the_fine_map": (
            _FUSE + _SCORE + "    return coarse + F.avg_pool2d(scores, 2)\n",
            "You bring the fine map down to the coarse one, and what it knew about places is gone. The coarse one goes "
            "up.",
        ),
        "stacked": (
            _FUSE + _SCORE + _DOUBLE + "    return torch.cat([doubled, scores], dim=1)\n",
            "You stack the two. That is the U-Net's way; FCN adds.",
        ),
        "mean": (
            _FUSE + _SCORE + _DOUBLE + "    return (doubled + scores) / 2\n",
            "You take the mean of the two. FCN takes the sum: scores are logits, and evidence adds up.",
        ),
    },
    probes=lambda rng: [
        (_randn(rng, 2, 4, 3, 5), _randn(rng, 2, 7, 6, 10), _randn(rng, 4, 7), _randn(rng, 4)),
        (_randn(rng, 1, 3, 2, 4), _randn(rng, 1, 5, 4, 8), _randn(rng, 3, 5), _randn(rng, 3)),
    ],
    oracle=_true_fuse,
)


def _use_weights(answer, weight: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return torch.nn.functional.conv2d(torch.cat([a, b], dim=1), answer(weight), padding=1)


def _true_sum(weight: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return torch.nn.functional.conv2d(a + b, weight, padding=1)


SUM_AS_CONCAT = Exercise(
    id="04.as_concatenation",
    title="a sum is a concatenation that was told how",
    prompt="""\
Equation (6). A network adds two maps and convolves the sum with `weight`. Another network stacks the same two maps as
channels. Find the weights with which its convolution gives exactly the same result.

So whatever a summed skip can do, a concatenated one can do too. The other way round it is not so.""",
    minutes=5,
    difficulty=2,
    starter='''\
def as_concatenation(weight):
    """weight [K,C,s,s], used on a + b -> weights [K,2C,s,s], used on torch.cat([a, b], dim=1)."""
    raise NotImplementedError
''',
    solution='''\
def as_concatenation(weight):
    """The same weights for both halves of the stack."""
    k, c, height, width = weight.shape
    stacked = weight.new_zeros(k, 2 * c, height, width)
    stacked[:, 0:c] = weight
    stacked[:, c:] = weight
    return stacked
''',
    hints=(
        "A convolution is linear: conv(a + b) = conv(a) + conv(b).",
        "In the stack, channels 0 to C - 1 are a's and the next C are b's.",
        "Which axis of the weights counts the input's channels?",
    ),
    wrong={
        "halved": (
            "def as_concatenation(weight):\n    return torch.cat([weight, weight], dim=1) / 2\n",
            "That convolves the mean of a and b. Nothing has to be halved: conv(a + b) = conv(a) + conv(b).",
        ),
        "interleaved": (
            "def as_concatenation(weight):\n    return weight.repeat_interleave(2, dim=1)\n",
            "You put a's and b's channels alternately. `torch.cat` puts all of a's first.",
        ),
        "only_a": (
            "def as_concatenation(weight):\n    return torch.cat([weight, torch.zeros_like(weight)], dim=1)\n",
            "With zeros for the second half, b is not heard at all.",
        ),
        "difference": (
            "def as_concatenation(weight):\n    return torch.cat([weight, -weight], dim=1)\n",
            "That convolves a - b.",
        ),
        "reversed": (
            "def as_concatenation(weight):\n    return torch.cat([weight, weight.flip(1)], dim=1)\n",
            "You run through b's channels backwards. Both halves count their channels in the same order.",
        ),
    },
    probes=lambda rng: [
        (_randn(rng, 4, 3, 3, 3), _randn(rng, 2, 3, 5, 7), _randn(rng, 2, 3, 5, 7)),
        (_randn(rng, 2, 5, 3, 3), _randn(rng, 1, 5, 4, 6), _randn(rng, 1, 5, 4, 6)),
    ],
    call=_use_weights,
    oracle=_true_sum,
)


def _true_iou(predicted: Tensor, true: Tensor, classes: int) -> float:
    shares = []
    for k in range(classes):
        said = {tuple(p) for p in torch.nonzero(predicted == k).tolist()}
        is_so = {tuple(p) for p in torch.nonzero(true == k).tolist()}
        if said | is_so:
            shares.append(len(said & is_so) / len(said | is_so))
    return float(np.mean(shares))


_IOU = "def mean_iou(predicted, true, classes):\n    found = []\n    for k in range(classes):\n"
_SETS = "        said, is_so = predicted == k, true == k\n"
_MEAN = "    return sum(found) / len(found)\n"


def _iou(body: str) -> str:
    return _IOU + _SETS + body + _MEAN


def _iou_probes(rng: torch.Generator) -> list[tuple]:
    many = torch.randint(0, 4, (3, 5, 7), generator=rng)
    few = torch.zeros(2, 3, 5, dtype=torch.long)
    few[0, 1, 1:4] = 2
    noisy = torch.where(torch.rand(3, 5, 7, generator=rng) < 0.3, torch.randint(0, 4, (3, 5, 7), generator=rng), many)
    return [(noisy, many, 4), (few.roll(1, 2), few, 5), (torch.zeros_like(few), few, 3)]


MEAN_IOU = Exercise(
    id="04.mean_iou",
    title="intersection over union",
    prompt="""\
Equation (7). For each class: pixels that both maps call so, over pixels that at least one of them calls so. Then the
mean over classes, all pictures together.

A class that neither map contains has no union. It is left out of the mean.""",
    minutes=7,
    difficulty=2,
    starter='''\
def mean_iou(predicted, true, classes):
    """predicted and true [N,H,W] int64 labels 0..classes-1 -> float."""
    raise NotImplementedError
''',
    solution='''\
def mean_iou(predicted, true, classes):
    """Mean over the classes that occur in either map."""
    found = []
    for k in range(classes):
        said, is_so = predicted == k, true == k
        union = (said | is_so).sum().item()
        if union:
            found.append((said & is_so).sum().item() / union)
    return sum(found) / len(found)
''',
    hints=(
        "`said = predicted == k` and `is_so = true == k` are masks; `&` is their intersection and `|` their union.",
        "`mask.sum().item()` counts pixels.",
        "Append to a list only where the union is not empty, then take the list's mean.",
    ),
    wrong={
        "recall": (
            _iou("        if is_so.any():\n            found.append(((said & is_so).sum() / is_so.sum()).item())\n"),
            "You divide by the true pixels alone: that is recall, and a map that shouts one class everywhere scores "
            "1 for it.",
        ),
        "precision": (
            _iou("        if said.any():\n            found.append(((said & is_so).sum() / said.sum()).item())\n"),
            "You divide by the predicted pixels alone: that is precision, and silence about a class costs nothing.",
        ),
        "dice": (
            _iou(
                "        both = (said & is_so).sum().item()\n"
                "        total = (said.sum() + is_so.sum()).item()\n"
                "        if total:\n            found.append(2 * both / total)\n"
            ),
            "That is Dice's coefficient, 2 |A and B| / (|A| + |B|). It orders two maps alike for one class, but it is "
            "never the smaller of the two.",
        ),
        "union_counts_twice": (
            _iou(
                "        both = (said & is_so).sum().item()\n"
                "        total = (said.sum() + is_so.sum()).item()\n"
                "        if total:\n            found.append(both / total)\n"
            ),
            "|A| + |B| counts the intersection twice, so a perfect map scores a half. The union counts it once.",
        ),
        "absent_is_0": (
            _iou(
                "        union = (said | is_so).sum().item()\n"
                "        found.append((said & is_so).sum().item() / max(union, 1))\n"
            ),
            "A class that is nowhere scores 0 with you, so a perfect map cannot reach 1. Leave it out of the mean.",
        ),
        "accuracy": (
            "def mean_iou(predicted, true, classes):\n    return (predicted == true).float().mean().item()\n",
            "That is the share of pixels that are right. Most pixels are background, so it is high for a map that "
            "sees nothing.",
        ),
    },
    probes=_iou_probes,
    oracle=_true_iou,
)


EXERCISES = (SLIDE, DECONVOLVE, BILINEAR, FIELD, FUSE, SUM_AS_CONCAT, MEAN_IOU)
