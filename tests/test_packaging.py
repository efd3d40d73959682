"""What a user installs is what we test: the wheel, tried from outside the checkout."""

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from zipfile import ZipFile

import pytest

import compiler

ROOT = Path(__file__).parent.parent
FOLDERS = {"compiler": "compiler", "schemas": "compiler/schemas", "templates": "compiler/templates"}
SHOW_RESOURCES = (
    "from compiler.workspace import resource_dir;"
    "print(resource_dir('schemas'), resource_dir('templates'), sep='\\n')"
)

# All tests of this file run in one worker, so that the fixtures are made once.
pytestmark = pytest.mark.xdist_group("packaging")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel built from the checkout."""
    return build(tmp_path_factory.mktemp("wheel"), "--wheel", "*.whl")


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution."""
    return build(tmp_path_factory.mktemp("sdist"), "--sdist", "*.tar.gz")


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of a fresh environment that has the wheel in it."""
    home = tmp_path_factory.mktemp("installed")
    venv.create(home, with_pip=True)
    run(home / "bin" / "pip", "install", "--no-deps", "--no-index", wheel)
    # The dependencies come from this environment, so that no network is needed. Its own editable
    # modelc stays out of sight: .pth files count only in the environment's own folder.
    (ours,) = home.glob("lib/python*/site-packages")
    (ours / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return home / "bin"


def test_the_wheel_has_the_package_the_schemas_and_the_templates(wheel: Path) -> None:
    members = {name for name in contents(wheel) if ".dist-info/" not in name}
    assert members == expected_members()


def test_an_sdist_gives_the_same_wheel(wheel: Path, sdist: Path, tmp_path: Path) -> None:
    # Not tarfile: its safe filter is missing from the 3.11.2 of Debian, and 3.12 warns without it.
    run("tar", "-xf", sdist, "-C", tmp_path)
    (source,) = tmp_path.iterdir()
    from_sdist = build(tmp_path / "dist", "--wheel", "*.whl", source)
    assert contents(from_sdist) == contents(wheel)


def test_an_sdist_carries_what_its_tests_need(sdist: Path, tmp_path: Path) -> None:
    run("tar", "-xf", sdist, "-C", tmp_path)
    (source,) = tmp_path.iterdir()
    said = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", "tests"],
        cwd=source,
        env={**os.environ, "PYTHONPATH": str(source)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == 0, said.stdout[-2000:]
    from_checkout = {path.name for path in (ROOT / "tests").glob("test_*.py")}
    assert all(f"tests/{name}::" in said.stdout for name in from_checkout)


def test_the_command_works_anywhere(installed: Path) -> None:
    assert run(installed / "modelc", "--version") == f"modelc {compiler.__version__}\n"


def test_the_package_is_the_command(installed: Path) -> None:
    said = run(installed / "python", "-m", "compiler", "--help")
    assert said.replace("python -m compiler", "modelc") == run(installed / "modelc", "--help")


def test_an_installed_modelc_finds_its_resources_in_the_package(installed: Path) -> None:
    for folder in resource_dirs(installed / "python"):
        assert folder.is_relative_to(installed.parent)
        assert folder.parent.name == "compiler"
        assert files_below(folder) == files_below(ROOT / folder.name)


def test_a_checkout_finds_its_resources_beside_the_package() -> None:
    assert resource_dirs(Path(sys.executable)) == [ROOT / "schemas", ROOT / "templates"]


def build(out: Path, kind: str, pattern: str, source: Path = ROOT) -> Path:
    """Build one distribution with the hatchling of this environment."""
    run(sys.executable, "-m", "build", kind, "--no-isolation", "--outdir", out, source)
    (made,) = out.glob(pattern)
    return made


def run(*command: str | Path) -> str:
    """The stdout of a command that starts far from the checkout."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        command, cwd="/", env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def resource_dirs(python: Path) -> list[Path]:
    """Where that Python's modelc finds its schemas and its templates."""
    return [Path(line) for line in run(python, "-c", SHOW_RESOURCES).splitlines()]


def contents(wheel: Path) -> dict[str, int]:
    """Name and checksum of each member."""
    with ZipFile(wheel) as archive:
        return {member.filename: member.CRC for member in archive.infolist()}


def expected_members() -> set[str]:
    """Where each file of the checkout goes."""
    return {
        f"{target}/{name}"
        for folder, target in FOLDERS.items()
        for name in files_below(ROOT / folder)
    }


def files_below(folder: Path) -> set[str]:
    """The files in a folder and its folders, without those that Python itself writes."""
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
