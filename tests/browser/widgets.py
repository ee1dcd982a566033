"""What a reader does with players, folds and quizzes, in the book and in JupyterLab alike."""

from __future__ import annotations

import json
import re

from playwright.sync_api import expect

SECONDS = 10.0  # until something that does not happen is given up
# Pauses a film as soon as its second frame is there, whatever else the machine does; that it then stays there can only
# be told over time, two frames of its own.
_PAUSE = """(root, [stay, wait]) => {
  const slider = root.querySelector("input"), button = root.querySelector("button");
  root.paused = new Promise((done) => {
    setTimeout(() => done(["it never moved"]), wait + stay);
    new MutationObserver((changes, watcher) => {
      watcher.disconnect();
      button.click();
      const frame = slider.value;
      setTimeout(() => done([frame, slider.value, button.textContent]), stay);
    }).observe(root.querySelector("output"), {childList: true, characterData: true, subtree: true});
  });
}"""


def drive(player, seconds: float = SECONDS) -> None:
    """Move a player's slider by keyboard and mouse, play it, and see picture and caption follow.

    Args:
        player: Playwright's locator of one `.minidiff-player`.
        seconds: how long to wait for what must come.

    Raises:
        AssertionError: if a control is missing, or the picture, its caption or the button stays as it was.
    """
    film = json.loads(player.get_attribute("data-film"))
    slider, button = player.locator("input[type=range]"), player.get_by_role("button")
    stage, caption, last = player.locator(".md-stage"), player.locator("output"), len(film["captions"]) - 1
    wait = 1000 * seconds
    expect(slider).to_be_visible(timeout=wait)
    slider.scroll_into_view_if_needed()

    def at(frame: int) -> bytes:
        expect(slider).to_have_value(str(frame), timeout=wait)
        expect(caption).to_have_text(film["captions"][frame], timeout=wait)
        return stage.screenshot()

    slider.press("Home")
    first = at(0)
    slider.press("ArrowRight")
    assert at(1) != first, "the caption has changed and the picture has not"
    slider.press("End")
    end = at(last)
    assert end != first
    box = slider.bounding_box()
    slider.click(position={"x": 2, "y": box["height"] / 2})
    assert at(0) == first, "the first frame looks otherwise when one comes back to it"

    player.evaluate(_PAUSE, [2 * film["delay"], wait])
    button.click()
    assert player.evaluate("(root) => root.paused") == ["1", "1", "Play"], "it does not play, or cannot be paused"

    slider.press("End")
    slider.press("ArrowLeft")
    button.click()
    expect(button).to_have_text("Play", timeout=3 * film["delay"] + wait)
    assert at(last) == end, "the last frame looks otherwise when it is played"


def slide(box, seconds: float = SECONDS) -> None:
    """Move the slider of a live figure by keyboard and mouse, and see picture and reading follow.

    Args:
        box: Playwright's locator of the `.widget-vbox` that `explore` makes where a kernel runs.
        seconds: how long to wait for what must come.

    Raises:
        AssertionError: if a control is missing, or the picture or the reading stays as it was.
    """
    handle, said, picture = box.locator(".noUi-handle"), box.locator(".widget-readout"), box.locator("img")
    wait = 1000 * seconds
    expect(handle).to_be_visible(timeout=wait)
    handle.scroll_into_view_if_needed()
    text, start = said.inner_text(), picture.get_attribute("src")

    handle.press("ArrowRight")
    expect(said).not_to_have_text(text, timeout=wait)
    expect(picture).not_to_have_attribute("src", start, timeout=wait)
    handle.press("ArrowLeft")
    expect(said).to_have_text(text, timeout=wait)
    expect(picture).to_have_attribute("src", start, timeout=wait)

    track = box.locator(".noUi-target")
    area = track.bounding_box()
    track.click(position={"x": area["width"] - 2, "y": area["height"] / 2})
    expect(said).not_to_have_text(text, timeout=wait)
    expect(picture).not_to_have_attribute("src", start, timeout=wait)


def press(box, seconds: float = SECONDS) -> None:
    """Write another text into the field of a figure of several controls, press its button, and see the picture follow.

    Args:
        box: Playwright's locator of the `.widget-vbox` that `studio` makes where a kernel runs.
        seconds: how long to wait for what must come.

    Raises:
        AssertionError: if a control is missing, the picture stays as it was, or an error is not shown.
    """
    field, button, picture = box.locator("input[type=text]"), box.get_by_role("button"), box.locator("img")
    wait = 1000 * seconds
    expect(button).to_be_enabled(timeout=wait)
    text, start = field.input_value(), picture.get_attribute("src")
    field.fill("a large green star in the centre")
    field.press("Tab")
    assert picture.get_attribute("src") == start, "it draws before the button is pressed"
    button.click()
    expect(picture).not_to_have_attribute("src", start, timeout=wait)
    field.fill("a large gren star")
    field.press("Tab")
    button.click()
    expect(box.get_by_role("alert")).to_contain_text("green", timeout=wait)
    field.fill(text)
    field.press("Tab")
    button.click()
    expect(picture).to_have_attribute("src", start, timeout=wait)


def unfold(fold, seconds: float = SECONDS) -> str:
    """Open a fold with the mouse; returns the text that it held back.

    Args:
        fold: Playwright's locator of one `<details>` that is closed.
        seconds: how long to wait for what must come.

    Raises:
        AssertionError: if it is open at the start, or does not follow.
    """
    summary, body = fold.locator("> summary"), fold.locator("> :not(summary)").first
    wait = 1000 * seconds
    expect(body).not_to_be_visible(timeout=wait)
    summary.click()
    expect(body).to_be_visible(timeout=wait)
    return fold.inner_text().removeprefix(summary.inner_text()).strip()


def fold_up(fold) -> None:
    """Close a fold that is open.

    Raises:
        AssertionError: if it stays open.
    """
    fold.locator("> summary").click()
    expect(fold.locator("> :not(summary)").first).not_to_be_visible()


def folded_verdicts(scope, seconds: float = SECONDS) -> list[str]:
    """Answer every option of the quizzes whose options fold open; returns what each of them said."""
    lettered = [fold for fold in scope.locator("details").all() if fold.locator("summary").inner_text()[1:3] == ". "]
    return [unfold(fold, seconds) for fold in lettered]


def live_verdicts(scope, seconds: float = SECONDS) -> list[str]:
    """Answer every option of the quizzes with buttons or labels; returns what the status said each time."""
    found = []
    for quiz in scope.locator(".minidiff-quiz:has([role=status])").all():
        status = quiz.get_by_role("status")
        for option in quiz.locator("label, button[type=button]").all():
            before = status.inner_text()
            option.click()
            expect(status).not_to_have_text(before, timeout=1000 * seconds)
            found.append(re.sub(r"^[A-Z]\. ", "", status.inner_text().strip()))
    return found


def verdicts(scope, seconds: float = SECONDS) -> list[str]:
    """What every option of every quiz says when it is chosen.

    Raises:
        AssertionError: if there is none, one says neither Right nor No, or a question has no right option.
    """
    found = live_verdicts(scope, seconds) + folded_verdicts(scope, seconds)
    assert found, "no quiz was found"
    neither = [said for said in found if not said.startswith(("Right.", "No."))]
    assert not neither, f"an option gives no verdict: {neither}"
    assert any(said.startswith("Right.") for said in found), "no option is right"
    assert all(len(said.split()) > 3 for said in found), "a verdict comes without its reason"
    return found
