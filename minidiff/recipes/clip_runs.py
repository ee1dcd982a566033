"""One short training of lesson 05's sweeps, and what is measured on it.

A run is described by a `Run`; its row is kept under build/recipes/clip, named by all that makes it, so that runs are
shared between questions and an interrupted sweep goes on.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn

from minidiff import data
from minidiff.data.shapes import captioned, captions, draw, gallery, partly, tokenizer
from minidiff.metrics import class_embeddings, linear_probe, retrieval
from minidiff.models.captioner import Captioner, CaptionerConfig, WordPredictor, WordPredictorConfig, log_likelihood
from minidiff.models.clip import CLIP, CLIPConfig, ImageConfig, TextConfig, clamp_logit_scale
from minidiff.models.image_encoders import ResNetConfig
from minidiff.models.text_encoders import TextTransformerConfig
from minidiff.objectives import CaptionLoss, ClassifierLoss, CLIPLoss, WordsLoss
from minidiff.recipes.mini_clip import PAIRS, PARTIAL, SIZE, TEMPLATES, embed_images, embed_texts
from minidiff.recipes.provenance import hardware
from minidiff.recipes.shapes_classifier import soften
from minidiff.training import EMA, Turn, run, warmup_cosine
from minidiff.training.checkpoint import write_atomic

WORK = Path("build/recipes/clip")
POOL, SEEDS = 32_768, (0, 1, 2)  # different pairs of the training set, one epoch
IMAGES, TESTED = 2 * POOL, 1000  # images seen in a run; pictures of each kind that it is tested on
BATCH, LR, WIDTH, EMA_DECAY = 128, 4e-3, 64, 0.99
CURVE = (0.0625, 0.125, 0.1875, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0)  # of a run's steps, where it is looked at
STYLES = ("plain", "outline", "texture")


def resnet(base: int = 19) -> ResNetConfig:
    """The sweeps' image tower, which learns most from so few pictures."""
    return ResNetConfig(size=SIZE, base=base, blocks=(2, 2), heads=4, stem=2)


def writer(width: int = WIDTH) -> TextTransformerConfig:
    """The sweeps' text tower."""
    return TextTransformerConfig(width=width, layers=2, heads=4)


@dataclass(frozen=True)
class Run:
    """Everything that makes a training what it is; the defaults are the base run.

    Attributes:
        image, text: the towers' configs. dim: of an embedding.
        objective: "contrastive", "words", "caption", or "labels" (the pair of colour and shape).
        batch, images, lr, seed: of the training.
        pairs: how many different pairs there are.
        noise: share of the pictures that have the caption of another one.
        scale: a fixed factor of the logits in place of a learned one; 0 learns it.
        projected: whether a linear projection stands behind each tower; without, towers give embeddings themselves.
        curve: whether accuracy is measured during training too.
    """

    image: ImageConfig = resnet()
    text: TextConfig = writer()
    dim: int = 64
    objective: str = "contrastive"
    batch: int = BATCH
    images: int = IMAGES
    lr: float = LR
    pairs: int = POOL
    noise: float = 0.0
    scale: float = 0.0
    projected: bool = True
    curve: bool = True
    seed: int = 0

    @property
    def name(self) -> str:
        """A file name that differs for runs that differ."""
        said = json.dumps({**asdict(self), "kind": [type(self.image).__name__, type(self.text).__name__]})
        return f"{self.objective}-{hashlib.blake2b(said.encode(), digest_size=8).hexdigest()}"


@cache
def pool(n: int) -> dict[str, Tensor]:
    """The first n training pairs, one object each: "x" [n,3,32,32] uint8, "tokens" [n,24], "y" [n], see `PAIRS`."""
    made = captioned(n, size=SIZE, objects=1, seed=31)
    texts = captions(partly(made.scenes, PARTIAL, seed=32), seed=33)
    y = torch.tensor([_pair(scene) for scene in made.scenes])
    return {"x": data.to_uint8(made.x), "tokens": tokenizer()(texts)["tokens"], "y": y}


def _pair(scene) -> int:
    return PAIRS.index((scene.things[0].shape, scene.things[0].colour))


class Pool:
    """Batches of the first `pairs` pictures, as a run asks for them; a loader for training.

    Args:
        run: which pictures and captions, and the order.
        device: where the pictures lie.
    """

    def __init__(self, run: Run, device: torch.device):
        kept = {k: v.to(device) for k, v in pool(run.pairs).items()}
        rng = torch.Generator().manual_seed(1000 + run.seed)
        wrong = (torch.rand(len(kept["y"]), generator=rng) < run.noise).nonzero()[:, 0].to(device)
        kept["tokens"] = kept["tokens"].clone()  # the pool's own stay as they are
        kept["tokens"][wrong] = kept["tokens"][wrong.roll(1)]
        self.order = data.Batches({"x": kept.pop("x"), **kept}, run.batch, seed=run.seed, check=False)

    def from_step(self, step: int):
        """Yields batch number `step`, then the next, without end."""
        return ({**batch, "x": data.from_uint8(batch["x"])} for batch in self.order.from_step(step))


class Bare(nn.Module):
    """A CLIP without projections: what a tower says is the embedding.

    Args:
        config: with towers as wide as an embedding.
    """

    def __init__(self, config: CLIPConfig):
        super().__init__()
        if not config.image.width == config.text.width == config.dim:
            raise ValueError(
                "image.width and text.width must equal dim without projections; "
                f"got {config.image.width}, {config.text.width} and {config.dim}"
            )
        self.clip = CLIP(config)
        self.clip.image_proj, self.clip.text_proj = nn.Identity(), nn.Identity()
        self.logit_scale = self.clip.logit_scale
        self.encode_image, self.encode_text = self.clip.encode_image, self.clip.encode_text
        self.image = self.clip.image

    def forward(self, images: Tensor, tokens: Tensor):
        """As `CLIP.forward`."""
        return self.clip(images, tokens)


def build(run: Run) -> nn.Module:
    """The untrained model of a run."""
    torch.manual_seed(run.seed)
    if run.objective == "words":
        return WordPredictor(WordPredictorConfig(run.image, run.text.vocabulary))
    if run.objective == "labels":
        return WordPredictor(WordPredictorConfig(run.image, len(PAIRS)))
    if run.objective == "caption":
        return Captioner(CaptionerConfig(run.image, run.text))
    config = CLIPConfig(run.image, run.text, run.dim)
    model = CLIP(config) if run.projected else Bare(config)
    if run.scale:
        model.logit_scale.data.fill_(run.scale).log_()
        model.logit_scale.requires_grad_(False)
    return model


LOSSES = {
    "contrastive": CLIPLoss(prepare=soften), "words": WordsLoss(prepare=soften), "caption": CaptionLoss(prepare=soften),
    "labels": ClassifierLoss(prepare=soften),
}  # fmt: skip


@torch.no_grad()
def logits(model: nn.Module, objective: str, x: Tensor) -> Tensor:
    """How well each of the 64 pairs of colour and shape fits each picture, [N,64], as a model of that objective says.

    Args:
        model: in eval mode.
        objective: see `Run`.
        x: [N,3,32,32].
    """
    names, device = [f"{colour} {shape}" for shape, colour in PAIRS], next(model.parameters()).device
    if objective == "contrastive":
        classes = class_embeddings(lambda texts: embed_texts(model, texts), names, TEMPLATES)
        return embed_images(model, x) @ classes.T
    parts = [part.to(device) for part in x.split(500)]
    if objective == "labels":
        return torch.cat([model(part) for part in parts])
    tokens = tokenizer()([TEMPLATES[1].format(name) for name in names])["tokens"].to(device)
    if objective == "words":
        each = tokenizer()(names)["tokens"][:, 1:3].to(device)  # [64,2]: the colour's word and the shape's
        return torch.cat([model(part).log_softmax(1)[:, each].sum(-1) for part in parts])
    found = []
    for part in parts:
        told = model.tell(model.image(part))  # [n,width]
        for one in told.split(20):
            out = model.write(one.repeat_interleave(len(tokens), 0), tokens.repeat(len(one), 1))
            found.append(log_likelihood(out, tokens.repeat(len(one), 1), model.text.config.end).view(len(one), -1))
    return torch.cat(found)


@cache
def tested(split: str, style: str = "plain", n: int = TESTED) -> tuple[Tensor, Tensor]:
    """One-object pictures of a split in a style, and their pairs: [n,3,32,32] and [n]."""
    made = captioned(n, split, size=SIZE, objects=1, style=style, seed={"validation": 51, "unseen": 52}.get(split, 53))
    return made.x, torch.tensor([_pair(scene) for scene in made.scenes])


def accuracy(model: nn.Module, objective: str, split: str, style: str = "plain", n: int = TESTED) -> float:
    """Share of pictures whose pair of colour and shape is found among all 64."""
    x, y = tested(split, style, n)
    return (logits(model, objective, x).argmax(1).cpu() == y).double().mean().item()


def digits_probe(model: nn.Module) -> float:
    """Transfer to another world: a linear probe on the tower's features of 1,797 handwritten digits."""
    sets = [data.load("digits", part, size=SIZE) for part in ("train", "test")]
    device = next(model.parameters()).device
    with torch.no_grad():
        train, test = ((model.image(s["x"].expand(-1, 3, -1, -1).to(device)).cpu(), s["y"]) for s in sets)
    held = len(train[1]) // 5
    return linear_probe(
        (train[0][held:], train[1][held:]), (train[0][:held], train[1][:held]), test, strengths=(1.0,)
    )


def measure(model: nn.Module, run: Run) -> dict[str, float]:
    """All figures of a trained run, on test scenes; recall at 1 among 300 captions where there are two towers."""
    found = {f"zero_shot_{style}": accuracy(model, run.objective, "unseen", style) for style in STYLES}
    found["zero_shot_held_out"] = accuracy(model, run.objective, "held_out")
    found["digits_probe"] = digits_probe(model)
    if run.objective != "contrastive":
        return found
    scenes = gallery(300, singles=1.0, seed=11)
    images, texts = embed_images(model, draw(scenes, SIZE, seed=12)), embed_texts(model, captions(scenes, seed=13))
    return found | {"recall": retrieval(images, texts, ks=(1,)).to_texts[1]}


def train(
    made: Run, *, watch: Callable[[int, nn.Module], None] | None = None, progress: bool = False, label: str = "",
) -> tuple[nn.Module, dict[str, list[float]]]:  # fmt: skip
    """Trains a run; lesson 05's live part too.

    Args:
        made: the run.
        watch: called after each step with the number of steps done and the averaged model.
        progress: show a progress line, which begins with `label`.

    Returns:
        The averaged model in eval mode; and "images" and "zero_shot", validation accuracy during training, where the
        run asks for it.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    steps, model = made.images // made.batch, build(made)
    loader, ema = Pool(made, device), EMA(model, EMA_DECAY)
    optimizer = torch.optim.AdamW(
        [{"params": [p for p in model.parameters() if p.requires_grad and p.ndim > 1], "weight_decay": 0.1},
         {"params": [p for p in model.parameters() if p.requires_grad and p.ndim <= 1], "weight_decay": 0.0}],
        lr=made.lr, betas=(0.9, 0.98), fused=True,
    )  # fmt: skip
    looks, curve = {max(1, round(share * steps)) for share in CURVE}, {"images": [], "zero_shot": []}

    def look(step: int) -> None:
        if watch:
            watch(step, ema.model)
        if made.curve and step in looks:
            curve["images"].append(step * made.batch)
            curve["zero_shot"].append(accuracy(ema.model, made.objective, "validation", n=500))

    contrastive = made.objective == "contrastive"
    turn = Turn(
        model, LOSSES[made.objective], optimizer, ema=ema, lr=lambda step: warmup_cosine(step, steps, min(100, steps)),
        after=clamp_logit_scale if contrastive else None,
    )  # fmt: skip
    run([turn], loader, steps, seed=made.seed, precision="no", hooks=[look], progress=progress, label=label)
    return ema.model, curve


def row(made: Run, validation: bool = False, work: Path = WORK) -> dict:
    """Trains and measures a run, or reads what an earlier call found.

    Args:
        made: the run.
        validation: measure nothing but accuracy on validation scenes: for choosing.
        work: where rows are kept.
    """
    path = work / f"{made.name}{'-validation' if validation else ''}.json"
    if not path.exists():
        began = time.process_time()
        model, curve = train(made)
        if validation:
            found = {"zero_shot": accuracy(model, made.objective, "validation")}
        else:
            found = {**measure(model, made), **({"curve": curve} if made.curve else {})}
        found |= {"parameters": sum(p.numel() for p in model.parameters()), "seconds": time.process_time() - began}
        write_atomic(path, json.dumps({**found, "run": asdict(made), "hardware": hardware()}).encode())
    return json.loads(path.read_text("utf-8"))
