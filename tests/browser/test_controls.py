"""Each kind of check can fail: small pages with one fault each, and one without."""

import chromium
import page_checks
import pytest
import torch
import widgets
from playwright.sync_api import TimeoutError

from minidiff.course.player import player
from minidiff.course.quiz import Question

FILM = player(torch.linspace(-1, 1, 5).view(5, 1, 1, 1).expand(5, 1, 8, 6), captions="abcde", title="Grey", alt="Grey.")
QUIZ = Question("2 + 2?", ("4", "5"), ("It is 4, as it always was.", "That is one too many."), correct=0).quiz().html
# What the book's script makes of it: buttons, and a status that says the verdict.
LIVE = """<div class="minidiff-quiz"><button type="button">4</button><button type="button">5</button>
<p role="status"></p>
<script>for (const [i, b] of document.querySelectorAll(".minidiff-quiz button").entries()) b.onclick = () => {
  document.querySelector("[role=status]").textContent = ["A. Right. It is 4, of course.", "B. No. One too many."][i]};
</script></div>"""
HEAD = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>A page</title>
<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,"></head>"""
GOOD = f"""<h1 id="top">A page</h1><p>It costs $5 or $ 6, in <code>$x$</code>. <a href="#top">Up</a></p>
<details><summary>Hint</summary><p>The hint.</p></details>{QUIZ}{FILM.html}"""


@pytest.fixture
def show(browser, tmp_path):
    """`show(html, **options)` opens a page of its own, watched."""
    opened = []
    with chromium.served(tmp_path) as origin:

        def show(html, **options):
            (tmp_path / "page.html").write_text(f"{HEAD}<body>{html}</body></html>", "utf-8")
            opened.append(chromium.Watched(browser, origin, **options))
            opened[-1].open("page.html")
            return opened[-1]

        yield show
        for watched in opened:
            watched.close()


def test_nothing_is_wrong_with_a_good_page(show):
    watched = show(GOOD, width=390)
    page = watched.page
    assert [*page_checks.all_faults(watched), *page_checks.overflow(page)] == []
    assert page_checks.pale(page.locator("p, button, output")) == []
    widgets.drive(page.locator(".minidiff-player"))
    assert widgets.unfold(page.locator("details").first) == "The hint."
    assert len(widgets.verdicts(page.locator("body"))) == 2
    assert watched.faults() == []


FAULTS = {
    "foreign script": ("<script src='https://example.org/a.js'></script>", "asked another host"),
    "foreign picture": ("<img src='//example.org/a.png'>", "asked another host"),
    "foreign font": ("<style>@font-face {font-family: f; src: url(https://example.org/f)} p {font-family: f}</style>"
                     "<p>a", "asked another host"),
    "foreign question": ("<script>fetch('https://example.org/').catch(() => 0)</script>", "asked another host"),
    "console error": ("<script>console.error('oh')</script>", "error: oh"),
    "thrown": ("<script>throw new Error('oh')</script>", "error: oh"),
    "missing file": ("<script src='none.js'></script>", "not there"),
    "raw TeX": (r"<p>so \(\bar\alpha_t\) falls</p>", "raw TeX"),
    "raw dollars": ("<p>so $x_t$ falls</p>", "raw TeX"),
    "mathematics without MathJax": ("<span class='math'>x</span>", "not typeset"),
    "wrong TeX": ("<mjx-container><mjx-merror data-mjx-error='oh'></mjx-merror></mjx-container>", "TeX error: oh"),
    "broken picture": ("<img src='data:image/png;base64,AAAA'>", "broken picture"),
    "link to nothing": ("<a href='#nowhere'>there</a>", "link to nothing: #nowhere"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_a_page_is_found(show, fault):
    html, words = FAULTS[fault]
    watched = show(html)
    watched.page.wait_for_load_state("networkidle")
    found = page_checks.all_faults(watched)
    assert any(words in said for said in found), found


def test_a_wide_page_is_found(show):
    assert page_checks.overflow(show("<pre style='width: 600px'>wide</pre>", width=390).page)
    assert not page_checks.overflow(show("<div style='overflow: auto'><pre style='width: 600px'>", width=390).page)


def test_pale_text_is_found(show):
    page = show("<div style='background: #222'><p>dark</p><p style='color: #fff'>bright</p></div>").page
    assert page_checks.pale(page.locator("p")) == ["contrast 1.32: dark"]


BROKEN = {
    "no script": ("(() => {", "(() => { return;"),
    "the picture stays": ("sheet.style.left =", "sheet.dataset.left ="),
    "the caption stays": ('find("output").textContent =', "find('output').title ="),
    "the slider does nothing": ('addEventListener("input"', 'addEventListener("never"'),
    "the button does nothing": ('addEventListener("click"', 'addEventListener("never"'),
    "it cannot be paused": ("timer === null ? start() : stop()", "start()"),
    "it plays on in circles": ("+slider.value >= last) return stop()", "0) return stop()"),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_player_is_found(show, how):
    old, new = BROKEN[how]
    html = FILM.html.replace(old, new)
    if how == "it plays on in circles":
        html = html.replace("if (+slider.value >= last) stop();", "if (+slider.value >= last) show(0);")
    assert html != FILM.html
    page = show(html).page
    page.set_default_timeout(2000)
    with pytest.raises((AssertionError, TimeoutError)):
        widgets.drive(page.locator(".minidiff-player"), seconds=1)


def test_a_fold_that_is_open_or_stays_shut_is_found(show):
    page = show("<details open><summary>a</summary><p>b</p></details>").page
    with pytest.raises(AssertionError):
        widgets.unfold(page.locator("details"), seconds=0.5)
    page = show("<details onclick='return false'><summary>a</summary><p>b</p></details>").page
    with pytest.raises(AssertionError):
        widgets.unfold(page.locator("details"), seconds=0.5)


def test_a_quiz_of_buttons_is_answered(show):
    assert widgets.verdicts(show(LIVE).page.locator("body")) == ["Right. It is 4, of course.", "No. One too many."]


@pytest.mark.parametrize("html", [
    "<p>no quiz</p>", QUIZ.replace("Right.", "Well."), QUIZ.replace("Right.", "No."),
    QUIZ.replace("That is one too many.", ""), LIVE.replace("textContent =", "title ="),
    LIVE.replace("Right.", "Well."),
])  # fmt: skip
def test_a_quiz_without_a_verdict_is_found(show, html):
    with pytest.raises(AssertionError):
        widgets.verdicts(show(html).page.locator("body"), seconds=0.5)


# What ipywidgets makes of a slider and its picture, as far as a reader can see and touch it.
SLIDER = """<div class="widget-vbox"><img alt="" src="data:image/png;base64,0">
<div class="noUi-target" style="width:100px;height:20px"><div class="noUi-handle" tabindex="0">o</div></div>
<div class="widget-readout">t = 0</div></div>
<script>
const show = (i) => {
  document.querySelector(".widget-readout").textContent = "t = " + i;
  document.querySelector("img").src = "data:image/png;base64," + i;
};
document.querySelector(".noUi-handle").onkeydown = (e) => show(e.key === "ArrowRight" ? 1 : 0);
document.querySelector(".noUi-target").onclick = () => show(9);
</script>"""


def test_a_live_slider_is_moved(show):
    widgets.slide(show(SLIDER).page.locator(".widget-vbox"))


@pytest.mark.parametrize(
    "old, new",
    [
        ('document.querySelector("img").src =', "window.never ="),
        ('document.querySelector(".widget-readout").textContent =', "window.never ="),
        ("onkeydown", "onpaste"),
        ("onclick", "onpaste"),
    ],
    ids=["the picture stays", "the reading stays", "keys do nothing", "the mouse does nothing"],
)
def test_a_broken_live_slider_is_found(show, old, new):
    assert old in SLIDER
    page = show(SLIDER.replace(old, new)).page
    with pytest.raises((AssertionError, TimeoutError)):
        widgets.slide(page.locator(".widget-vbox"), seconds=0.5)


# What ipywidgets makes of a text field, a button and a picture.
STUDIO = """<div class="widget-vbox"><input type="text" value="a star"><button>Draw</button><div id="p"></div></div>
<script>
const field = document.querySelector("input"), place = document.querySelector("#p");
const show = () => {
  if (field.value.includes("gren")) place.innerHTML = '<div role="alert">the nearest it knows: green</div>';
  else place.innerHTML = `<img alt="" src="data:image/png;base64,${field.value.length}">`;
};
document.querySelector("button").onclick = show;
show();
</script>"""


def test_a_studio_is_used(show):
    widgets.press(show(STUDIO).page.locator(".widget-vbox"))


@pytest.mark.parametrize(
    "old, new",
    [("onclick", "onpaste"), ('role="alert"', ""), ("show();\n", "show(); field.onchange = show;\n")],
    ids=["the button does nothing", "no error is shown", "it draws by itself"],
)
def test_a_broken_studio_is_found(show, old, new):
    assert old in STUDIO
    page = show(STUDIO.replace(old, new)).page
    with pytest.raises((AssertionError, TimeoutError)):
        widgets.press(page.locator(".widget-vbox"), seconds=0.5)
