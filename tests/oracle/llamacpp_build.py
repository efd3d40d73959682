"""Builds llama.cpp from the source distribution of llama-cpp-python, once, outside the repository.

    python -m tests.oracle.llamacpp_build [VERSION]

In the cache folder then lie llama-server for the CPU, libllama, and beside it the paper GPU and
the memory probe, which are ours.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import venv
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from tests.oracle.paper_gpu.extract import extract

# The release of llama-cpp-python that carries llama.cpp 0c1e570 of 2026-10-01, which the memory law
# transcribes (compiler/engines/llamacpp/flags/builds.py, STUDIED_BUILD). A newer llama.cpp is
# tried with another version here; what moved then stands in the oracle's table.
VERSION = "0.3.36"

HERE = Path(__file__).resolve().parent / "paper_gpu"
# What is neither needed by llama-server nor found on every machine stays out, and no code is made
# for the very CPU that builds: the cache may be restored on another one.
OPTIONS = {
    "CMAKE_BUILD_TYPE": "Release",
    # Sizes do not depend on it, the models are tiny, and the build takes half the time.
    "CMAKE_C_FLAGS_RELEASE": "-O1 -DNDEBUG",
    "CMAKE_CXX_FLAGS_RELEASE": "-O1 -DNDEBUG",
    "GGML_NATIVE": "OFF",
    "GGML_CCACHE": "OFF",
    "LLAMA_BUILD_TESTS": "OFF",
    "LLAMA_BUILD_EXAMPLES": "OFF",
    "LLAMA_BUILD_APP": "OFF",
    "LLAMA_BUILD_UI": "OFF",
    "LLAMA_USE_PREBUILT_UI": "OFF",
    "LLAMA_OPENSSL": "OFF",
    "LLAMA_BUILD_NUMBER": "0",
    "LLAMA_BUILD_COMMIT": "unknown",
}
JOBS = 2


def folder(version: str = VERSION) -> Path:
    """Where a version is kept."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "modelc" / f"llama.cpp-{version}"


def server(version: str = VERSION) -> Path:
    """llama-server, built if it is not there."""
    path = _binaries(version) / "llama-server"
    if not path.exists():
        _build_llama_cpp(version)
    return path


def paper_gpu(version: str = VERSION) -> Path:
    """The paper GPU as a library for LD_PRELOAD, built if it is not there."""
    return _ours(version) / "libggml-paper-gpu.so"


def memory_probe(version: str = VERSION) -> Path:
    """The program that asks libllama what it allocates, built if it is not there."""
    return _ours(version) / "memory-probe"


def _binaries(version: str) -> Path:
    return folder(version) / "build" / "bin"


def _build_llama_cpp(version: str) -> None:
    tree, build = source(version), folder(version) / "build"
    tools = {name: tool(name, version) for name in ("cmake", "ninja")}
    options = [f"-D{name}={value}" for name, value in OPTIONS.items()]
    generator = ["-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={tools['ninja']}"]
    _run(tools["cmake"], "-S", tree, "-B", build, *generator, *options)
    # The others of the machine go first.
    target = ["--target", "llama-server", "-j", str(JOBS)]
    _run("nice", tools["cmake"], "--build", build, *target)


def source(version: str = VERSION) -> Path:
    """The source tree of llama.cpp, unpacked from the source distribution."""
    result = folder(version) / "source"
    if result.exists():
        return result
    downloads = folder(version) / "download"
    package = f"llama-cpp-python=={version}"
    _download(package, downloads, version)
    (archive,) = downloads.glob("*.tar.gz")
    unpacked = folder(version) / "unpacking"
    shutil.rmtree(unpacked, ignore_errors=True)
    with tarfile.open(archive) as tar:
        tar.extractall(unpacked, members=_members_of_llama_cpp(tar), filter="data")
    unpacked.rename(result)  # Last, so that an interrupted call leaves no half of a tree.
    shutil.rmtree(downloads)
    return result


def _download(package: str, downloads: Path, version: str) -> None:
    """The source distribution as it is: pip would build it first, to read what it needs.

    A backend of our own says at once what the distribution's PKG-INFO says.
    """
    downloads.mkdir(parents=True, exist_ok=True)
    backend = downloads / "backend" / "scikit_build_core"
    backend.mkdir(parents=True, exist_ok=True)
    (backend / "__init__.py").write_text("", encoding="utf-8")
    (backend / "build.py").write_text(_BACKEND, encoding="utf-8")
    _run(
        *("env", f"PYTHONPATH={backend.parent}", _python_with_pip(version), "-m", "pip"),
        *("download", "--quiet", "--no-build-isolation", "--no-binary", ":all:", "--no-deps"),
        *("--dest", downloads, package),
    )


_BACKEND = """\
from pathlib import Path


def prepare_metadata_for_build_wheel(directory, config_settings=None):
    known = Path("PKG-INFO").read_text(encoding="utf-8")
    version = next(line[9:] for line in known.splitlines() if line.startswith("Version: "))
    folder = Path(directory) / f"llama_cpp_python-{version}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(known, encoding="utf-8")
    (folder / "WHEEL").write_text("Wheel-Version: 1.0\\n", encoding="utf-8")
    return folder.name
"""


def _members_of_llama_cpp(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    for member in tar.getmembers():
        _, *rest = PurePosixPath(member.name).parts
        if rest[:2] == ["vendor", "llama.cpp"] and (member.isfile() or member.isdir()):
            yield member.replace(name=str(PurePosixPath(*rest[2:])))


def tool(name: str, version: str) -> str:
    """The path of cmake or ninja: the machine's, or else from the package index."""
    found = shutil.which(name)
    if found:
        return found
    python = _python_with_pip(version)
    _run(python, "-m", "pip", "install", "--quiet", name)
    return str(python.with_name(name))


def _python_with_pip(version: str) -> Path:
    home = folder(version) / "tools"
    if not (home / "bin" / "pip").exists():
        venv.create(home, with_pip=True)
    return home / "bin" / "python"


def _ours(version: str) -> Path:
    """The folder of what we build against libllama; anew when a file of ours has changed."""
    binaries = server(version).parent
    digest = hashlib.sha256()
    for file in sorted(HERE.iterdir()):
        if file.is_file():
            digest.update(file.read_bytes())
    result = folder(version) / f"paper-gpu-{digest.hexdigest()[:12]}"
    if not result.exists():
        _compile(source(version), binaries, result)
    return result


def _compile(tree: Path, binaries: Path, result: Path) -> None:
    partial = result.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    (partial / "extract.inc").write_text(extract(tree), encoding="utf-8")
    includes = [
        *(f"-I{tree / path}" for path in ("include", "src", "ggml/include", "ggml/src")),
        *(f"-I{path}" for path in (tree / "vendor", partial, HERE)),
    ]
    compiler = ("nice", "c++", "-std=c++20", "-O1", *includes)
    links = (f"-L{binaries}", f"-Wl,-rpath,{binaries}", "-lggml", "-lggml-base", "-lggml-cpu")
    library = ("-fPIC", "-shared", HERE / "paper_gpu.cpp", "-o", partial / "libggml-paper-gpu.so")
    _run(*compiler, *library, *links)
    probe = (HERE / "memory_probe.cpp", "-o", partial / "memory-probe", "-lllama")
    _run(*compiler, *probe, *links)
    partial.rename(result)


def _run(*command: str | Path) -> None:
    subprocess.run([str(word) for word in command], check=True)


if __name__ == "__main__":
    chosen = sys.argv[1] if len(sys.argv) > 1 else VERSION
    print(server(chosen))
    print(memory_probe(chosen))
