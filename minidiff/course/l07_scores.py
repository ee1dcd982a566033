"""Exercises of lesson 07 on kernels, neighbours, classes and captions."""

import math

import torch
from torch import Tensor

from minidiff.course.exercise import Exercise


def _true_kernel(x: Tensor, y: Tensor) -> Tensor:
    def k(a: list[float], b: list[float]) -> float:
        return (sum(p * q for p, q in zip(a, b)) / len(a) + 1) ** 3

    a, b = x.double().tolist(), y.double().tolist()
    n, m = len(a), len(b)
    within = [
        sum(k(rows[i], rows[j]) for i in range(len(rows)) for j in range(len(rows)) if i != j)
        / (len(rows) * (len(rows) - 1))
        for rows in (a, b)
    ]
    across = sum(k(p, q) for p in a for q in b) / (n * m)
    return torch.tensor(sum(within) - 2 * across, dtype=torch.float64)


_KERNEL = "def kernel_distance(x, y):\n    def k(a, b):\n        return (a @ b.mT / a.shape[1] + 1) ** 3\n\n"

KERNEL = Exercise(
    id="07.kernel_distance",
    title="a distance without a bias",
    prompt="""\
The kernel distance (KID): with $k(a, b) = (a \\cdot b / D + 1)^3$, the mean of $k$ over pairs of *different* pictures
within x, plus that within y, minus twice the mean over all pairs of one of x and one of y.""",
    minutes=9,
    difficulty=3,
    starter='''\
def kernel_distance(x, y):
    """x [N,D], y [M,D] features -> a scalar; around 0, also below, for two sets from one distribution."""
    raise NotImplementedError
''',
    solution='''\
def kernel_distance(x, y):
    """Within and across; the diagonal, each picture with itself, is left out."""
    def k(a, b):
        return (a @ b.mT / a.shape[1] + 1) ** 3

    def within(a):
        table = k(a, a)
        return (table.sum() - table.trace()) / (len(a) * (len(a) - 1))

    return within(x) + within(y) - 2 * k(x, y).mean()
''',
    hints=("`k(x, x)` holds N pairs too many: each picture with itself.", "N (N - 1) pairs are left.",
           "Across sets no pair is a picture with itself: a plain mean."),
    wrong={
        "with_itself": (
            _KERNEL + "    return k(x, x).mean() + k(y, y).mean() - 2 * k(x, y).mean()\n",
            "Each picture is paired with itself: that is the biased estimate, which is too large.",
        ),
        "wrong_count": (
            _KERNEL + "    def within(a):\n        table = k(a, a)\n"
            "        return (table.sum() - table.trace()) / len(a) ** 2\n\n"
            "    return within(x) + within(y) - 2 * k(x, y).mean()\n",
            "You took N pairs out of the sum and still divide by all N^2.",
        ),
        "once_across": (
            _KERNEL + "    def within(a):\n        table = k(a, a)\n"
            "        return (table.sum() - table.trace()) / (len(a) * (len(a) - 1))\n\n"
            "    return within(x) + within(y) - k(x, y).mean()\n",
            "The pairs across count twice: x with y, and y with x.",
        ),
        "no_width": (
            _KERNEL.replace(" / a.shape[1]", "") + "    def within(a):\n        table = k(a, a)\n"
            "        return (table.sum() - table.trace()) / (len(a) * (len(a) - 1))\n\n"
            "    return within(x) + within(y) - 2 * k(x, y).mean()\n",
            "You did not divide the product by D, the number of features.",
        ),
    },
    probes=lambda rng: [
        (torch.randn(n, d, generator=rng), torch.randn(m, d, generator=rng) + 0.5) for n, m, d in ((5, 7, 3), (6, 4, 8))
    ],
    oracle=_true_kernel,
    tolerance=1e-3,
)  # fmt: skip


def _true_precision(real: Tensor, fake: Tensor, k: int) -> float:
    def far(a: list[float], b: list[float]) -> float:
        return math.dist(a, b)

    r, f = real.double().tolist(), fake.double().tolist()
    radii = [sorted(far(a, b) for j, b in enumerate(r) if j != i)[k - 1] for i, a in enumerate(r)]
    return sum(any(far(a, b) <= radius for a, radius in zip(r, radii)) for b in f) / len(f)


_RADII = "def precision(real, fake, k):\n    radii = torch.cdist(real, real).kthvalue(k + 1, dim=1).values\n"

PRECISION = Exercise(
    id="07.precision",
    title="are they good, are all there",
    prompt="""\
Each real picture has a ball that reaches to its `k`-th nearest *other* real picture. Precision is the share of fakes
that lie in at least one ball. (Recall is the same function with the sets exchanged.)""",
    minutes=9,
    difficulty=3,
    starter='''\
def precision(real, fake, k):
    """real [N,D], fake [M,D], k an int -> share of fakes inside, a scalar in [0,1]."""
    raise NotImplementedError
''',
    solution='''\
def precision(real, fake, k):
    """A radius for each real picture; a fake is in if it is nearer to some real one than that one's radius."""
    radii = torch.cdist(real, real).kthvalue(k + 1, dim=1).values  # the nearest is itself
    inside = torch.cdist(fake, real) <= radii  # [M,N]
    return inside.any(dim=1).double().mean()
''',
    hints=("`torch.cdist(real, real)` has a zero in each row: the picture itself.",
           "`x.kthvalue(k + 1, dim=1).values` is the k-th nearest other.",
           "The radius belongs to the real picture: [M,N] distances against [N] radii."),
    wrong={
        "itself_counts": (
            "def precision(real, fake, k):\n    radii = torch.cdist(real, real).kthvalue(k, dim=1).values\n"
            "    return (torch.cdist(fake, real) <= radii).any(dim=1).double().mean()\n",
            "You counted the picture itself as its first neighbour, so your balls are too small.",
        ),
        "recall": (
            "def precision(real, fake, k):\n    radii = torch.cdist(fake, fake).kthvalue(k + 1, dim=1).values\n"
            "    return (torch.cdist(real, fake) <= radii).any(dim=1).double().mean()\n",
            "That is recall: balls around the fakes, and real pictures looked for in them.",
        ),
        "pairs": (
            _RADII + "    return (torch.cdist(fake, real) <= radii).double().mean()\n",
            "You count pairs. A fake counts once, in however many balls it lies.",
        ),
        "covered": (
            _RADII + "    return (torch.cdist(fake, real) <= radii).any(dim=0).double().mean()\n",
            "That is the share of balls with a fake in them: coverage.",
        ),
        "all": (
            _RADII + "    return (torch.cdist(fake, real) <= radii).all(dim=1).double().mean()\n",
            "One ball is enough.",
        ),
    },
    probes=lambda rng: [
        (torch.randn(n, d, generator=rng), 1.5 * torch.randn(m, d, generator=rng), k)
        for n, m, d, k in ((40, 60, 2, 2), (30, 50, 3, 3))
    ],
    oracle=_true_precision,
    equivalent={
        "1 -> 0 (place 2)": "the table of distances among real pictures is symmetric",
        "torch.cdist(fake, real) <= radii -> torch.cdist(fake, real) < radii": "no distance equals a radius",
    },
)  # fmt: skip


def _true_inception(p: Tensor) -> float:
    rows = p.double().tolist()
    marginal = [sum(column) / len(rows) for column in zip(*rows)]
    divergence = [sum(a * math.log(a / b) for a, b in zip(row, marginal) if a > 0) for row in rows]
    return math.exp(sum(divergence) / len(rows))


_INCEPTION = "def class_score(p):\n    marginal = p.mean(dim=0)\n"

INCEPTION = Exercise(
    id="07.class_score",
    title="sure and varied",
    prompt="""\
A classifier says probabilities `p` for each of N pictures. The class score (Inception Score) is the exponential of the
mean divergence of a picture's probabilities from the mean ones: $\\exp \\frac1N \\sum_n \\sum_c p_{nc} \\ln
(p_{nc} / \\bar p_c)$. No probability is 0.""",
    minutes=6,
    difficulty=2,
    starter='''\
def class_score(p):
    """p [N,C] probabilities, rows sum to 1 -> a scalar from 1 to C."""
    raise NotImplementedError
''',
    solution='''\
def class_score(p):
    """exp of the mean over pictures of KL(p(c | x) || p(c))."""
    marginal = p.mean(dim=0)
    divergence = (p * (p / marginal).log()).sum(dim=1)
    return divergence.mean().exp()
''',
    hints=("The mean probabilities are [C].", "Sum over classes, then a mean over pictures, then `exp`."),
    wrong={
        "mean_of_exp": (
            _INCEPTION + "    return (p * (p / marginal).log()).sum(dim=1).exp().mean()\n",
            "The exponential comes last, after the mean over pictures.",
        ),
        "entropy": (
            _INCEPTION + "    return (-(p * p.log()).sum(dim=1)).mean().exp()\n",
            "That is how *unsure* the classifier is, and it ignores whether the classes vary.",
        ),
        "other_way": (
            _INCEPTION + "    return (marginal * (marginal / p).log()).sum(dim=1).mean().exp()\n",
            "You exchanged the two distributions of the divergence; it is not symmetric.",
        ),
        "log": (
            _INCEPTION + "    return (p * (p / marginal).log()).sum(dim=1).mean()\n",
            "The exponential is missing; with it, the score counts classes.",
        ),
    },
    probes=lambda rng: [(torch.softmax(2 * torch.randn(n, c, generator=rng), dim=1),) for n, c in ((7, 4), (12, 5))],
    oracle=_true_inception,
)


def _true_clip(images: Tensor, texts: Tensor) -> float:
    total = 0.0
    for a, b in zip(images.double().tolist(), texts.double().tolist()):
        cosine = sum(p * q for p, q in zip(a, b)) / (math.hypot(*a) * math.hypot(*b))
        total += 2.5 * max(cosine, 0.0)
    return total / len(images)


_CLIP = "def clip_score(images, texts):\n    cosine = F.cosine_similarity(images, texts)\n"

CLIP = Exercise(
    id="07.clip_score",
    title="does the picture fit its caption",
    prompt="""\
CLIP score (Hessel et al., 2021): of each picture and *its* caption the cosine of their embeddings, cut off below 0,
times 2.5; then the mean. The embeddings do not have length 1 yet.""",
    minutes=4,
    difficulty=1,
    starter='''\
def clip_score(images, texts):
    """images [N,D], texts [N,D], row i belongs to row i -> a scalar from 0 to 2.5."""
    raise NotImplementedError
''',
    solution='''\
def clip_score(images, texts):
    """2.5 max(cos, 0), a mean over pairs."""
    lengths = images.norm(dim=1) * texts.norm(dim=1)
    cosine = (images * texts).sum(dim=1) / lengths
    return 2.5 * cosine.clamp_min(0).mean()
''',
    hints=("A cosine is a product of two vectors over the product of their lengths.", "Cut off before the mean."),
    wrong={
        "all_pairs": (
            "def clip_score(images, texts):\n"
            "    table = F.normalize(images, dim=1) @ F.normalize(texts, dim=1).mT\n"
            "    return 2.5 * table.clamp_min(0).mean()\n",
            "You scored each picture with every caption. Only its own counts.",
        ),
        "no_lengths": (
            "def clip_score(images, texts):\n    return 2.5 * (images * texts).sum(dim=1).clamp_min(0).mean()\n",
            "You did not divide by the lengths: long embeddings would fit everything.",
        ),
        "late_cut": (
            _CLIP + "    return 2.5 * cosine.mean().clamp_min(0)\n",
            "You cut off after the mean; then a bad pair can cancel a good one.",
        ),
        "hundred": (
            _CLIP + "    return 100 * cosine.mean()\n",
            "That is another convention: 100 times the mean cosine.",
        ),
    },
    probes=lambda rng: [
        (torch.randn(n, d, generator=rng), torch.randn(n, d, generator=rng)) for n, d in ((7, 3), (10, 5))
    ],
    oracle=_true_clip,
)
