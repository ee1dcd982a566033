"""What lesson 07 does to pictures and scores: files, attacks on metrics, scenes with one mistake, and its figures."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minidiff.course import plots
from minidiff.data import shapes, to_uint8
from minidiff.data.transforms import from_uint8
from minidiff.metrics import frechet_bias, frechet_from_features

Features = Callable[[Tensor], Tensor]


def jpeg(x: Tensor, quality: int) -> Tensor:
    """Pictures after they were saved as JPEG files and read again.

    Args:
        x: [N,C,H,W] in [-1,1], C = 1 or 3. quality: 1 to 95.
    """
    import numpy as np
    from PIL import Image

    out = []
    for picture in to_uint8(x.cpu()).permute(0, 2, 3, 1).numpy():
        file = io.BytesIO()
        Image.fromarray(picture.squeeze()).save(file, "JPEG", quality=quality)
        again = torch.from_numpy(np.array(Image.open(file)))
        out.append(again[None] if again.ndim == 2 else again.permute(2, 0, 1))
    return from_uint8(torch.stack(out))


def resized(x: Tensor, side: int, smooth: bool) -> Tensor:
    """Pictures brought to another size and back.

    Args:
        x: [N,C,H,H]. side: in between. smooth: average what falls together (antialiasing), or take single pixels.
    """
    how = {"mode": "bilinear", "antialias": True} if smooth else {"mode": "nearest"}
    return F.interpolate(F.interpolate(x, (side, side), **how), x.shape[2:], mode="bilinear")


def noise_that_fools(features: Features, real: Tensor, n: int, steps: int, seed: int = 0) -> Tensor:
    """Pictures of noise, changed until the Gaussian of their features is that of real pictures.

    Args:
        features: differentiable, [N,C,H,W] -> [N,D]. real: [M,C,H,W].
        n: pictures. steps: of Adam. seed: of the noise.
    """
    device, shape = real.device, real.shape[1:]
    start = torch.rand(n, *shape, generator=torch.Generator().manual_seed(seed)).to(device) * 2 - 1
    pixels = start.requires_grad_(True)
    with torch.no_grad():
        target = torch.cat([features(part) for part in real.split(500)])
    mean, cov = target.mean(0), target.T.cov()
    optimizer = torch.optim.Adam([pixels], lr=0.05)
    for _ in range(steps):
        found = features(pixels.clamp(-1, 1))
        loss = (found.mean(0) - mean).square().sum() + (found.T.cov() - cov).square().sum().sqrt()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return pixels.detach().clamp(-1, 1)


def pleasing(clip: nn.Module, tokens: Tensor, n: int, steps: int, side: int = 32, seed: int = 0) -> Tensor:
    """Pictures of noise, changed until CLIP likes them for their captions.

    Args:
        clip: a CLIP. tokens: [n,L], a caption for each. n: pictures. steps: of Adam. side: in pixels. seed: of noise.
    """
    device = tokens.device
    noise = 0.2 * torch.randn(n, 3, side, side, generator=torch.Generator().manual_seed(seed))
    pixels = noise.to(device).requires_grad_(True)
    with torch.no_grad():
        texts = F.normalize(clip.encode_text(tokens), dim=1)
    optimizer = torch.optim.Adam([pixels], lr=0.03)
    for _ in range(steps):
        shaken = pixels.clamp(-1, 1) + 0.05 * torch.randn(pixels.shape, device=device)
        loss = -(F.normalize(clip.encode_image(shaken), dim=1) * texts).sum(1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return pixels.detach().clamp(-1, 1)


def mistakes(scene: shapes.Scene, rng: torch.Generator) -> dict[str, shapes.Scene]:
    """A scene of two objects with one thing wrong, for each kind of mistake.

    Args:
        scene: of two objects. rng: of the wrong values.
    """

    def other(value: str, known: Sequence[str]) -> str:
        left = [name for name in known if name != value]
        return left[int(torch.randint(len(left), (1,), generator=rng))]

    first, second = scene.things
    values = {"shape": shapes.SHAPES, "colour": shapes.COLOURS, "size": shapes.SIZES}
    found = {}
    for kind, known in values.items():
        changed = replace(first, **{kind: other(getattr(first, kind), known)})
        found[kind] = replace(scene, things=(changed, second))
    found["relation"] = scene.swapped()
    found["colours exchanged"] = replace(
        scene, things=(replace(first, colour=second.colour), replace(second, colour=first.colour))
    )
    found["one is missing"] = shapes.Scene((first,), place="centre", background=scene.background)
    return found


def lookalikes(n: int, seed: int = 0) -> dict[str, Tensor]:
    """Clouds of points that look different and have the mean 0 and the covariance I, each exactly.

    Args:
        n: points in a cloud. seed: of the points.

    Returns:
        name -> [n,2] float64.
    """
    rng = torch.Generator().manual_seed(seed)
    normal, u = torch.randn(3, n, 2, generator=rng, dtype=torch.float64), torch.rand(n, generator=rng).double()
    angle, corner = 2 * torch.pi * u, normal[1].sign()
    clouds = {
        "Gaussian": normal[0],
        "ring": torch.stack([angle.cos(), angle.sin()], dim=1) + 0.05 * normal[2],
        "four heaps": corner + 0.15 * normal[2],
    }
    found = {}
    for name, cloud in clouds.items():
        off = cloud - cloud.mean(0)
        found[name] = torch.linalg.solve_triangular(torch.linalg.cholesky(off.T.cov()), off.T, upper=False).T
    return found


def bias_curve(features: Tensor, others: Tensor, sizes: Sequence[int], draws: int = 5) -> dict[str, list[float]]:
    """Frechet distance between samples of one distribution against their size, measured and predicted.

    Args:
        features, others: [N,D] real pictures, disjoint. sizes: pictures in each sample.
        draws: samples of each size.
    """
    rng, cov = torch.Generator().manual_seed(0), features.T.double().cov()
    found: dict[str, list[float]] = {"measured": [], "predicted": []}
    for n in sizes:
        picks = [[torch.randperm(len(x), generator=rng)[:n] for x in (features, others)] for _ in range(draws)]
        values = [frechet_from_features(features[a], others[b]) for a, b in picks]
        found["measured"].append(sum(values) / draws)
        found["predicted"].append(frechet_bias(cov, n, n))
    return found


def bars(found: Mapping[str, float], label: str, chance: float | None = None) -> None:
    """Draw one number for each name as horizontal bars.

    Args:
        found: name -> number. label: of the axis. chance: where a dashed line stands.
    """
    import matplotlib.pyplot as plt

    _, ax = plt.subplots(figsize=(7, 0.36 * len(found) + 0.8))
    names = list(found)[::-1]
    ax.barh(names, [found[name] for name in names], color=plots.DATA, height=0.6)
    for i, name in enumerate(names):
        ax.text(found[name], i, f" {found[name]:.2f}", va="center", fontsize=9)
    if chance is not None:
        ax.axvline(chance, color="black", ls="--", lw=1)
    ax.set_xlabel(label)
