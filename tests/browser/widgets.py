"""What a reader does with players, folds and quizzes, in the book and in JupyterLab alike."""

from __future__ import annotations

import json
import re

from playwright.sync_api import expect


def drive(player) -> None:
    """Move a player's slider by keyboard and mouse, play it, and see picture and caption follow.

    Args:
        player: Playwright's locator of one `.minidiff-player`.

    Raises:
        AssertionError: if a control is missing, or the picture or its caption stays as it was.
    """
    film = json.loads(player.get_attribute("data-film"))
    slider, button = player.locator("input[type=range]"), player.get_by_role("button")
    stage, caption, last = player.locator(".md-stage"), player.locator("output"), len(film["captions"]) - 1
    slider.scroll_into_view_if_needed(timeout=5000)
    expect(slider).to_be_visible()

    def at(frame: int) -> bytes:
        expect(slider).to_have_value(str(frame))
        expect(caption).to_have_text(film["captions"][frame])
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

    expect(button).to_have_text("Play")
    button.click()
    expect(caption).not_to_have_text(film["captions"][0])
    button.click()
    expect(button).to_have_text("Play")
    paused = slider.input_value()
    # That nothing happens can only be told over time: two frames of the film's own.
    slider.page.evaluate("(ms) => new Promise((done) => setTimeout(done, ms))", 2 * film["delay"])
    expect(slider).to_have_value(paused, timeout=1)

    slider.press("End")
    slider.press("ArrowLeft")
    button.click()
    expect(button).to_have_text("Play", timeout=10 * film["delay"] + 5000)
    assert at(last) == end, "the last frame looks otherwise when it is played"


def unfold(fold) -> str:
    """Open a fold with the mouse, close it and open it again; returns the text that it held back.

    Args:
        fold: Playwright's locator of one `<details>` that is closed.

    Raises:
        AssertionError: if it is open at the start, or does not follow.
    """
    summary, body = fold.locator("> summary"), fold.locator("> :not(summary)").first
    expect(body).not_to_be_visible()
    summary.click()
    expect(body).to_be_visible()
    summary.click()
    expect(body).not_to_be_visible()
    summary.click()
    expect(body).to_be_visible()
    return fold.inner_text().removeprefix(summary.inner_text()).strip()


def folded_verdicts(scope) -> list[str]:
    """Answer every option of the quizzes whose options fold open; returns what each of them said."""
    lettered = [fold for fold in scope.locator("details").all() if fold.locator("summary").inner_text()[1:3] == ". "]
    return [unfold(fold) for fold in lettered]


def live_verdicts(scope) -> list[str]:
    """Answer every option of the quizzes with buttons or labels; returns what the status said each time."""
    found = []
    for quiz in scope.locator(".minidiff-quiz:has([role=status])").all():
        status = quiz.get_by_role("status")
        for option in quiz.locator("label, button[type=button]").all():
            before = status.inner_text()
            option.click()
            expect(status).not_to_have_text(before)
            found.append(re.sub(r"^[A-Z]\. ", "", status.inner_text().strip()))
    return found


def verdicts(scope) -> list[str]:
    """What every option of every quiz says when it is chosen.

    Raises:
        AssertionError: if there is none, one says neither Right nor No, or a question has no right option.
    """
    found = live_verdicts(scope) + folded_verdicts(scope)
    assert found, "no quiz was found"
    neither = [said for said in found if not said.startswith(("Right.", "No."))]
    assert not neither, f"an option gives no verdict: {neither}"
    assert any(said.startswith("Right.") for said in found), "no option is right"
    assert all(len(said.split()) > 3 for said in found), "a verdict comes without its reason"
    return found
