"""The claims that the course puts to the test, as a table built from `results/`."""

from __future__ import annotations

from pathlib import Path

from minidiff.recipes.results import load

CLAIMS = {
    1: "GANs draw faithful samples, but train unstably, collapse, and cover less than diffusion does.",
    2: "x_T tends to an isotropic Gaussian as T grows.",
    3: "Each step from DDPM to Imagen (improved DDPM, classifier guidance, GLIDE, DALL-E 2) gains something.",
    4: "Three models trained apart make one text-to-image system: by super-resolution, or by a latent decoder.",
    5: "The text encoder matters a great deal to the result.",
    6: "A contrastive objective learns with about a quarter of the samples of a predictive one.",
    7: "Transfer grows with the size of the image tower; ResNet, EfficientNet and ViT differ.",
    8: "A bag of words comes close to a text Transformer, or does not; the projection layer has a purpose.",
    9: "Mixed precision saves time and memory on CUDA.",
    10: "Zero-shot classification survives a distribution shift that a supervised classifier does not.",
    11: "Prompt templates and their ensembles raise zero-shot accuracy.",
    12: "Supervision by text frees the labels: unseen combinations, detection, segmentation.",
    13: "A U-Net beats an FCN: symmetry, and skips that concatenate instead of add.",
    14: "Decoders need pictures only, no captions.",
    15: "Frechet distance and CLIP score measure fidelity and alignment, and each can be fooled.",
    16: "Hyper-parameters found on the smallest tower in one epoch serve the larger ones.",
}
_HEAD = "| # | claim | measured | interval or floor | verdict | where |\n|---|---|---|---|---|---|"


def table(results_dir: str | Path, notebooks_dir: str | Path | None = None) -> str:
    """The table of claims as Markdown.

    Args:
        results_dir: folder with the results' JSON files.
        notebooks_dir: folder of the notebooks as seen from the page; lessons are then linked.

    Returns:
        One row for each result that names a claim, and one for each claim without any.

    Raises:
        ValueError: if a result names a claim that does not exist.
    """
    found = [r for r in load(Path(results_dir)) if r.get("claim") is not None]
    unknown = [r["name"] for r in found if r["claim"] not in CLAIMS]
    if unknown:
        raise ValueError(f"results {unknown} name a claim that is not in minidiff.course.claims.CLAIMS")
    rows = [_HEAD]
    for number, claim in CLAIMS.items():
        mine = [_row(r, claim, notebooks_dir) for r in found if r["claim"] == number]
        rows += mine or [f"| {number} | {claim} | - | - | not measured yet | - |"]
    return "\n".join(rows) + "\n"


def _row(result: dict, claim: str, notebooks_dir: str | Path | None) -> str:
    unit = f" {result['unit']}" if result["unit"] else ""
    value = result["value"]
    many = value.items() if isinstance(value, dict) else [("", value)]
    measured = ", ".join(f"{name} {number:.4g}{unit}".strip() for name, number in many)
    spread = [f"{result['interval'][0]:.4g} to {result['interval'][1]:.4g}"] if result["interval"] else []
    spread += [f"floor {result['floor']:.4g}"] if result["floor"] is not None else []
    verdict = {True: "agrees", False: "disagrees", None: "open"}[result["holds"]]
    note = f" ({result['note']})" if result["note"] else ""
    where = ", ".join(filter(None, [_link(result["provenance"]["source"], notebooks_dir), result["figure"]]))
    cells = [str(result["claim"]), claim, measured, ", ".join(spread) or "-", verdict + note, where]
    return "| " + " | ".join(c.replace("|", "\\|").replace("\n", " ") for c in cells) + " |"


def _link(source: str, notebooks_dir: str | Path | None) -> str:
    if notebooks_dir is None or not source.startswith("lesson "):
        return source
    here = Path(__file__).resolve().parents[2] / "notebooks"
    found = sorted(here.glob(f"{source.removeprefix('lesson ')}_*.ipynb"))
    return f"[{source}]({Path(notebooks_dir).as_posix()}/{found[0].name})" if found else source
