"""Exercises of lesson 05: similarities, the loss that pulls pairs together, and its temperature."""

import math

import numpy as np
import torch
from torch import Tensor

from minidiff.course.exercise import Exercise


def _unit(x: Tensor) -> np.ndarray:
    v = x.numpy()
    return v / np.sqrt((v * v).sum(-1, keepdims=True))


_LOGITS = "def similarity(images, texts, scale):\n"

SIMILARITY = Exercise(
    id="05.similarity",
    title="a table of similarities",
    prompt="""\
Equation (1): the logits of every picture with every caption. What comes out of the towers has any length; only its
direction is to count.""",
    minutes=5,
    difficulty=1,
    starter='''\
def similarity(images, texts, scale):
    """images [N,D] and texts [M,D], of any length; scale a number -> logits [N,M]."""
    raise NotImplementedError
''',
    solution='''\
def similarity(images, texts, scale):
    """Cosines of all pairs, times the scale."""
    images, texts = F.normalize(images, dim=1), F.normalize(texts, dim=1)
    return scale * images @ texts.T
''',
    hints=(
        "`F.normalize(x, dim=1)` divides each row by its length.",
        "All inner products of the rows of two matrices at once: `a @ b.T`.",
    ),
    wrong={
        "any_length": (
            _LOGITS + "    return scale * images @ texts.T\n",
            "You compare vectors of any length: a long one is similar to everything. Normalise the rows first.",
        ),
        "divided": (
            _LOGITS + "    return F.normalize(images, dim=-1) @ F.normalize(texts, dim=-1).T / scale\n",
            "You divide by the scale. It is the *inverse* of the temperature, so it multiplies.",
        ),
        "columns": (
            _LOGITS + "    return scale * F.normalize(images, dim=0) @ F.normalize(texts, dim=0).T\n",
            "You normalise columns: each feature over the batch. A row is one embedding; use `dim=1`.",
        ),
        "distance": (
            _LOGITS + "    return -scale * torch.cdist(F.normalize(images, dim=-1), F.normalize(texts, dim=-1))\n",
            "Those are negative distances. They order pairs the same way, but the logits of equation (1) are cosines.",
        ),
        "one_side": (
            _LOGITS + "    return scale * F.normalize(images, dim=-1) @ texts.T\n",
            "Only the pictures are normalised. A long caption still outshouts the others.",
        ),
    },
    probes=lambda rng: [
        (3 * torch.randn(5, 4, generator=rng), torch.randn(7, 4, generator=rng), 2.5),
        (torch.randn(2, 9, generator=rng), 5 * torch.randn(3, 9, generator=rng), 14.0),
    ],
    oracle=lambda images, texts, scale: torch.from_numpy(scale * _unit(images) @ _unit(texts).T),
)


def _true_loss(logits: Tensor) -> Tensor:
    z = logits.numpy()
    rows = [np.logaddexp.reduce(z[i]) - z[i, i] for i in range(len(z))]
    columns = [np.logaddexp.reduce(z[:, i]) - z[i, i] for i in range(len(z))]
    return torch.tensor((np.mean(rows) + np.mean(columns)) / 2)


_LOSS = "def contrastive_loss(logits):\n    target = torch.arange(len(logits), device=logits.device)\n"

LOSS = Exercise(
    id="05.contrastive_loss",
    title="pull N pairs together, push the others apart",
    prompt="""\
Equation (2). Row `i` of the logits belongs to picture `i`, column `i` to its caption. Each row is a question with N
answers, of which the one on the diagonal is right; each column is one too. Average the two directions.""",
    minutes=8,
    difficulty=2,
    starter='''\
def contrastive_loss(logits):
    """logits [N,N], pairs on the diagonal -> scalar, in nats."""
    raise NotImplementedError
''',
    solution='''\
def contrastive_loss(logits):
    """Cross-entropy of rows and of columns, averaged."""
    target = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
''',
    hints=(
        "`F.cross_entropy(logits, target)` takes logits [N,classes] and the number of the right class for each row.",
        "The right column of row `i` is `i`: `torch.arange(N)`.",
        "For the other direction the columns must become rows.",
    ),
    wrong={
        "pictures_only": (
            _LOSS + "    return F.cross_entropy(logits, target)\n",
            "Only the pictures choose among captions. The captions choose among pictures too: transpose the logits.",
        ),
        "captions_only": (
            _LOSS + "    return F.cross_entropy(logits.T, target)\n",
            "Only the captions choose among pictures. The other direction is missing.",
        ),
        "sum": (
            _LOSS + "    return F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)\n",
            "You add the two directions. Equation (2) averages them, so that guessing costs log N.",
        ),
        "diagonal": (
            _LOSS + "    return -logits.diagonal().mean()\n",
            "You pull pairs together and push nothing apart: the best answer to that is one embedding for everything.",
        ),
        "softmax_twice": (
            _LOSS + "    rows, columns = logits.softmax(1), logits.T.softmax(1)\n"
            "    return (F.cross_entropy(rows, target) + F.cross_entropy(columns, target)) / 2\n",
            "`F.cross_entropy` takes the softmax itself. You take it of probabilities once more, and the loss can "
            "never come near 0.",
        ),
    },
    probes=lambda rng: [(3 * torch.randn(5, 5, generator=rng),), (10 * torch.randn(7, 7, generator=rng),)],
    oracle=_true_loss,
)

SCALE = Exercise(
    id="05.scale",
    title="a temperature that stays in bounds",
    prompt="""\
The factor on the cosines is learned as a *logarithm*, $\\tau$ = `logit_scale`, so that it stays positive and a step
changes it by a share of itself. Return the factor, kept between 1 and 100.""",
    minutes=4,
    difficulty=1,
    starter='''\
def scale(logit_scale):
    """logit_scale, any shape, a logarithm -> the factor on the cosines, same shape, between 1 and 100."""
    raise NotImplementedError
''',
    solution='''\
def scale(logit_scale):
    """exp of the logarithm, within bounds."""
    return logit_scale.clamp(0, math.log(100)).exp()
''',
    hints=("A logarithm's inverse is `exp`.", "Either clamp the logarithm to [0, ln 100], or the factor to [1, 100]."),
    wrong={
        "no_exp": (
            "def scale(logit_scale):\n    return logit_scale.clamp(1, 100)\n",
            "You use the logarithm as the factor. A `logit_scale` of 2.66 means a factor of 14.3.",
        ),
        "unbounded": (
            "def scale(logit_scale):\n    return logit_scale.exp()\n",
            "Nothing stops the factor. A model that has learned its batch by heart would sharpen it for ever.",
        ),
        "temperature": (
            "def scale(logit_scale):\n    return (-logit_scale.clamp(0, math.log(100))).exp()\n",
            "That is the temperature. The factor is its inverse.",
        ),
        "bound_on_the_logarithm": (
            "def scale(logit_scale):\n    return logit_scale.clamp(1, 100).exp()\n",
            "You keep the *logarithm* between 1 and 100: the factor may then be e to the power of 100.",
        ),
    },
    probes=lambda rng: [
        (torch.tensor([-1.5, 0.25, 1 / 2, 2.66, 4.6, 5.0, 9.0]),),
        (6 * torch.rand(3, 2, generator=rng) - 0.5,),
    ],
    oracle=lambda logit_scale: torch.from_numpy(np.clip(np.exp(logit_scale.numpy()), 1, 100)),
    equivalent={},
)


def _true_gap(images: Tensor, texts: Tensor) -> Tensor:
    a, b = _unit(images), _unit(texts)
    middle = [sum(column) / len(column) for column in zip(*a)], [sum(column) / len(column) for column in zip(*b)]
    return torch.tensor(math.dist(*middle))


_GAP = "def modality_gap(images, texts):\n    a, b = F.normalize(images, dim=-1), F.normalize(texts, dim=-1)\n"

GAP = Exercise(
    id="05.modality_gap",
    title="how far apart the two clouds lie",
    prompt="""\
Pictures and captions share one sphere, but do they share a *place* on it? The modality gap is the distance between the
mean of all picture embeddings and the mean of all caption embeddings, each of length 1 (Liang et al., 2022).""",
    minutes=5,
    difficulty=2,
    starter='''\
def modality_gap(images, texts):
    """images [N,D] and texts [M,D], of any length -> scalar."""
    raise NotImplementedError
''',
    solution='''\
def modality_gap(images, texts):
    """Distance between the two means of unit vectors."""
    a, b = F.normalize(images, dim=1), F.normalize(texts, dim=1)
    return (a.mean(0) - b.mean(0)).norm()
''',
    hints=("Normalise first, average then.", "`.mean(0)` averages over rows; `.norm()` is a vector's length."),
    wrong={
        "any_length": (
            "def modality_gap(images, texts):\n    return (images.mean(0) - texts.mean(0)).norm()\n",
            "Long embeddings pull the mean towards themselves. Give each length 1 first.",
        ),
        "mean_of_distances": (
            _GAP + "    return torch.cdist(a, b).mean()\n",
            "That is the mean distance of all pairs. It is large for two clouds in the *same* place, if they are wide.",
        ),
        "normalised_again": (
            _GAP + "    return (F.normalize(a.mean(0), dim=-1) - F.normalize(b.mean(0), dim=-1)).norm()\n",
            "You push the means back onto the sphere. The mean of a wide cloud lies far inside it, and that is no gap.",
        ),
        "squared": (
            _GAP + "    return (a.mean(0) - b.mean(0)).square().sum()\n",
            "That is the distance's square.",
        ),
    },
    probes=lambda rng: [
        (3 * torch.randn(5, 4, generator=rng) + 1, torch.randn(7, 4, generator=rng) - 1),
        (torch.rand(6, 3, generator=rng) * torch.rand(6, 1, generator=rng), torch.randn(4, 3, generator=rng)),
    ],
    oracle=_true_gap,
)
