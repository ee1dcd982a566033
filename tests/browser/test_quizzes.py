"""Quizzes and progress in a real browser, on small pages opened from disk, as readers of a built book may do."""

import json
import re
import shutil
from pathlib import Path

import pytest
from playwright.sync_api import expect

from minidiff.course.quiz import Question

ROOT = Path(__file__).resolve().parents[2]

SUM = Question("What is 1 + 1?", ("2", "3 < 4"), ("Count.", "No `sum` is."), correct=0)
COLOUR = Question("Which is a colour?", ("four", "red"), ("A number.", "It is."), correct=1)
SUM_ID, COLOUR_ID = "77.what-is-1-1", "77.which-is-a-colour"
COURSE = {
    "lessons": [
        {
            "number": "77", "title": "77 Toy", "page": "lesson.html",
            "exercises": [{"id": "77.add", "title": "add", "minutes": 3}],
            "questions": [{"id": SUM_ID, "title": SUM.question}, {"id": COLOUR_ID, "title": COLOUR.question}],
        }
    ]
}  # fmt: skip
HEAD = """<!doctype html><html lang="en"><meta charset="utf-8"><title>t</title><link rel="stylesheet" href="course.css">
<script defer src="course-data.js"></script><script defer src="course.js"></script><body><article class="bd-article">"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A book of two pages, with the quizzes and the page "Your progress" as the real one has them."""
    folder = tmp_path_factory.mktemp("book")
    for name in ("course.js", "course.css"):
        shutil.copy(ROOT / "book" / "_static" / name, folder)
    (folder / "course-data.js").write_text(f"window.minidiffCourse = {json.dumps(COURSE)};")
    quizzes = "".join(rendered(q.markdown("77")) for q in (SUM, COLOUR))
    heading = '<h3>Exercise: add<a class="headerlink" href="#e">#</a></h3>'
    exercise = f'<section id="e">{heading}<p><em>3 min</em></p></section>'
    (folder / "lesson.html").write_text(f"{HEAD}{exercise}{quizzes}")
    source = (ROOT / "book" / "progress.md").read_text("utf-8")
    page = re.search(r'<div class="minidiff-progress">.*?\n</div>', source, re.S)
    lists = f'<span data-exercise="77.add"></span><span data-asked="{SUM_ID}"></span><div data-lesson="77"></div>'
    (folder / "progress.html").write_text(f"{HEAD}{page[0]}{lists}")
    return folder


def rendered(markdown):
    """What a Markdown renderer makes of a quiz, as far as it matters here."""
    lines = markdown.split("\n\n")
    return "\n".join(
        line if line.startswith("<") else "<p>" + re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", line) + "</p>"
        for line in lines
    )


@pytest.fixture
def context(browser):
    context = browser.new_context(accept_downloads=True, viewport={"width": 800, "height": 900})
    context.set_default_timeout(10_000)
    yield context
    context.close()


def visit(context, folder, name):
    page = context.new_page()
    page.errors = []
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.goto((folder / name).as_uri())
    return page


def kept(page):
    return json.loads(page.evaluate("localStorage.getItem('minidiff.progress')") or "null")


def test_an_answer_gets_its_verdict_and_its_reason(context, folder):
    page = visit(context, folder, "lesson.html")
    quiz = page.get_by_role("group", name=SUM.question)
    assert page.locator("details").count() == 0 and quiz.get_by_role("button").count() == 2
    status = quiz.get_by_role("status")
    assert status.inner_text() == ""
    quiz.get_by_role("button", name="3 < 4").click()
    assert "B. No. No sum is." in re.sub("`", "", status.inner_text())
    assert "✗ no" in quiz.locator("button[data-verdict=wrong]").inner_text()
    page.keyboard.press("Shift+Tab")  # from B back to A, by keyboard
    page.keyboard.press("Enter")
    assert "A. Right. Count." in status.inner_text()
    assert quiz.locator("[aria-pressed=true]").inner_text().split()[0] == "A"
    assert kept(page)["questions"] == {SUM_ID: {"first": False, "date": kept(page)["questions"][SUM_ID]["date"]}}
    assert "Not right at your first try" in quiz.inner_text()
    page.reload()
    assert "Not right at your first try" in quiz.inner_text() and not page.errors


def test_without_scripts_the_folds_stay(browser, folder):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((folder / "lesson.html").as_uri())
    fold = page.locator("details").first
    assert page.locator("details").count() == 4 and not fold.locator("p").is_visible()
    fold.locator("summary").click()
    assert fold.locator("p").is_visible() and "Right." in fold.inner_text()
    page.goto((folder / "progress.html").as_uri())
    assert "needs scripts" in page.inner_text("body")
    context.close()


def test_ticks_and_answers_reach_the_progress_page_at_once(context, folder):
    lesson, progress = visit(context, folder, "lesson.html"), visit(context, folder, "progress.html")
    bars = progress.locator(".md-total [role=progressbar]")
    assert [bar.get_attribute("aria-valuetext") for bar in bars.all()] == [
        "0 of 1 solved", "0 of 2 right at first try, 0 answered",
    ]  # fmt: skip
    lesson.get_by_label("I have solved this exercise").check()
    lesson.get_by_role("button", name="red").click()
    lesson.get_by_role("button", name="3 < 4").click()
    expect(bars.nth(0)).to_have_attribute("aria-valuetext", "1 of 1 solved")
    expect(bars.nth(1)).to_have_attribute("aria-valuetext", "1 of 2 right at first try, 2 answered")
    assert "not at first try" in progress.locator(f"[data-asked='{SUM_ID}']").inner_text()
    expect(progress.get_by_label("Solved: add")).to_be_checked()
    progress.get_by_label("Solved: add").uncheck()
    expect(lesson.get_by_label("I have solved")).not_to_be_checked()
    assert "from disk" in progress.locator(".md-note").inner_text()
    assert not lesson.errors + progress.errors


def test_progress_goes_out_comes_back_and_can_be_erased(context, folder, tmp_path):
    lesson, progress = visit(context, folder, "lesson.html"), visit(context, folder, "progress.html")
    lesson.get_by_label("I have solved").check()
    lesson.get_by_role("button", name="red").click()
    before = kept(progress)
    with progress.expect_download() as download:
        progress.get_by_role("button", name="Export").click()
    assert download.value.suggested_filename == "minidiff-progress.json"
    download.value.save_as(tmp_path / "p.json")
    assert json.loads((tmp_path / "p.json").read_text()) == before
    status = progress.locator(".md-tools").get_by_role("status")
    progress.get_by_role("button", name="Erase…").click()
    progress.get_by_role("button", name="Keep").click()
    assert kept(progress) == before and "Nothing was erased" in status.inner_text()
    progress.get_by_role("button", name="Erase…").click()
    progress.get_by_role("button", name="Erase everything").click()
    assert kept(progress) == {"version": 1, "exercises": {}, "questions": {}}
    lesson.get_by_role("button", name="four").click()  # a first try of its own, which the import must not replace
    progress.locator("input[type=file]").set_input_files(tmp_path / "p.json")
    expect(status).to_contain_text("p.json was added; new entries: 1.")
    assert kept(progress)["exercises"] == before["exercises"]
    assert kept(progress)["questions"][COLOUR_ID]["first"] is False and not progress.errors


@pytest.mark.parametrize(
    "text, words",
    [
        ("{", "it is no JSON"),
        ("[]", 'it has no "version": 1'),
        ('{"version": 1, "exercises": []}', '"exercises" is missing or no object'),
        ('{"version": 1, "exercises": {"77.add": true}, "questions": {}}', 'exercise "77.add" has no date'),
        ('{"version": 1, "exercises": {}, "questions": {"q": {"first": 1}}}', 'question "q" needs "first"'),
    ],
)
def test_a_bad_file_is_refused_and_changes_nothing(context, folder, tmp_path, text, words):
    lesson, progress = visit(context, folder, "lesson.html"), visit(context, folder, "progress.html")
    lesson.get_by_label("I have solved").check()
    before = kept(progress)
    (tmp_path / "bad.json").write_text(text)
    progress.locator("input[type=file]").set_input_files(tmp_path / "bad.json")
    expect(progress.locator(".md-tools").get_by_role("status")).to_contain_text(f"bad.json was not taken: {words}")
    assert kept(progress) == before and not progress.errors


def test_what_cannot_be_read_is_put_aside(context, folder):
    page = visit(context, folder, "progress.html")
    page.evaluate("localStorage.setItem('minidiff.progress', '{broken')")
    page.reload()
    assert "put aside" in page.locator(".md-note").inner_text()
    assert page.evaluate("localStorage.getItem('minidiff.progress.unreadable')") == "{broken"
    assert kept(page)["exercises"] == {} and not page.errors


def test_a_browser_that_keeps_nothing_says_so_and_still_counts(context, folder):
    context.add_init_script("Object.defineProperty(window, 'localStorage', {get() { throw new Error('denied'); }})")
    page = visit(context, folder, "progress.html")
    page.get_by_label("Solved: add").check()
    assert page.locator("[role=progressbar]").first.get_attribute("aria-valuenow") == "1"
    assert "does not let the page keep anything" in page.locator(".md-note").inner_text()
    lesson = visit(context, folder, "lesson.html")
    lesson.get_by_role("button", name="red").click()
    assert "Right at your first try" in lesson.inner_text("body") and not page.errors + lesson.errors


def test_a_full_store_loses_nothing(context, folder):
    context.add_init_script("Storage.prototype.setItem = () => { throw new Error('full'); }")
    page = visit(context, folder, "progress.html")
    page.get_by_label("Solved: add").check()
    assert page.get_by_label("Solved: add").is_checked()
    assert "could not keep" in page.locator(".md-note").inner_text() and not page.errors


def test_the_checks_see_a_broken_script(browser, folder, tmp_path):
    for path in folder.iterdir():
        shutil.copy(path, tmp_path)
    (tmp_path / "course.js").write_text("throw new Error('broken')")
    context = browser.new_context()
    page = visit(context, tmp_path, "lesson.html")
    assert page.errors and page.locator("details").count() == 4  # the folds are still there for the reader
    context.close()
