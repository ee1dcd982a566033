"""A player for a row of pictures that needs no kernel: slider, play button, keyboard, no other host.

All frames stand in one sheet. Without JavaScript (an untrusted notebook, a preview, print) the sheet
is seen whole, as a film strip; the script crops it to one frame and shows the controls.
"""

from __future__ import annotations

import base64
import html
import io
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

if TYPE_CHECKING:
    from PIL import Image

_STRIP_FRAMES, _STRIP_WIDTH, _STRIP_BYTES = 6, 900, 40_000
# From the most faithful to the smallest; `optimize` takes a second and saves a tenth.
_ENCODINGS = (
    ("png", {}),
    ("png", {"colours": 64}),
    ("png", {"colours": 64, "optimize": True}),
    ("jpeg", {"quality": 80}),
    ("jpeg", {"quality": 60}),
)

# One text for every player of a page: it takes the players that it has not taken before, so copies of
# an output cannot collide and no ids are needed. Slider and button ask for their keys themselves: JupyterLab takes the
# arrow keys of what has the focus before it looks at the elements around it.
_SCRIPT = """\
(() => {
  for (const root of document.querySelectorAll(".minidiff-player:not([data-ready])")) {
    root.dataset.ready = "1";
    const film = JSON.parse(root.dataset.film), find = (name) => root.querySelector(name);
    const stage = find(".md-stage"), sheet = find("img"), slider = find("input"), play = find("button");
    const last = film.captions.length - 1;
    let timer = null;
    for (const control of [slider, play]) control.setAttribute("data-lm-suppress-shortcuts", "true");
    Object.assign(stage.style, {position: "relative", overflow: "hidden", width: "100%",
      aspectRatio: film.width + " / " + film.height});
    Object.assign(sheet.style, {position: "absolute", margin: "0", maxWidth: "none",
      width: 100 * film.columns + "%", height: 100 * film.rows + "%"});
    root.style.maxWidth = film.shown + "px";
    find(".md-controls").style.display = "flex";
    find(".md-still").style.display = "none";
    const show = (i) => {
      slider.value = i;
      sheet.style.left = -100 * (i % film.columns) + "%";
      sheet.style.top = -100 * Math.floor(i / film.columns) + "%";
      find("output").textContent = film.captions[i];
      slider.setAttribute("aria-valuetext", film.captions[i]);
    };
    const stop = () => { clearInterval(timer); timer = null; play.textContent = "Play"; };
    const start = () => {
      if (+slider.value >= last) show(0);
      play.textContent = "Pause";
      timer = setInterval(() => {
        if (!root.isConnected || +slider.value >= last) return stop();
        show(+slider.value + 1);
        if (+slider.value >= last) stop();
      }, film.delay);
    };
    play.addEventListener("click", () => timer === null ? start() : stop());
    slider.addEventListener("input", () => { stop(); show(+slider.value); });
    slider.addEventListener("keydown", (event) => {
      if (event.key === " ") { event.preventDefault(); play.click(); }
    });
    show(film.first);
  }
})();"""


@dataclass(frozen=True)
class Player:
    """What `player` returns: put it on the last line of a cell.

    Attributes:
        html: the player; stands alone.
        text: title, alternative text and captions in plain words.
        strip: a few frames side by side, as an encoded picture for where HTML is not shown.
        mime: type of the strip, `image/png` or `image/jpeg`.
    """

    html: str
    text: str
    strip: bytes
    mime: str

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        picture = base64.b64encode(self.strip).decode()
        return {"text/html": self.html, "text/plain": self.text, self.mime: picture}

    def __repr__(self) -> str:
        return self.text


def player(
    frames: Tensor | Iterable,
    *,
    captions: Sequence[str],
    title: str,
    alt: str,
    delay: float = 0.2,
    first: int = 0,
    width: int = 640,
    ncol: int = 8,
    kilobytes: int = 250,
) -> Player:
    """Show pictures one after another, with a slider, a play button and the keyboard.

    Arrow keys move the slider once it has the focus; space plays and pauses. The player never starts
    by itself. Its colours are those of the page around it, light or dark.

    Args:
        frames: [F,C,H,W] pictures in [-1,1]; [F,N,C,H,W] for a grid in each frame; or an iterable of
            [H,W,3] uint8 arrays or of matplotlib figures (which are closed).
        captions: one for each frame, as in `"t = 250"`.
        title: a line above the picture; also names the slider.
        alt: what there is to see, for those who do not see it.
        delay: seconds for each frame.
        first: index of the frame shown at the start.
        width: width on the screen in pixels, at most.
        ncol: pictures in a row, where a frame is a grid.
        kilobytes: what all frames may take in the notebook; colours give way, then sharpness, then size. 24
            plots of 800 dots just fit; denser ones come out small.

    Returns:
        An object that notebooks show as HTML, with a film strip and a text as its twins.

    Raises:
        ValueError: if there is no frame, the frames differ in size, the number of captions is another,
            `first` is no frame, or title or alt is empty.
    """
    drawn = pictures(frames, ncol)
    _check(len(drawn), captions, first, title, alt)
    data, mime, (columns, rows), (h, w) = _sheet(drawn, width, 6, 750 * kilobytes)
    sharp = 1.5 * drawn[0].shape[1] <= width  # few, large pixels: keep their edges
    film = {
        "captions": list(captions), "columns": columns, "rows": rows, "width": w, "height": h,
        "shown": width if sharp else min(width, drawn[0].shape[1]), "delay": round(1000 * delay), "first": first,
    }  # fmt: skip
    few = [drawn[i] for i in sorted({round(i) for i in np.linspace(0, len(drawn) - 1, _STRIP_FRAMES)})]
    strip, strip_mime, _, _ = _sheet(few, _STRIP_WIDTH // len(few), len(few), _STRIP_BYTES)
    text = f"{title}\n{alt}\nFrames: {'; '.join(captions)}"
    return Player(_html(film, data, mime, title, alt, sharp), text, strip, strip_mime)


def _check(frames: int, captions: Sequence[str], first: int, title: str, alt: str) -> None:
    if len(captions) != frames:
        raise ValueError(f"captions has {len(captions)} entries; it must have {frames}, one for each frame")
    if not 0 <= first < frames:
        raise ValueError(f"first is {first}; it must be an index of the {frames} frames")
    if not title.strip() or not alt.strip():
        raise ValueError("title and alt must say what there is to see; one of them is empty")


def _html(film: dict, data: bytes, mime: str, title: str, alt: str, sharp: bool) -> str:
    rendering = "image-rendering:pixelated;" if sharp else ""
    source = f"data:{mime};base64,{base64.b64encode(data).decode()}"
    name, picture = html.escape(title), html.escape(alt)
    button = "color:inherit;background:none;border:1px solid currentColor;border-radius:4px;padding:0.2em 0;width:4.5em"
    # aria-live: a film that plays must not be read out frame by frame; the slider says its caption when it is moved.
    # data-lm-suppress-shortcuts: else JupyterLab takes the arrow keys for its own commands.
    return f"""\
<div class="minidiff-player" data-lm-suppress-shortcuts="true" data-film="{html.escape(json.dumps(film))}">
<div class="md-title"><strong>{name}</strong></div>
<div class="md-stage"><img alt="{picture}" style="max-width:100%;{rendering}" src="{source}"></div>
<div class="md-controls" style="display:none;gap:0.8em;align-items:center;margin-top:0.3em">
<button type="button" style="{button}">Play</button>
<input type="range" min="0" max="{len(film["captions"]) - 1}" step="1" value="{film["first"]}" \
aria-label="{name}" style="flex:1;min-width:4em">
<output aria-live="off" style="min-width:6em">{html.escape(film["captions"][film["first"]])}</output>
</div>
<div class="md-still">All frames, in rows from left to right: {html.escape("; ".join(film["captions"]))}.</div>
</div>
<script>
{_SCRIPT}
</script>"""


def pictures(frames: Tensor | Iterable, ncol: int) -> list[np.ndarray]:
    """All frames as [H,W,3] uint8 arrays of one size; see `player` for what they may be.

    Raises:
        ValueError: if they are something else, none, or differ in size.
    """
    from minidiff.course.plots import montage

    if isinstance(frames, Tensor):
        if frames.ndim not in (4, 5):
            raise ValueError(f"frames has shape {list(frames.shape)}; it must be [F,C,H,W] or [F,N,C,H,W]")
        frames = frames[:, None] if frames.ndim == 4 else frames
        found = [montage(frame, ncol).numpy() for frame in frames]
    else:
        found = [_figure(f) if hasattr(f, "savefig") else np.asarray(f) for f in frames]
    sizes = {f.shape for f in found}
    if len(sizes) != 1 or any(f.dtype != np.uint8 or f.ndim != 3 or f.shape[-1] != 3 for f in found):
        kinds = sorted(f"{list(f.shape)} {f.dtype}" for f in found)[:3]
        raise ValueError(f"frames must be [H,W,3] uint8 pictures of one size; they are {', '.join(kinds) or 'none'}")
    return found


def _figure(figure: object) -> np.ndarray:
    import matplotlib.pyplot as plt
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = np.array(canvas.buffer_rgba())[..., :3]
    plt.close(figure)  # or the notebook would show it once more
    return pixels


def _sheet(
    pictures: list[np.ndarray], width: int, columns: int, limit: int
) -> tuple[bytes, str, tuple[int, int], tuple[int, int]]:
    """Encode the frames as one picture of at most `limit` bytes: lossless if that is small enough.

    Returns:
        The bytes, their type, (columns, rows) and the frames' (height, width).
    """
    columns = min(columns, len(pictures))
    rows = math.ceil(len(pictures) / columns)
    h, w = pictures[0].shape[:2]
    shrink = min(1.0, width / w)
    while True:
        size = max(1, round(w * shrink)), max(1, round(h * shrink))
        sheet, least = _laid_out(pictures, columns, rows, size), math.inf
        for kind, options in _ENCODINGS:
            data = _encoded(sheet, kind, options)
            if len(data) <= limit or max(size) < 8:
                return data, f"image/{kind}", (columns, rows), size[::-1]
            least = min(least, len(data))
        shrink *= max(0.5, min(0.92, math.sqrt(limit / least)))


def _laid_out(pictures: list[np.ndarray], columns: int, rows: int, size: tuple[int, int]) -> Image.Image:
    from PIL import Image

    sheet = Image.new("RGB", (columns * size[0], rows * size[1]), "white")
    for i, picture in enumerate(pictures):
        frame = Image.fromarray(picture)
        frame = frame if frame.size == size else frame.resize(size, Image.Resampling.LANCZOS)
        sheet.paste(frame, (i % columns * size[0], i // columns * size[1]))
    return sheet


def _encoded(sheet: Image.Image, kind: str, options: dict) -> bytes:
    from PIL import Image

    options, buffer = dict(options), io.BytesIO()
    colours = options.pop("colours", None)
    if colours:
        sheet = sheet.quantize(colours, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    sheet.save(buffer, kind, **options)
    return buffer.getvalue()
