"""The layers of ARCHITECTURE.md, checked over the syntax trees of compiler/."""

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import pytest

from compiler.engines.registry import PACKAGES
from compiler.ir.engine_name import EngineName

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "compiler"

# Top to bottom. A module imports only from the layers below its own, and inside its own unit.
LAYERS = (
    ("__main__",),
    ("cli",),
    ("commands",),
    ("upgrade",),
    ("whatif", "sizing"),
    # Pipeline stands above views: PLAN.md is a view that a compile writes.
    ("pipeline", "single", "enlist", "schemas", "locking"),
    ("inputs",),
    ("explain",),
    ("drain",),
    ("views",),
    (
        *("load", "check", "resolve", "estimate", "place", "assemble", "verify", "recount", "emit"),
        *("diff", "review", "rollout", "states", "thaw", "stale"),
        *("workspace", "discover", "delivery"),
    ),
    ("recount_states", "recount_memory", "recount_rollout", "recount_spares"),
    ("engines",),
    ("ir",),
    ("diagnostics",),
    ("codes",),
    ("__init__",),
)
LEVELS = {unit: level for level, layer in enumerate(reversed(LAYERS)) for unit in layer}
ENGINES = ("llamacpp", "vllm")
ENGINE_NAMES = get_args(EngineName)

# Wings of an engine, top to bottom: the same names in both, and what only ggml needs. A lone
# module is a floor of its own. `model` is what a file says, `flags` what the program takes,
# `launch` the options and the command line, `memory` bytes, `demand` what is asked of GPUs.
SHARED_WINGS = ("demand", "memory", "launch", "flags", "model")
FLOORS = {
    "llamacpp": (
        *("engine", "profile", "demand", "memory", "vision", "graphs", "placed", "launch"),
        *("ggml", "flags", "model", "traits", "recount", "__init__"),
    ),
    "vllm": (
        *("engine", "profile", "demand", "memory", "launch", "flags", "model"),
        *("versions", "traits", "recount", "__init__"),
    ),
}

NETWORK = ("resolve/sources.py", "resolve/hub.py", "resolve/connection.py")
WORLD = ("cli.py", "commands/", "workspace/", "delivery/playbook.py", *NETWORK)
# Answers of hosts come in a folder of the moment.
DISK = ("workspace/", "resolve/", "delivery/playbook.py")
# A place is a file, or a folder with all that is in it.
HOMES = {
    "click": ("cli.py", "commands/"),
    "numpy": ("place/patterns.py", "place/knapsack.py"),
    "ortools": ("place/solver.py", "place/linear.py"),
    "pynvml": ("discover/",),
    "rich": ("commands/", "views/"),
    **dict.fromkeys(("http", "httpx", "huggingface_hub", "requests", "socket", "urllib"), NETWORK),
    **dict.fromkeys(("datetime", "random", "secrets", "time"), WORLD),
    **dict.fromkeys(("fcntl", "glob", "mmap", "shutil", "tempfile"), DISK),
}
ENVIRONMENT = {"environ", "environb", "getenv", "getenvb"}

# Slow to import: `modelc --help` must not wait for them.
HEAVY = {"gguf", "huggingface_hub", "numpy", "ortools", "pynvml", "transformers"}
HEAVY_HOMES = {
    "numpy": ("place/patterns.py", "place/knapsack.py"),
    "ortools": ("place/solver.py", "place/linear.py"),
}

# Names that a str, a dict or one of our records has as well (replace, rename, resolve) are left
# out; what a pass could do with them needs one of these first.
DISK_METHODS = {
    *("open", "read_text", "read_bytes", "write_text", "write_bytes", "touch", "mkdir", "rmdir"),
    *("unlink", "exists", "is_file", "is_dir", "iterdir", "rglob", "stat", "lstat"),
    *("symlink_to", "hardlink_to"),
}
DISK_OS_FUNCTIONS = {
    *("chmod", "link", "listdir", "makedirs", "mkdir", "open", "remove", "removedirs", "rename"),
    *("replace", "rmdir", "scandir", "stat", "symlink", "unlink", "walk"),
}

MAX_MODULE_LINES = 400
MAX_BODY_LINES = 80


@dataclass(frozen=True, slots=True)
class Module:
    """One source file; `place` is its path inside compiler/."""

    place: str
    source: str
    tree: ast.Module
    known: frozenset[str]  # Names of all modules, to tell `from package import module` apart.

    @property
    def name(self) -> str:
        """Its import name."""
        return module_name(self.place)

    @property
    def unit(self) -> str:
        """The pass, package or lone module that it is part of."""
        return unit_of(self.name)


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """A rule broken at a line."""

    place: str
    line: int
    rule: str

    def __str__(self) -> str:
        return f"compiler/{self.place}:{self.line}: {self.rule}"


@dataclass(frozen=True, slots=True)
class Import:
    """A module imported at a line, by its full name."""

    target: str
    line: int


Rule = Callable[[Module], Iterator[Fault]]


def imports_point_down(module: Module) -> Iterator[Fault]:
    """A module imports only from layers below, or from its own unit."""
    if module.unit not in LEVELS:
        yield Fault(module.place, 1, f"`{module.unit}` has no layer; decide on one in LAYERS")
        return
    for imported in imports_in(module, module.tree):
        if not is_ours(imported.target):
            continue
        unit = unit_of(imported.target)
        if unit != module.unit and LEVELS.get(unit, len(LAYERS)) >= LEVELS[module.unit]:
            yield Fault(
                module.place, imported.line, f"`{module.unit}` may not import `{imported.target}`"
            )


def engines_are_strangers(module: Module) -> Iterator[Fault]:
    """An engine does not import the other one."""
    for engine in ENGINES:
        if not is_inside(module.name, f"compiler.engines.{engine}"):
            continue
        for imported in imports_in(module, module.tree):
            for other in ENGINES:
                if other != engine and is_inside(imported.target, f"compiler.engines.{other}"):
                    rule = f"engine `{engine}` may not import engine `{other}`"
                    yield Fault(module.place, imported.line, rule)


def engines_are_not_named(module: Module) -> Iterator[Fault]:
    """Outside engines/ nobody knows an engine by its name: each answers for itself."""
    if module.unit == "engines" or module.place == "ir/engine_name.py":
        return
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Constant) and node.value in ENGINE_NAMES:
            rule = (
                f"names `{node.value!s}`; ask the engine (engines/interface.py, engines/traits.py)"
            )
            yield Fault(module.place, node.lineno, rule)


def recounts_stand_apart(module: Module) -> Iterator[Fault]:
    """What the recount knows of an engine shares no code with the engine."""
    for engine in ENGINES:
        home = f"compiler.engines.{engine}"
        if not is_inside(module.name, home):
            continue
        own = module.name == f"{home}.recount"
        for imported in imports_in(module, module.tree):
            of_recount = is_inside(imported.target, f"{home}.recount")
            if of_recount or (own and is_inside(imported.target, home)):
                rule = f"`recount` of `{engine}` and the engine may not know each other"
                yield Fault(module.place, imported.line, rule)


def wings_point_down(module: Module) -> Iterator[Fault]:
    """Inside an engine a wing imports only from wings below."""
    for engine, floors in FLOORS.items():
        home = f"compiler.engines.{engine}"
        if not is_inside(module.name, home):
            continue
        own = wing_of(module.name)
        if own not in floors:
            yield Fault(module.place, 1, f"`{own}` has no floor; decide on one in FLOORS")
            continue
        for imported in imports_in(module, module.tree):
            wing = wing_of(imported.target) if is_inside(imported.target, home) else own
            lower = wing == own or floors.index(wing) > floors.index(own)
            if not lower:
                rule = f"`{own}` may not import `{wing}`, which is above it"
                yield Fault(module.place, imported.line, rule)


def packages_stay_home(module: Module) -> Iterator[Fault]:
    """Each outside package that a pass must not know is imported in its home only."""
    for imported in imports_in(module, module.tree):
        package = imported.target.split(".")[0]
        homes = HOMES.get(package)
        if homes is not None and not lives_in(module.place, homes):
            rule = f"`{package}` may be imported only in {', '.join(homes)}"
            yield Fault(module.place, imported.line, rule)


def no_environment(module: Module) -> Iterator[Fault]:
    """Environment variables are read only where the world is met."""
    if lives_in(module.place, WORLD):
        return
    for line, name in names_taken_from_os(module.tree):
        if name in ENVIRONMENT:
            yield Fault(module.place, line, f"`os.{name}` may be used only in {', '.join(WORLD)}")


def no_disk(module: Module) -> Iterator[Fault]:
    """Files are read and written only in workspace/, resolve/ and the engines' data modules."""
    if lives_in(module.place, DISK) or is_engine_data(module.place):
        return
    for line, call in disk_calls(module.tree):
        yield Fault(module.place, line, f"`{call}` touches the disk; only workspace/ may")


def heavy_packages_are_lazy(module: Module) -> Iterator[Fault]:
    """A package that is slow to import is imported inside the function that uses it."""
    for statement in run_at_import(module.tree.body):
        if not isinstance(statement, ast.Import | ast.ImportFrom):
            continue
        for imported in imports_in(module, statement):
            package = imported.target.split(".")[0]
            if package in HEAVY and module.place not in HEAVY_HOMES.get(package, ()):
                rule = f"`{package}` is slow to import: do it inside a function"
                yield Fault(module.place, imported.line, rule)


def has_docstring(module: Module) -> Iterator[Fault]:
    """A module says what it owns."""
    if not ast.get_docstring(module.tree):
        yield Fault(module.place, 1, "the module has no docstring")


def module_is_short(module: Module) -> Iterator[Fault]:
    """A file without its comments and blank lines is at most 400 lines."""
    lines = [line.strip() for line in module.source.splitlines()]
    length = sum(1 for line in lines if line and not line.startswith("#"))
    if length > MAX_MODULE_LINES:
        yield Fault(module.place, 1, f"{length} lines of code; the most is {MAX_MODULE_LINES}")


def bodies_are_short(module: Module) -> Iterator[Fault]:
    """A function body, without its docstring, is at most 80 lines."""
    for node in ast.walk(module.tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        body = node.body[1:] if ast.get_docstring(node) else node.body
        length = (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0
        if length > MAX_BODY_LINES:
            rule = f"the body of `{node.name}` has {length} lines; the most is {MAX_BODY_LINES}"
            yield Fault(module.place, node.lineno, rule)


RULES: tuple[Rule, ...] = (
    imports_point_down,
    engines_are_strangers,
    engines_are_not_named,
    recounts_stand_apart,
    wings_point_down,
    packages_stay_home,
    no_environment,
    no_disk,
    heavy_packages_are_lazy,
    has_docstring,
    module_is_short,
    bodies_are_short,
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_compiler_follows(rule: Rule) -> None:
    faults = sorted(fault for module in compiler_modules() for fault in rule(module))
    assert not faults, "\n" + "\n".join(map(str, faults))


# Rule, place, source and what is found in it; nothing is expected of the good ones.
SNIPPETS: list[tuple[Rule, str, str, str]] = [
    (imports_point_down, "ir/plan.py", "from compiler.engines import vllm", "1: `ir` may not"),
    (imports_point_down, "place/model.py", "import os\nimport compiler.emit", "2: `place` may not"),
    (imports_point_down, "diff.py", "from compiler import waves", "`diff` may not"),
    (imports_point_down, "emit/script.py", "from ..place import solver", "`emit` may not"),
    (imports_point_down, "views/text.py", "import compiler.pipeline", "`views` may not"),
    (imports_point_down, "ir/units.py", "def f():\n    import compiler.cli", "2: `ir` may not"),
    (imports_point_down, "load.py", "import_module('compiler.check')", "`load` may not"),
    (imports_point_down, "utils.py", "", "1: `utils` has no layer"),
    (imports_point_down, "load.py", "import compiler.utils", "`load` may not"),
    (imports_point_down, "place/model.py", "from compiler.place import solver", ""),
    (imports_point_down, "place/model.py", "from .solver import solve", ""),
    (imports_point_down, "views/text.py", "from compiler.ir.plan import Plan", ""),
    (imports_point_down, "cli.py", "from compiler import __version__, pipeline, views", ""),
    (engines_are_strangers, "engines/vllm/law.py", "import compiler.engines.llamacpp", "1: engine"),
    (engines_are_strangers, "engines/llamacpp/law.py", "from .. import vllm", "1: engine"),
    (engines_are_strangers, "engines/vllm/law.py", "from compiler.engines import interface", ""),
    (engines_are_strangers, "engines/__init__.py", "from compiler.engines import vllm", ""),
    (engines_are_not_named, "place/model.py", "if x.engine == 'vllm':\n    0", "1: names `vllm`"),
    (engines_are_not_named, "place/model.py", "x = {'llama.cpp': 1}", "1: names `llama.cpp`"),
    (engines_are_not_named, "engines/registry.py", "x = 'vllm'", ""),
    (engines_are_not_named, "place/model.py", "x = 'vllm is an engine'", ""),
    (recounts_stand_apart, "engines/vllm/recount.py", "import compiler.engines.vllm.versions", "1"),
    (recounts_stand_apart, "engines/vllm/a.py", "import compiler.engines.vllm.recount", "1: "),
    (recounts_stand_apart, "engines/vllm/recount.py", "import compiler.engines.recount", ""),
    (
        wings_point_down,
        "engines/vllm/model/a.py",
        "import compiler.engines.vllm.memory.b",
        "1: `mo",
    ),
    (wings_point_down, "engines/vllm/b.py", "", "1: `b` has no floor"),
    (wings_point_down, "engines/vllm/memory/a.py", "import compiler.engines.vllm.launch.b", ""),
    (wings_point_down, "engines/vllm/memory/a.py", "import compiler.ir.units", ""),
    (packages_stay_home, "check.py", "from ortools.sat.python import cp_model", "1: `ortools`"),
    (packages_stay_home, "views/text.py", "import click", "1: `click`"),
    (packages_stay_home, "emit/script.py", "import rich.text", "1: `rich`"),
    (packages_stay_home, "resolve/gguf.py", "import urllib.request", "1: `urllib`"),
    (packages_stay_home, "enlist.py", "def f():\n    import pynvml", "2: `pynvml`"),
    (packages_stay_home, "pipeline.py", "def f():\n    from time import time", "2: `time`"),
    (packages_stay_home, "place/model.py", "import_module('ortools')", "1: `ortools`"),
    (packages_stay_home, "place/solver.py", "from ortools.sat.python import cp_model", ""),
    (packages_stay_home, "views/text.py", "from rich.console import Console", ""),
    (no_environment, "emit/script.py", "import os\nprint(os.environ['HOME'])", "2: `os.environ`"),
    (no_environment, "engines/vllm/law.py", "from os import getenv", "1: `os.getenv`"),
    (no_environment, "commands/common.py", "import os\nos.environ.get('NO_COLOR')", ""),
    (no_disk, "load.py", "def f(path):\n    return path.read_text()", "2: `read_text`"),
    (no_disk, "emit/script.py", "open('x')", "1: `open`"),
    (no_disk, "pipeline.py", "import os\nos.replace('a', 'b')", "2: `os.replace`"),
    (no_disk, "engines/vllm/law.py", "from os import listdir", "1: `os.listdir`"),
    (no_disk, "emit/script.py", "'a'.replace('a', 'b')", ""),
    (no_disk, "resolve/gguf.py", "open('x')", ""),
    (no_disk, "engines/vllm/data_flags.py", "files('x').joinpath('y').read_text()", ""),
    (heavy_packages_are_lazy, "resolve/gguf.py", "try:\n    import gguf\nfinally:\n    0", "2: `g"),
    (heavy_packages_are_lazy, "place/model.py", "import ortools", "1: `ortools`"),
    (heavy_packages_are_lazy, "place/solver.py", "import ortools", ""),
    (heavy_packages_are_lazy, "resolve/gguf.py", "def f():\n    import gguf", ""),
    (heavy_packages_are_lazy, "resolve/hub.py", "if TYPE_CHECKING:\n    import gguf", ""),
    (has_docstring, "ir/plan.py", "x = 1", "1: the module"),
    (has_docstring, "ir/plan.py", "'''Owns the plan.'''", ""),
    (module_is_short, "ir/plan.py", "x = 1\n" * 401, "1: 401 lines"),
    (module_is_short, "ir/plan.py", "x = 1\n\n# Why.\n" * 400, ""),
    (bodies_are_short, "ir/plan.py", "\ndef f():\n" + "    1\n" * 81, "2: the body of `f` has 81"),
    (bodies_are_short, "ir/plan.py", "def f():\n    '''Doc.'''\n" + "    1\n" * 80, ""),
]

KNOWN_TO_SNIPPETS = frozenset(
    f"compiler.{name}"
    for name in (
        "engines.interface",
        "engines.recount",
        "engines.vllm",
        "engines.vllm.recount",
        "engines.vllm.versions",
        "pipeline",
        "place",
        "views",
        "waves",
    )
)


@pytest.mark.parametrize(("rule", "place", "source", "expected"), SNIPPETS)
def test_a_rule_knows_good_from_bad(rule: Rule, place: str, source: str, expected: str) -> None:
    found = [str(fault) for fault in rule(parse(place, source, KNOWN_TO_SNIPPETS))]
    assert len(found) == bool(expected)
    assert all(f"compiler/{place}:" in fault and expected in fault for fault in found)


def test_every_rule_has_a_bad_snippet() -> None:
    assert {rule for rule, _, _, expected in SNIPPETS if expected} == set(RULES)


def test_both_engines_have_the_same_wings() -> None:
    for engine, floors in FLOORS.items():
        folders = {path.parent.name for path in (PACKAGE / "engines" / engine).glob("*/*.py")}
        assert folders <= set(floors), engine
        assert set(SHARED_WINGS) <= folders, engine
        assert tuple(floor for floor in floors if floor in SHARED_WINGS) == SHARED_WINGS


def test_every_engine_has_its_row() -> None:
    assert set(PACKAGES) == set(ENGINE_NAMES)
    assert {name.rpartition(".")[2] for name in PACKAGES.values()} == set(ENGINES)


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Over files, inside functions and under TYPE_CHECKING too: what two need is a third."""
    modules = {module.name: module for module in compiler_modules()}
    found = circles(
        {
            name: {each.target for each in imports_in(module, module.tree)} - {name}
            for name, module in modules.items()
        }
    )
    assert found == []


def test_a_circle_is_seen() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b", "os"}}) == [["b", "c"]]
    assert circles({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_tests_and_tables_import_no_benchmark() -> None:
    """What the laws were measured against is tests/truth; benchmarks are run by hand."""
    for path in sorted([*(ROOT / "tests").rglob("*.py"), *(ROOT / "tables").glob("*.py")]):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            assert not any(is_inside(name, "benchmarks") for name in names), path


def circles(imports: dict[str, set[str]]) -> list[list[str]]:
    """The groups of modules in which each leads to each other one."""
    reached = {name: below(name, imports) for name in imports}
    groups = {
        tuple(sorted(other for other in reached[name] if name in reached.get(other, ())))
        for name in imports
        if name in reached[name]
    }
    return sorted(map(list, groups))


def below(name: str, imports: dict[str, set[str]]) -> set[str]:
    """All that a module leads to."""
    found: set[str] = set()
    waiting = list(imports[name])
    while waiting:
        each = waiting.pop()
        if each not in found:
            found.add(each)
            waiting += imports.get(each, ())
    return found


def compiler_modules() -> Iterator[Module]:
    """Every module of the package, parsed."""
    places = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))
    known = frozenset(map(module_name, places))
    for place in places:
        yield parse(place, (PACKAGE / place).read_text(encoding="utf-8"), known)


def parse(place: str, source: str, known: frozenset[str]) -> Module:
    """One module from its text."""
    return Module(place, source, ast.parse(source, place), known)


def module_name(place: str) -> str:
    """`place/solver.py` is `compiler.place.solver`; `place/__init__.py` is `compiler.place`."""
    parts = ["compiler", *place.removesuffix(".py").split("/")]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def unit_of(name: str) -> str:
    """`compiler.place.solver` is in `place`; the package itself is the unit `__init__`."""
    return [*name.split("."), "__init__"][1]


def wing_of(name: str) -> str:
    """`compiler.engines.vllm.memory.kv` is in `memory`; the package itself is `__init__`."""
    return [*name.split(".")[3:], "__init__"][0]


def is_ours(name: str) -> bool:
    """Whether it is a module of the compiler."""
    return is_inside(name, "compiler")


def is_inside(name: str, package: str) -> bool:
    """Whether it is that package or a module in it."""
    return name == package or name.startswith(f"{package}.")


def lives_in(place: str, homes: tuple[str, ...]) -> bool:
    """Whether the file is one of these, or in one of these folders."""
    return any(place == home or (home.endswith("/") and place.startswith(home)) for home in homes)


def is_engine_data(place: str) -> bool:
    """Whether the file is one that loads the tables packaged with an engine."""
    return place.startswith("engines/") and place.rsplit("/", 1)[1].startswith("data")


def imports_in(module: Module, tree: ast.AST) -> Iterator[Import]:
    """All that is imported, inside functions too, and by import_module() with a literal."""
    for node in ast.walk(tree):
        match node:
            case ast.Import():
                yield from (Import(alias.name, node.lineno) for alias in node.names)
            case ast.ImportFrom():
                yield from imports_from(module, node)
            case ast.Call(args=[ast.Constant(value=str(target)), *_]) if imports_by_name(node):
                yield Import(target, node.lineno)


def imports_from(module: Module, node: ast.ImportFrom) -> Iterator[Import]:
    """Each name of a `from` import: the module of that name, or else the one that holds it."""
    base = node.module or ""
    if node.level:
        levels_up = node.level - module.place.endswith("__init__.py")
        parents = module.name.split(".")
        base = ".".join([*parents[: len(parents) - levels_up], *filter(None, [base])])
    for target in dict.fromkeys(imported_module(base, alias.name, module) for alias in node.names):
        yield Import(target, node.lineno)


def imported_module(base: str, name: str, module: Module) -> str:
    """`from compiler import waves` imports compiler.waves, if there is such a module."""
    full = f"{base}.{name}"
    return full if full in module.known else base


def run_at_import(statements: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements that run when the module is imported, inside `if`, `try` and classes too."""
    for statement in statements:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        yield statement
        if isinstance(statement, ast.If) and "TYPE_CHECKING" in ast.unparse(statement.test):
            yield from run_at_import(statement.orelse)
            continue
        for block in ("body", "orelse", "finalbody"):
            yield from run_at_import(getattr(statement, block, []))
        for handler in getattr(statement, "handlers", []):
            yield from run_at_import(handler.body)


def names_taken_from_os(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and name of each `os.x`, and of each x in `from os import x`."""
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id="os")):
                yield node.lineno, node.attr
            case ast.ImportFrom(module="os"):
                yield from ((node.lineno, alias.name) for alias in node.names)


def disk_calls(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and name of each call that reads, writes or looks at a file."""
    for line, name in names_taken_from_os(tree):
        if name in DISK_OS_FUNCTIONS:
            yield line, f"os.{name}"
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="open")):
                yield node.lineno, "open"
            case ast.Call(func=ast.Attribute(value=ast.Name(id="os"))):
                continue
            case ast.Call(func=ast.Attribute(attr=name)) if name in DISK_METHODS:
                yield node.lineno, name


def imports_by_name(call: ast.Call) -> bool:
    """Whether it is a call of import_module() or __import__()."""
    match call.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name in {"import_module", "__import__"}
    return False
