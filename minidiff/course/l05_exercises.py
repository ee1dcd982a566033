"""The exercises of lesson 05; those on the loss are in `l05_training`, those on captions in `l05_text`."""

import torch
from torch import Tensor

from minidiff.course.exercise import Exercise
from minidiff.course.l05_text import BAG, POOL
from minidiff.course.l05_training import GAP, LOSS, SCALE, SIMILARITY, _unit


def _true_classes(texts: Tensor) -> Tensor:
    unit = _unit(texts)
    return torch.from_numpy(_unit(torch.from_numpy(unit.sum(1) / unit.shape[1])))


_CLASSES = "def class_embeddings(texts):\n"

CLASSES = Exercise(
    id="05.class_embeddings",
    title="a classifier made of sentences",
    prompt="""\
Each class is said in T ways ("a red circle", "a picture of a red circle", ...). Make one embedding of length 1 a class,
in which each way has the same say.""",
    minutes=6,
    difficulty=2,
    starter='''\
def class_embeddings(texts):
    """texts [K,T,D], T sentences for each of K classes, of any length -> [K,D], of length 1."""
    raise NotImplementedError
''',
    solution='''\
def class_embeddings(texts):
    """Normalise, average over the sentences, normalise again."""
    return F.normalize(F.normalize(texts, dim=-1).mean(dim=1), dim=1)
''',
    hints=("A long sentence embedding must not outweigh the others.", "The mean of unit vectors is shorter than 1."),
    wrong={
        "once_at_the_end": (
            _CLASSES + "    return F.normalize(texts.mean(dim=1), dim=-1)\n",
            "You average before you normalise, so the sentence with the longest embedding decides.",
        ),
        "once_at_the_start": (
            _CLASSES + "    return F.normalize(texts, dim=-1).mean(dim=1)\n",
            "Your classes have different lengths. One whose sentences agree is longer, and wins too often.",
        ),
        "over_classes": (
            _CLASSES + "    mean = F.normalize(texts, dim=-1).mean(dim=0)\n    return F.normalize(mean, dim=-1)\n",
            "You average over the classes, not over the sentences.",
        ),
        "first_sentence": (
            _CLASSES + "    return F.normalize(texts[:, 0], dim=-1)\n",
            "You use the first sentence alone.",
        ),
    },
    probes=lambda rng: [
        (torch.randn(5, 3, 4, generator=rng) * (4 * torch.rand(5, 3, 1, generator=rng) + 0.1),),
        (torch.randn(3, 7, 2, generator=rng) * (4 * torch.rand(3, 7, 1, generator=rng) + 0.1),),
    ],
    oracle=_true_classes,
)


def _true_recall(logits: Tensor, k: int) -> float:
    found = 0
    for i, row in enumerate(logits.tolist()):
        better = sum(value >= row[i] for j, value in enumerate(row) if j != i)
        found += better < k
    return found / len(logits)


def _recall_probes(rng: torch.Generator) -> list[tuple]:
    tied = torch.zeros(5, 5)
    tied[:, 0] = 1.0
    return [(torch.randn(23, 23, generator=rng) + torch.eye(23), k) for k in (1, 3, 5)] + [(tied, 1), (tied, 4)]


_RECALL = "def recall_at(logits, k):\n"

RECALL = Exercise(
    id="05.recall_at",
    title="how often the right caption is found",
    prompt="""\
Row `i` ranks all captions for picture `i`; its own stands on the diagonal. In which share of the rows is it among the
best `k`? A tie counts *against* it: a model that gives everything the same number must score 0 for any `k` below N.""",
    minutes=7,
    difficulty=2,
    starter='''\
def recall_at(logits, k):
    """logits [N,N], pairs on the diagonal; k an int -> share of rows, a float."""
    raise NotImplementedError
''',
    solution='''\
def recall_at(logits, k):
    """Share of rows in which the diagonal is among the k largest."""
    rank = (logits >= logits.diagonal()[:, None]).sum(dim=1)
    return (rank <= k).double().mean().item()
''',
    hints=(
        "Its rank is how many captions of the row are at least as good, itself among them.",
        "`logits.diagonal()[:, None]` stands the right answers beside their rows.",
    ),
    wrong={
        "columns": (
            _RECALL + "    rank = (logits >= logits.diagonal()[None]).sum(dim=0)\n"
            "    return (rank <= k).double().mean().item()\n",
            "You let captions choose among pictures. Asked for is the other direction.",
        ),
        "ties_for_it": (
            _RECALL + "    rank = (logits > logits.diagonal()[:, None]).sum(dim=1)\n"
            "    return (rank < k).double().mean().item()\n",
            "A tie counts for the right caption in yours: a model that says the same of everything scores 100 %.",
        ),
        "one_too_few": (
            _RECALL + "    rank = (logits >= logits.diagonal()[:, None]).sum(dim=1)\n"
            "    return (rank < k).double().mean().item()\n",
            "Your ranks begin at 1, so the best k have ranks up to and including k.",
        ),
        "accuracy": (
            _RECALL + "    target = torch.arange(len(logits), device=logits.device)\n"
            "    return (logits.argmax(dim=1) == target).double().mean().item()\n",
            "That is recall at 1, whatever k is.",
        ),
    },
    probes=_recall_probes,
    oracle=_true_recall,
)


def _true_box(mask: Tensor) -> Tensor:
    rows = []
    for one in mask.tolist():
        at = [(i, j) for i, row in enumerate(one) for j, marked in enumerate(row) if marked]
        (top, left), (bottom, right) = (tuple(pick(axis) for axis in zip(*at)) for pick in (min, max))
        rows.append([top, left, bottom + 1, right + 1])
    return torch.tensor(rows)


def _masks(rng: torch.Generator) -> list[tuple]:
    found = []
    for n, h, w in ((3, 7, 9), (2, 5, 6)):
        mask = torch.zeros(n, h, w, dtype=torch.bool)
        for one in mask:
            for _ in range(3):
                one[int(torch.randint(1, h, (), generator=rng)), int(torch.randint(2, w, (), generator=rng))] = True
        found.append((mask,))
    return found


_BOX = "def box_of(mask):\n    boxes = []\n    for one in mask:\n        at = one.nonzero()\n"
_END = "    return torch.tensor(boxes, device=mask.device)\n"

BOX = Exercise(
    id="05.box_of",
    title="from marked pixels to a box",
    prompt="""\
The smallest box around what is marked: top, left, bottom, right, where the last two are the first row and column
*outside* (so that `image[top:bottom, left:right]` cuts it out).""",
    minutes=6,
    difficulty=2,
    starter='''\
def box_of(mask):
    """mask [B,H,W] bool, something marked in each -> [B,4] int64: top, left, bottom, right."""
    raise NotImplementedError
''',
    solution='''\
def box_of(mask):
    """Smallest and largest marked row and column."""
    boxes = []
    for one in mask:
        at = one.nonzero()
        (top, left), (bottom, right) = at.amin(dim=0).tolist(), at.amax(dim=0).tolist()
        boxes.append([top, left, bottom + 1, right + 1])
    return torch.tensor(boxes, device=mask.device)
''',
    hints=(
        "`one.nonzero()` lists the marked places, [n,2]: row, column.",
        "`.amin(dim=0)` and `.amax(dim=0)` give the smallest and the largest of each.",
    ),
    wrong={
        "inclusive": (
            _BOX + "        boxes.append([*at.amin(dim=0).tolist(), *at.amax(dim=0).tolist()])\n" + _END,
            "Your box ends *on* the last marked row and column. The cut would lose them: ends are exclusive.",
        ),
        "x_first": (
            _BOX + "        (top, left), (bottom, right) = at.amin(dim=0).tolist(), at.amax(dim=0).tolist()\n"
            "        boxes.append([left, top, right + 1, bottom + 1])\n" + _END,
            "You give columns first. The order here is top, left, bottom, right, as a tensor is indexed.",
        ),
        "height_and_width": (
            _BOX + "        (top, left), (bottom, right) = at.amin(dim=0).tolist(), at.amax(dim=0).tolist()\n"
            "        boxes.append([top, left, bottom + 1 - top, right + 1 - left])\n" + _END,
            "You return height and width. Asked for are the places where the box ends.",
        ),
        "whole_picture": (
            "def box_of(mask):\n"
            "    return torch.tensor([[0, 0, *mask.shape[1:]]] * len(mask), device=mask.device)\n",
            "That is the whole picture: the trivial baseline that a detector has to beat.",
        ),
    },
    probes=_masks,
    oracle=_true_box,
)


EXERCISES = (SIMILARITY, LOSS, SCALE, POOL, BAG, RECALL, GAP, CLASSES, BOX)
