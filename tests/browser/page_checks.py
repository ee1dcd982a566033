"""What must hold on any page: each function returns what is wrong there, in words, and nothing if all is well."""

from __future__ import annotations

_TEXT = """() => {
  const found = [], outside = "script, style, code, pre, textarea, mjx-container, noscript";
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const command = /\\\\[([]|\\\\(?:frac|sqrt|bar|hat|alpha|beta|epsilon|sigma|mathcal|begin|text|left)\\b/;
  const dollars = /\\$[^$\\s](?:[^$]*[^$\\s])?\\$(?!\\d)/;
  while (walker.nextNode()) {
    const node = walker.currentNode;
    if (!node.parentElement.closest(outside) && (command.test(node.data) || dollars.test(node.data)))
      found.push("raw TeX: " + node.data.trim());
  }
  for (const place of document.querySelectorAll(".math"))
    if (!place.querySelector("mjx-container")) found.push("not typeset: " + place.textContent.trim());
  for (const bad of document.querySelectorAll("mjx-merror, [data-mjx-error]"))
    found.push("TeX error: " + (bad.getAttribute("data-mjx-error") || bad.textContent));
  return found;
}"""

_PICTURES = """async () => {
  const found = [];
  for (const picture of document.images) {
    picture.loading = "eager";
    try { await picture.decode(); } catch { found.push("broken picture: " + picture.src.slice(0, 200)); }
  }
  return found;
}"""

_ANCHORS = """() => [...document.querySelectorAll("a[href^='#']")]
  .map((a) => decodeURIComponent(a.getAttribute("href").slice(1)))
  .filter((id) => id && !document.getElementById(id) && !document.getElementsByName(id).length)
  .map((id) => "link to nothing: #" + id)"""

_WIDE = """() => {
  const wide = document.documentElement.clientWidth, body = Math.max(document.documentElement.scrollWidth,
    document.body.scrollWidth);
  if (body <= wide) return [];
  const inside = (e) => { for (let p = e.parentElement; p && p !== document.body; p = p.parentElement)
    if (getComputedStyle(p).overflowX !== "visible") return true; return false; };
  const names = [...document.body.querySelectorAll("*")]
    .filter((e) => e.getBoundingClientRect().right > wide + 1 && !inside(e))
    .map((e) => e.tagName.toLowerCase() + "." + e.className).slice(0, 5);
  return ["the page is " + body + " pixels wide, the window " + wide + ": " + names.join(", ")];
}"""

# Colours are read back from a canvas: styles may give them in any notation.
_CONTRAST = """(elements) => {
  const pen = Object.assign(document.createElement("canvas"), {width: 1, height: 1})
    .getContext("2d", {willReadFrequently: true});
  const rgba = (colour) => {
    pen.clearRect(0, 0, 1, 1); pen.fillStyle = colour; pen.fillRect(0, 0, 1, 1);
    return [...pen.getImageData(0, 0, 1, 1).data];
  };
  const light = (c) => c.slice(0, 3).map((v) => v / 255)
    .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (e) => {
    for (; e; e = e.parentElement) {
      const c = rgba(getComputedStyle(e).backgroundColor);
      if (c[3] === 255) return c;
    }
    return [255, 255, 255, 255];
  };
  return elements.filter((e) => e.textContent.trim()).map((e) => {
    const [a, b] = [light(rgba(getComputedStyle(e).color)), light(ground(e))].sort((x, y) => y - x);
    return [e.textContent.trim().slice(0, 60), (a + 0.05) / (b + 0.05)];
  });
}"""


def untypeset(page) -> list[str]:
    """Mathematics that the reader would see as TeX."""
    return page.evaluate(_TEXT)


def broken_pictures(page) -> list[str]:
    """Pictures that do not decode."""
    return page.evaluate(_PICTURES)


def dead_anchors(page) -> list[str]:
    """Links within the page that lead nowhere."""
    return page.evaluate(_ANCHORS)


def overflow(page) -> list[str]:
    """The page's body is wider than the window."""
    return page.evaluate(_WIDE)


def pale(texts, least: float = 4.5) -> list[str]:
    """Texts with less contrast than WCAG 2's level AA asks of small ones.

    Args:
        texts: Playwright's locator of the elements.
        least: the smallest ratio allowed, from 1 to 21.
    """
    found = texts.evaluate_all(_CONTRAST)
    assert found, "no text was found whose contrast could be told"
    return [f"contrast {ratio:.2f}: {text}" for text, ratio in found if ratio < least]


def all_faults(watched) -> list[str]:
    """All that a page must fulfil at any width, and what went wrong while it loaded."""
    page = watched.page
    return [*untypeset(page), *broken_pictures(page), *dead_anchors(page), *watched.faults()]
