"""The book as a reader's browser shows it, with every other host out of reach."""

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin

import page_checks
import pytest
import widgets
from playwright.sync_api import expect

ROOT = Path(__file__).resolve().parents[2]
FIRST, *OTHERS = re.findall(r"\b(?:root|file): (\S+)", (ROOT / "book" / "_toc.yml").read_text("utf-8"))
PAGES = [FIRST, *OTHERS]
LESSONS = [page for page in PAGES if page.startswith("notebooks/")]
PLAYED = [page for page in LESSONS if '"<div class=\\"minidiff-player' in (ROOT / f"{page}.ipynb").read_text("utf-8")]


@pytest.mark.parametrize("name", [*PAGES, "search", "genindex"])
def test_page_stands_alone(visit, name):
    watched = visit(f"{name}.html")
    assert page_checks.all_faults(watched) == []
    if name in LESSONS or name == "book/notation":
        assert watched.page.locator("mjx-container").count() >= 5


@pytest.mark.parametrize("name", [*PAGES, "search"])
def test_page_fits_a_phone(visit, name):
    watched = visit(f"{name}.html", width=390)
    assert page_checks.overflow(watched.page) == []


def test_there_are_players():
    assert len(PLAYED) >= 2


@pytest.mark.parametrize("name", PLAYED)
def test_players_play(visit, name):
    watched = visit(f"{name}.html")
    players = watched.page.locator(".minidiff-player")
    assert players.count() >= 1
    for player in players.all():
        widgets.drive(player)
    assert watched.faults() == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark_are_readable(visit, scheme):
    page = visit(f"{PLAYED[0]}.html", scheme=scheme).page
    expect(page.locator("html")).to_have_attribute("data-theme", scheme)
    player = page.locator(".minidiff-player").first
    expect(player.locator("output")).to_be_visible()
    assert page_checks.pale(player.locator(".md-title strong, button, output")) == []
    assert page_checks.pale(page.locator("article p")) == []


@pytest.mark.parametrize("name", LESSONS)
def test_folds_open(visit, name):
    page = visit(f"{name}.html").page
    for summary in ("Hint 1", "Solution"):
        folds = page.locator("details").filter(has=page.locator(f"summary:text-is('{summary}')"))
        assert folds.count() >= 4
        for fold in folds.all():
            assert len(widgets.unfold(fold)) > 10
        widgets.fold_up(folds.first)
    hidden = page.locator("details.hide").first
    assert "#@title" in widgets.unfold(hidden)


@pytest.mark.parametrize("name", LESSONS)
def test_quiz_answers(visit, name):
    watched = visit(f"{name}.html")
    assert len(widgets.verdicts(watched.page.locator("article"))) >= 4
    assert watched.faults() == []


def search(page, words):
    page.get_by_role("button", name="Search").filter(visible=True).first.click()
    field = page.locator("form.bd-search input[type=search]:visible").first
    field.fill(words)
    field.press("Enter")
    page.wait_for_url("**/search.html?q=*")
    expect(page.locator("#search-results .search-summary")).to_contain_text(re.compile("found|match", re.I))
    return page.locator("#search-results ul.search li a")


def test_search_finds_guidance(visit):
    watched = visit(f"{FIRST}.html")
    hits = search(watched.page, "classifier-free guidance")
    lesson = hits.and_(watched.page.locator("a[href*='03_ddpm_training']")).first
    expect(lesson).to_be_visible()
    lesson.click()
    watched.page.wait_for_url("**/03_ddpm_training.html*")
    expect(watched.page.locator("article")).to_contain_text("guidance")
    assert watched.faults() == []


def test_search_finds_nothing_where_there_is_nothing(visit):
    assert search(visit(f"{FIRST}.html").page, "zyzzyva").count() == 0


class Marks(HTMLParser):
    """Where a page's links lead, and the marks that links can lead to."""

    def __init__(self, text):
        super().__init__()
        self.links, self.ids = set(), set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.ids |= {values.get("id"), values.get("name") if tag == "a" else None}
        if tag == "a" and values.get("href"):
            self.links.add(values["href"])


def test_links_between_pages_lead_somewhere(book):
    html = ROOT / "book" / "_build" / "html"
    marks = {p.relative_to(html).as_posix(): Marks(p.read_text("utf-8")) for p in html.rglob("*.html")}
    dead = []
    for name, page in marks.items():
        for link in page.links:
            if re.match(r"[a-z]+:|//|#", link) or name.startswith("_static/"):
                continue
            target, mark = urldefrag(urljoin(f"/{name}", unquote(link)))
            target = target.lstrip("/").split("?")[0] or "index.html"
            if not (html / target).is_file() or (mark and target in marks and mark not in marks[target].ids):
                dead.append(f"{name} -> {link}")
    assert len(marks) >= len(PAGES) and dead == []
