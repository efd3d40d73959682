"""`modelc report`: the page says what the plan says, holds what it must not run, and is ours."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from itertools import combinations
from math import dist
from pathlib import Path

import pytest

from compiler.cli import run
from compiler.diff import diff
from compiler.ir.names import folded
from compiler.ir.plan import Plan
from compiler.views.report import MARKER, report_html
from tests.browser import Page, browser
from tests.generators.small_plans import plan, replica, share
from tests.test_views_safety import HOSTILE, hostile_plan

ROOT = Path(__file__).parents[1]
EXAMPLES = ("edge", "homelab", "mixed", "rag", "startup")
VOID = {"meta", "input", "rect", "circle"}


@dataclass(slots=True)
class Node:
    """One element of a page."""

    tag: str
    attributes: dict[str, str]
    inside: list[Node] = field(default_factory=list)
    text: str = ""

    def all(self, tag: str, **attributes: str) -> list[Node]:
        """Every element below of this tag, with these attributes."""
        return [
            node
            for node in self.below()
            if node.tag == tag and attributes.items() <= node.attributes.items()
        ]

    def below(self) -> Iterator[Node]:
        """Every element below."""
        for node in self.inside:
            yield node
            yield from node.below()

    def words(self) -> str:
        """All text of it."""
        return self.text + "".join(node.words() for node in self.inside)

    def sizes(self) -> list[int]:
        """The bytes of each figure."""
        return [int(node.attributes["value"]) for node in self.all("data")]


class Reader(HTMLParser):
    """Elements of a page as a browser would nest them; fails where one is not closed."""

    def __init__(self) -> None:
        """Nothing read yet."""
        super().__init__()
        self.open = [Node("", {})]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """One more level, but for what holds nothing."""
        node = Node(tag, {name: value or "" for name, value in attrs})
        self.open[-1].inside.append(node)
        if tag not in VOID:
            self.open.append(node)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element that holds nothing."""
        self.open[-1].inside.append(Node(tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        """One level less."""
        if tag in VOID:
            return
        assert self.open[-1].tag == tag, f"{self.open[-1].tag} is closed by {tag}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        """Text of the innermost element."""
        self.open[-1].text += data


def read(page: str) -> Node:
    """The page as a tree."""
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert len(reader.open) == 1
    return reader.open[0]


def example(name: str) -> Plan:
    """The plan of an example fleet."""
    path = ROOT / "inventories" / name / "compiled" / "plan.json"
    return Plan.model_validate_json(path.read_text("utf-8"))


def pictured(after: Plan, before: Plan | None = None) -> str:
    """The page of a plan."""
    return report_html(after, before, diff(before, after))


def grown() -> tuple[Plan, Plan]:
    """A fleet before and after: one host goes, one comes, a replica moves, grows, stops."""
    before = plan(
        {"a": 1, "b": 1},
        [
            replica("chat-0", "a", [share(0, 9_000)]),
            replica("chat-1", "b", [share(0, 9_000)]),
            replica("embed-0", "a", [share(0, 4_000)]),
        ],
    )
    after = plan(
        {"a": 1, "c": 1},
        [
            replica("chat-0", "a", [share(0, 12_000)]),
            replica("chat-1", "c", [share(0, 9_000)]),
        ],
    )
    return before, after


def equal_fleet(n_hosts: int, *, different: bool = False) -> Plan:
    """Hosts with eight GPUs, two replicas on each; equal ones, or no two alike."""
    bare = plan({"gpu-0": 8}), replica("chat-0", "gpu-0", [share(0, 9_000)])
    gpus, replicas = [], []
    for number in range(n_hosts * 8):
        host, gpu = f"gpu-{number // 8}", number % 8
        more = number << 20 if different else 0
        for service in ("chat", "embed"):
            held = bare[1].shares[0]
            size = held.share_bytes + more
            moved = held.model_copy(update={"gpu": gpu, "share_bytes": size})
            names = {"name": f"{service}-{number}", "service": service, "host": host}
            replicas.append(bare[1].model_copy(update={**names, "shares": [moved]}))
        granted = {"granted_bytes": 2 * (bare[1].shares[0].share_bytes + more)}
        ledger = {"budget_bytes": 90 << 30, "memory_bytes": 96 << 30, "host": host, "gpu": gpu}
        gpus.append(bare[0].gpus[0].model_copy(update={**ledger, **granted}))
    hosts = [bare[0].hosts[0].model_copy(update={"host": f"gpu-{n}"}) for n in range(n_hosts)]
    return bare[0].model_copy(update={"gpus": gpus, "hosts": hosts, "replicas": replicas})


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_figure_is_that_of_the_plan(name: str) -> None:
    shown = example(name)
    page = read(pictured(shown))
    lines = {
        place: line
        for line in page.all("div")
        for place in line.attributes.get("data-g", "").split()
    }
    for gpu in shown.gpus:
        (sums,) = lines[f"{gpu.host}/{gpu.gpu}"].all("div", **{"class": "sums"})
        free = gpu.budget_bytes - gpu.granted_bytes
        assert sums.sizes() == [gpu.granted_bytes, gpu.budget_bytes, free]
    held = Counter[tuple[str, int]]()
    for one in shown.replicas:
        for each in one.shares:
            held[f"{one.host}/{each.gpu}", each.share_bytes] += 1
    told = Counter[tuple[str, int]]()
    for place, line in lines.items():
        for size in line.all("ul")[0].sizes():
            told[place, size] += not place.endswith("/RAM")
    assert +told == held


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_parts_of_each_kind_are_all_of_its_memory(name: str) -> None:
    shown = example(name)
    (table,) = read(pictured(shown)).all("section", id="kinds")[0].all("table")
    rows = {row.all("th")[0].text: row.sizes() for row in table.all("tr") if row.all("data")}
    for kind in {gpu.kind for gpu in shown.gpus}:
        gpus = [gpu for gpu in shown.gpus if gpu.kind == kind]
        *parts, free, reserved = rows[kind]
        assert sum(parts) == sum(gpu.granted_bytes for gpu in gpus)
        assert free == sum(gpu.budget_bytes - gpu.granted_bytes for gpu in gpus)
        assert sum(parts) + free + reserved == sum(gpu.memory_bytes for gpu in gpus)


@pytest.mark.parametrize("name", EXAMPLES)
def test_each_part_of_each_replica_has_its_figure_and_its_reason(name: str) -> None:
    shown = example(name)
    page = read(pictured(shown))
    figures = {node.attributes["id"]: node for node in page.all("article", **{"class": "figure"})}
    expected = {
        (part.bytes, part.why)
        for one in shown.replicas
        for each in one.shares
        for _, part in each.breakdown.parts()
        if part.high_bytes
    }
    found = {
        (row.sizes()[0], row.all("td")[-1].text)
        for figure in figures.values()
        for row in figure.all("tr")
        if "data-p" in row.attributes
    }
    assert expected <= found
    links = [node.attributes["href"] for node in page.all("section", id="fleet")[0].all("a")]
    assert {link[1:] for link in links} == figures.keys()


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_pieces_of_a_bar_fill_it(name: str) -> None:
    for bar in read(pictured(example(name))).all("svg"):
        pieces = [node for node in bar.all("rect") if node.attributes["class"] != "edge"]
        if not bar.attributes.get("class", "").startswith("bar") or not pieces:
            continue
        at = 0.0
        for piece in pieces:
            assert float(piece.attributes["x"][:-1]) == pytest.approx(at, abs=0.011)
            at += float(piece.attributes["width"][:-1])
        assert at == pytest.approx(100, abs=0.1)


def test_before_and_after_stand_beside_each_other() -> None:
    before, after = grown()
    page = read(pictured(after, before))
    changes = page.all("section", id="changes")[0].words()
    assert "host gone: b" in changes
    assert "new host c" in changes
    assert "no replica runs any more" in changes
    cards = {card.attributes["data-h"]: card for card in page.all("article") if card.all("h4")}
    assert cards.keys() == {"a", "b", "c"}
    assert "before 13,000" in cards["a"].words()
    (gone,) = cards["a"].all("li", **{"class": "leaves"})
    assert gone.all("a")[0].text == "embed-0"
    assert gone.all("span", **{"class": "tag delete"})[0].text == "- delete"
    assert "no more in the fleet" in cards["b"].words()
    assert [len(cards[name].all("svg", **{"class": "bar old"})) for name in "abc"] == [2, 2, 0]


def test_a_change_is_one_link_away_from_its_reasons() -> None:
    page = read(pictured(*reversed(grown())))
    numbers = {node.attributes["data-c"] for node in page.all("a") if "data-c" in node.attributes}
    changes = {
        node.attributes["id"]: node.words() for node in page.all("li") if node.attributes.get("id")
    }
    assert changes.keys() == {f"c{number}" for number in numbers}
    assert any("share of a/0 9,000 MiB → 12,000 MiB" in words for words in changes.values())


def test_ram_that_nobody_holds_any_more_is_still_there() -> None:
    before, _ = grown()
    page = read(pictured(plan({"a": 1, "b": 1}), before))
    rows = [node for node in page.all("div") if "a/RAM" in node.attributes.get("data-g", "")]
    assert ["no more in the fleet" in row.words() for row in rows] == [False]
    assert "before 4,096" in rows[0].words()


def test_one_memory_for_gpu_and_ram_is_one_bar() -> None:
    fleet = plan({"spark": 1}, [replica("chat-0", "spark", [share(0, 9_000)])])
    both = {"granted_bytes": (9_000 + 2_048) << 20, "unified": True}
    gpus = [fleet.gpus[0].model_copy(update=both)]
    hosts = [fleet.hosts[0].model_copy(update={"unified": True})]
    page = read(pictured(fleet.model_copy(update={"gpus": gpus, "hosts": hosts})))
    (line,) = [node for node in page.all("div") if "data-g" in node.attributes]
    assert line.attributes["data-g"] == "spark/0"
    assert line.all("ul")[0].sizes() == [(9_000 + 2_048) << 20]
    assert "CUDA context RAM: CUDA context" in page.words()


def test_nothing_changes() -> None:
    before, _ = grown()
    page = read(pictured(before, before))
    assert "Everything goes on as it runs." in page.words()
    assert not page.all("svg", **{"class": "bar old"})


def test_without_a_previous_plan_nothing_is_called_new() -> None:
    page = read(pictured(grown()[1]))
    assert not page.all("section", id="changes")
    assert not page.all("span", **{"class": "tag new"})


def test_equal_hosts_are_shown_once_and_no_replica_is_left_out() -> None:
    fleet = equal_fleet(375)
    text = pictured(fleet)
    page = read(text)
    assert len(text) < 200_000
    assert page.all("h4")[0].text == folded([f"{gpu.host}/{gpu.gpu}" for gpu in fleet.gpus])
    assert "chat-[0-2999]" in page.words()


def test_three_thousand_different_gpus_are_a_page_that_still_opens() -> None:
    fleet = equal_fleet(375, different=True)
    text = pictured(fleet)
    assert len(text) < 10_000_000
    assert len(re.findall("<[a-z]", text)) < 150_000
    page = read(text)
    assert len(page.all("h4")) == 3_000
    assert len(page.all("article", **{"class": "figure"})) == 2
    assert "chat-7: 9,007 MiB (" in text


def test_no_text_of_a_fleet_becomes_part_of_the_page() -> None:
    for text in (
        "</script><script>alert(1)</script>",
        "</style><img src=x onerror=alert(1)>",
        '"><a href="javascript:alert(1)">',
        "' onload='alert(1)",
        "{{ 7 * 7 }}",
        HOSTILE,
    ):
        hostile = hostile_plan()
        renamed = [
            one.model_copy(update={"service": text, "variant": text, "name": f"{text}-0",
                                   "engine_version": text})
            for one in hostile.replicas
        ]  # fmt: skip
        hostile = hostile.model_copy(update={"replicas": renamed})
        whole = pictured(hostile, plan({"tower": 1}, [replica("x-0", "tower", [share(0, 500)])]))
        page = read(whole)
        assert len(page.all("script")) == len(page.all("style")) == 1
        assert not {"img", "iframe", "object", "link", "base"} & {n.tag for n in page.below()}
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u202e]", whole)
        for node in page.below():
            assert not [name for name in node.attributes if name.startswith(("on", "style"))]
            assert node.attributes.get("href", "#").startswith("#")
        assert "49" not in page.all("h3")[-1].words()


def test_the_page_may_do_nothing_but_what_it_brings() -> None:
    text = pictured(example("startup"))
    page = read(text)
    policy = page.all("meta", **{"http-equiv": "Content-Security-Policy"})[0].attributes["content"]
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    for tag in ("style", "script"):
        content = page.all(tag)[0].text
        assert content
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert not re.search(r"https?:|//[a-z]+\.|@import|url\((?!#)", text)


def test_the_same_plans_give_the_same_bytes_in_every_process() -> None:
    paths = [str(ROOT / "inventories" / name / "compiled") for name in ("startup", "homelab")]
    command = [sys.executable, "-m", "compiler.cli", "report", "--plan", paths[0], "--previous",
               paths[1], "--out", "-"]  # fmt: skip
    pages = {
        subprocess.run(
            command, cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": seed}, check=True,
            capture_output=True,
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(pages) == 1
    assert pages.pop().decode().startswith(MARKER)


HOMELAB = str(ROOT / "inventories" / "homelab" / "compiled")


def test_the_command_writes_one_file_and_writes_it_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        assert run(["report", str(tmp_path), "--plan", HOMELAB, "--previous", "none"]) == 0
        assert "report.html is written" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    assert (tmp_path / "report.html").read_text("utf-8") == pictured(example("homelab"))


@pytest.mark.parametrize("found", [b"<!doctype html>\n<p>mine", b"\xff\x00 not text"])
def test_a_file_of_somebody_else_stays(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], found: bytes
) -> None:
    out = tmp_path / "mine.html"
    out.write_bytes(found)
    assert run(["report", "--plan", HOMELAB, "--previous", "none", "--out", str(out)]) == 1
    assert "modelc did not write it" in capsys.readouterr().err
    assert out.read_bytes() == found


def test_a_folder_is_no_place_for_a_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["report", "--plan", HOMELAB, "--previous", "none", "--out", str(tmp_path)]) == 1
    assert "write-failed" in capsys.readouterr().err


def test_sources_are_compiled_and_the_output_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("inventory.yaml", "models.yaml", "modelc.lock"):
        text = (ROOT / "inventories" / "homelab" / name).read_text("utf-8")
        (tmp_path / name).write_text(text, "utf-8")
    assert run(["report", str(tmp_path), "--out", "-"]) == 0
    assert capsys.readouterr().out == pictured(example("homelab"))
    assert not (tmp_path / "compiled").exists()


def test_a_plan_that_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["report", "--plan", "none", "--previous", "none"]) == 64
    assert "holds no plan" in capsys.readouterr().err


# How people see who lack one kind of cone (Machado, Oliveira and Fernandes 2009, severity 1), for
# linear red, green and blue.
SIGHTS = {
    "all": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protan": ((0.152, 1.053, -0.205), (0.115, 0.786, 0.099), (-0.004, -0.048, 1.052)),
    "deutan": ((0.367, 0.861, -0.228), (0.280, 0.673, 0.047), (-0.012, 0.043, 0.969)),
    "tritan": ((1.256, -0.077, -0.179), (-0.078, 0.931, 0.148), (0.005, 0.691, 0.304)),
}
XYZ = ((0.4338, 0.3762, 0.1899), (0.2126, 0.7152, 0.0722), (0.0177, 0.1095, 0.8730))


def lab(code: str, sight: str) -> tuple[float, float, float]:
    """A colour as CIELAB, in which 2.3 is the least that is seen beside each other."""
    channels = [int(code[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    light = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    for matrix in (SIGHTS[sight], XYZ):
        light = [max(0.0, sum(map(float.__mul__, map(float, row), light))) for row in matrix]
    x, y, z = (c ** (1 / 3) if c > 0.008856 else 7.787 * c + 16 / 116 for c in light)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


@pytest.mark.parametrize("sight", SIGHTS)
@pytest.mark.parametrize("scheme", [0, 1])
def test_everybody_can_tell_the_parts_apart(sight: str, scheme: int) -> None:
    style = (ROOT / "templates" / "report" / "page.css").read_text("utf-8")
    parts = ("weights", "kv", "compute", "graphs", "runtime")
    codes = [re.findall(rf"--{part}: (#[0-9a-f]{{6}});", style)[scheme] for part in parts]
    for one, other in combinations([lab(code, sight) for code in codes], 2):
        assert dist(one, other) > 20


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A browser."""
    with browser(tmp_path_factory.mktemp("chromium")) as page:
        yield page


def opened(page: Page, folder: Path, text: str, width: int = 1280, *, dark: bool = False) -> None:
    """Opens a text as a page; fails where the browser complains of anything."""
    path = folder / "report.html"
    path.write_text(text, "utf-8")
    page.complaints.clear()
    page.open(path, width, dark=dark)
    assert page.complaints == []


@pytest.mark.parametrize("width", [390, 768, 1280])
@pytest.mark.parametrize("name", ["homelab", "startup"])
def test_a_browser_shows_it_without_a_complaint(
    seen: Page, tmp_path: Path, name: str, width: int
) -> None:
    opened(seen, tmp_path, pictured(example(name)), width, dark=width == 768)
    assert seen.value("document.documentElement.scrollWidth") == width
    backs = seen.value("getComputedStyle(document.body).backgroundColor")
    assert (int(re.findall(r"\d+", backs)[0]) < 128) == (width == 768)
    wide = "[...document.querySelectorAll('#fleet svg.bar')].map(b => b.clientWidth)"
    assert min(seen.value(wide)) > width / 4


def test_a_browser_opens_three_thousand_gpus(seen: Page, tmp_path: Path) -> None:
    opened(seen, tmp_path, pictured(equal_fleet(375, different=True)))
    assert seen.value("document.querySelectorAll('#fleet .card').length") == 375
    assert seen.value("document.documentElement.scrollWidth") == 1280


def test_hostile_texts_run_nothing_in_a_browser(seen: Page, tmp_path: Path) -> None:
    hostile = hostile_plan()
    text = (
        "</script><script>document.title='run'</script><img src=x onerror=\"document.title='run'\">"
    )
    renamed = [one.model_copy(update={"variant": text}) for one in hostile.replicas]
    opened(seen, tmp_path, pictured(hostile.model_copy(update={"replicas": renamed})))
    assert seen.value("document.title").startswith("modelc report: ")
    assert text in seen.value("document.body.innerText")


def test_figures_and_reasons_appear_for_pointer_and_keyboard(seen: Page, tmp_path: Path) -> None:
    before, after = grown()
    opened(seen, tmp_path, pictured(after, before))
    seen.value("document.documentElement.style.scrollBehavior = 'auto'")
    seen.value("document.querySelector('#fleet').scrollIntoView()")
    box = "document.querySelector('#fleet svg.bar a rect.kv').getBoundingClientRect()"
    seen.point(seen.value(f"{box}.x") + 2, seen.value(f"{box}.y") + 2)
    tip = seen.value("document.getElementById('tip').innerText")
    assert "chat-0" in tip
    assert "sum of the tensors" in tip
    assert "share of a/0 9,000 MiB → 12,000 MiB" in tip
    assert seen.value("document.querySelector('#tip tr.hot').dataset.p") == "kv"
    seen.press("Escape")
    assert seen.value("document.getElementById('tip').hidden")
    seen.value("document.querySelector('#by-host').focus()")
    for _ in range(20):
        seen.press("Tab")
        if seen.value("document.activeElement.matches('#fleet svg.bar a')"):
            break
    assert seen.value("document.activeElement.ariaLabel").startswith("chat-0: 12,000 MiB (weights")
    assert seen.value("document.getElementById('tip').hidden") is False
    assert seen.value("document.activeElement.getAttribute('aria-describedby')") == "tip"


def test_the_filter_leaves_what_was_asked_for(seen: Page, tmp_path: Path) -> None:
    opened(seen, tmp_path, pictured(example("startup")))
    shown = (
        "[...document.querySelectorAll('#fleet .line')].filter(e => e.checkVisibility())"
        ".map(e => e.dataset.g).join(' ').split(' ')"
    )
    plan_shown = example("startup")
    everywhere = seen.value(shown)
    seen.value("document.querySelector('#by-host').value = 'GPU-2'")
    change = "document.querySelector('#filter').dispatchEvent(new Event('input'))"
    seen.value(change)
    assert set(seen.value(shown)) == {each for each in everywhere if each.startswith("gpu-2/")}
    assert seen.value("document.querySelector('#shown').textContent") == "1 host shown"
    seen.value("document.querySelector('#by-host').value = ''")
    pick = "[...document.querySelectorAll('#by-service option')].find(o => o.text === 'rerank')"
    seen.value(f"{pick}.selected = true")
    seen.value(change)
    expected = {
        f"{one.host}/{place}"
        for one in plan_shown.replicas
        if one.service == "rerank"
        for place in (*(each.gpu for each in one.shares), "RAM")
    }
    assert expected <= set(seen.value(shown))
    assert not {f"gpu-1/{gpu}" for gpu in range(8)} & set(seen.value(shown)) - expected


def test_the_page_reads_without_scripts(seen: Page, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text(pictured(*reversed(grown())), "utf-8")
    seen.ask("Emulation.setScriptExecutionDisabled", value=True)
    try:
        seen.open(path)
    finally:
        seen.ask("Emulation.setScriptExecutionDisabled", value=False)
    assert seen.value("document.querySelector('#filter').checkVisibility()") is False
    words = seen.value("document.body.textContent")
    assert "sum of the tensors" in words
    assert "share of a/0 9,000 MiB → 12,000 MiB" in words
