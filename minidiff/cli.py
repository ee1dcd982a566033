"""The command `minidiff`. A sub-command is a function that adds its parser, listed in `COMMANDS`.

Results go to stdout; progress, warnings and errors to stderr. The exit code is 0, or 2 where the input is at fault.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from minidiff import __version__

# Everything heavy is imported where it is used: `minidiff --help` does not wait for torch.


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one sub-command.

    Args:
        argv: arguments; by default those of the process.

    Returns:
        The exit code: 0, or 2 for wrong usage or input that cannot be used, with one line on stderr that says why.
    """
    parser = argparse.ArgumentParser("minidiff", description="Text-to-image models from scratch.")
    parser.add_argument("--version", action="version", version=f"minidiff {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for add in COMMANDS:
        add(commands)
    try:
        args = parser.parse_args(argv)
        with _warnings_in_one_line():
            args.run(args)
    except SystemExit as stop:  # argparse's, after it has said its piece
        return int(stop.code or 0)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        if not isinstance(error, _user_errors()):
            raise
        last = str(error).strip().splitlines()[-1]  # what a worker raises comes with its traceback
        print(f"minidiff {args.command}: error: {last}", file=sys.stderr)
        return 2
    return 0


# --- evaluate ----------------------------------------------------------------------------------------------------


def _add_evaluate(commands: argparse._SubParsersAction) -> None:
    text = "compare two sets of pictures in the features of a network"
    parser = commands.add_parser(
        "evaluate", help=text, description=f"{text.capitalize()}: distances, precision and recall with their noise.",
        epilog="Example: minidiff evaluate mnist:test my_samples --floor mnist:train --limit 5000",
    )  # fmt: skip
    add = parser.add_argument
    add("a", metavar="A", help="the reference: a folder of pictures or a named set such as mnist:test")
    add("b", metavar="B", help="what is judged: likewise")
    add("--features", metavar="NAME", default="mnist-classifier", help="extractor (default: %(default)s, for digits)")
    add("--metrics", metavar="M,M,...", help="which metrics (default: all that the extractor allows)")
    add("--floor", metavar="C", help="more real pictures: what they score in place of B is shown beside")
    add("--size", type=_count, metavar="PIXELS", help="bring all pictures to this height and width first")
    add("--limit", type=_count, metavar="N", help="draw at most N pictures from each set")
    add("--halves", type=int, default=20, metavar="N", help="halves drawn for intervals, or 0 (default: %(default)s)")
    add("--seed", type=_seed, default=0, metavar="N", help="of all that is drawn (default: %(default)s)")
    add("--device", default="cpu", help="where the network runs, such as cuda (default: %(default)s)")
    add("--format", choices=("table", "json", "html"), default="table", help="default: %(default)s")
    add("-o", "--output", type=Path, metavar="FILE", help="write the result there instead of to stdout")
    add("--list", action=_List, nargs=0, help="list extractors, metrics and named sets, and exit")
    parser.set_defaults(run=_evaluate)


def _evaluate(args: argparse.Namespace) -> None:
    _check_output(args.output)
    from minidiff import evaluation

    device = _device(args.device)
    extractor = evaluation.load_extractor(args.features, device=device)
    metrics = args.metrics.split(",") if args.metrics else None
    needed = evaluation.chosen(metrics, extractor)  # said before the pictures are read
    if args.size:  # numbers at another size must not be compared with these
        told = f"brought to {args.size}x{args.size} first; {extractor.preprocessing}"
        extractor = replace(extractor, preprocessing=told)

    def opened(spec: str, captions: bool = False) -> evaluation.Pictures:
        return evaluation.open_set(
            spec, channels=extractor.channels, size=args.size, fallback=extractor.size, limit=args.limit,
            seed=args.seed, captions=captions,
        )  # fmt: skip

    a, b = opened(args.a), opened(args.b, captions=bool({*evaluation.CLIP_SCORES} & {*needed}))
    floor = opened(args.floor) if args.floor else None
    report = evaluation.evaluate(
        a, b, extractor, metrics, floor=floor, seed=args.seed, halves=args.halves, progress=True
    )
    text = {"table": report.__str__, "json": report.to_json, "html": report.to_html}[args.format]()
    if args.output is None:
        print(text)
        return
    from minidiff.training.checkpoint import write_atomic

    write_atomic(args.output, f"{text}\n".encode())
    print(f"written to {args.output}", file=sys.stderr)


class _List(argparse.Action):
    def __call__(self, parser, namespace, values, option_string=None):
        from minidiff import evaluation

        tables = {
            "features (--features)": evaluation.extractor_names(),
            "metrics (--metrics)": evaluation.metric_names(),
            "named sets": dict.fromkeys(evaluation.SETS, ""),
        }
        for title, table in tables.items():
            width = max(map(len, table))
            print(title, *(f"  {name:<{width}}  {text}".rstrip() for name, text in table.items()), "", sep="\n")
        parser.exit(0)


# --- generate ----------------------------------------------------------------------------------------------------


def _add_generate(commands: argparse._SubParsersAction) -> None:
    text = "draw a picture of a caption"
    parser = commands.add_parser(
        "generate", help=text, description=f"{text.capitalize()}: a file, and its name on stdout.",
        epilog='Example: minidiff generate "a small red circle to the left of a large blue square" -n 4 -o circle.png',
    )  # fmt: skip
    add = parser.add_argument
    add("caption", metavar="CAPTION", nargs="+", help="what to draw; each caption becomes a row")
    add("--system", metavar="NAME", default="stable-diffusion", help="bundled, or a folder (default: %(default)s)")
    add("--steps", type=_count, metavar="N", help="DDIM steps (default: the system's own)")
    add("--scale", type=_number, metavar="W", help="guidance; 1 is none (default: the system's own)")
    add("--seed", type=_seed, default=0, metavar="N", help="of the first picture, the next has the next (default: 0)")
    add("-n", "--number", type=_count, default=1, metavar="N", help="pictures of each caption (default: 1)")
    add("--device", default="cpu", help="where the models run, such as cuda (default: %(default)s)")
    add("-o", "--output", type=Path, metavar="FILE", help="PNG file; without it a new one in this folder")
    parser.set_defaults(run=_generate)


def _generate(args: argparse.Namespace) -> None:
    _check_output(args.output)
    if args.output is not None and args.output.suffix.lower() != ".png":
        raise ValueError(f"--output must end in .png; got {args.output}")
    import io

    import torch
    from tqdm import tqdm

    from minidiff import pipelines
    from minidiff.training.checkpoint import write_atomic

    device = _device(args.device)
    pipe = pipelines.load(args.system).to(device)
    wanted = [(caption, args.seed + i) for caption in args.caption for i in range(args.number)]
    said, seeds = zip(*wanted)
    text, found = pipe.read(said), []  # a word that it does not know is said before the work
    steps = args.steps or pipe.options.steps
    with tqdm(total=steps * -(-len(wanted) // TOGETHER), desc="drawing", unit="step", file=sys.stderr) as bar:
        for i in range(0, len(wanted), TOGETHER):
            some = {name: value[i : i + TOGETHER] for name, value in text.items()}
            for step in pipe.trajectory(some, steps=steps, scale=args.scale, seeds=seeds[i : i + TOGETHER]):
                bar.update()
                last = step
            found.append(pipe.decode(last.x).cpu())
    labels = [f"{caption} (seed {seed})" for caption, seed in wanted]
    columns = args.number if len(args.caption) > 1 else 4
    data = io.BytesIO()
    pipelines.sheet(torch.cat(found), labels, columns).save(data, format="PNG")
    target = args.output or _unused("minidiff", ".png")
    write_atomic(target, data.getvalue())
    print(target)


TOGETHER = 16  # pictures in a batch


def _unused(stem: str, suffix: str) -> Path:
    """A name in this folder that no file has."""
    numbered = (Path(f"{stem}-{i}{suffix}") for i in range(1, 10**6))
    return next(path for path in (Path(f"{stem}{suffix}"), *numbered) if not path.exists())


# --- train -------------------------------------------------------------------------------------------------------


def _add_train(commands: argparse._SubParsersAction) -> None:
    from minidiff.recipes import CHECKPOINTS

    text = "train one of the course's models by its recipe"
    parser = commands.add_parser(
        "train", help=text, description=f"{text.capitalize()}: weights and their card.",
        epilog="Interrupted? The same command with --resume goes on from the last checkpoint in build/recipes.",
    )  # fmt: skip
    add = parser.add_argument
    add("recipe", metavar="RECIPE", choices=CHECKPOINTS, help=f"one of {', '.join(CHECKPOINTS)}")
    add("--images", type=_count, metavar="N", help="images seen in training (default: the recipe's own)")
    add("--resume", action="store_true", help="go on from where an interrupted training was")
    add("-o", "--out", type=Path, default=Path("trained"), metavar="FOLDER", help="default: %(default)s")
    parser.set_defaults(run=_train)


def _train(args: argparse.Namespace) -> None:
    if args.out.exists() and not args.out.is_dir():
        raise ValueError(f"--out must be a folder; got the file {args.out}")
    import importlib
    import json

    recipe = importlib.import_module(f"minidiff.recipes.{args.recipe.replace('-', '_')}")
    if (args.out / f"{recipe.NAME}.safetensors").exists():
        raise ValueError(f"--out must be a folder without {recipe.NAME}, which would be lost; got {args.out}")
    args.out.mkdir(parents=True, exist_ok=True)
    budget = {} if args.images is None else {"images": args.images}
    made = recipe.train(args.out, resume=args.resume, **budget)
    if made:
        print(json.dumps(made.card, indent=1))


COMMANDS = (_add_generate, _add_train, _add_evaluate)


# --- what sub-commands share ------------------------------------------------------------------------------------


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be an integer of at least 1; got {text!r}")
    return int(text)


def _seed(text: str) -> int:
    if not text.isdecimal() or int(text) >= 2**63:
        raise argparse.ArgumentTypeError(f"must be an integer from 0 to 2^63 - 1; got {text!r}")
    return int(text)


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"must be a finite number; got {text!r}")
    return value


def _check_output(path: Path | None) -> None:
    """Said before the work, not after it."""
    if path is not None and (path.is_dir() or not path.absolute().parent.is_dir()):
        raise ValueError(f"--output must be a file in a folder that exists; got {path}")


def _device(name: str):
    import torch

    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(f"--device must be a device of this machine, such as cpu; got {name!r} ({reason})") from error


def _user_errors() -> tuple[type[Exception], ...]:
    from minidiff.data import DataUnavailable
    from minidiff.evaluation import ExtractorUnavailable

    return (ValueError, OSError, DataUnavailable, ExtractorUnavailable)


@contextlib.contextmanager
def _warnings_in_one_line() -> Iterator[None]:
    def show(message, category, filename, lineno, file=None, line=None):
        print(f"warning: {message}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield

