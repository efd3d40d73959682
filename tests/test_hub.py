"""The hub, over a server on loopback that speaks its protocol."""

from __future__ import annotations

import hashlib
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread
from time import monotonic

import pytest

from compiler.diagnostics import CompileError
from compiler.ir.lock import Lock, LockedSource
from compiler.resolve.hub import Hub, HubUnreachableError, hub_from_environment, hub_tree
from compiler.resolve.sources import lock_sources, resolve_source
from tests.generators.hub_server import COMMIT, Fault, HubServer, serve
from tests.generators.models import (
    llama_tensors,
    llama_values,
    qwen3_config,
    qwen3_tensors,
    write_folder,
    write_gguf,
    write_safetensors,
)
from tests.generators.published import LLAMA3, QWEN3
from tests.generators.shapes import hf_decoder


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HubServer]:
    """A hub with two small models, which this process takes for the real one."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    for name in ("HF_TOKEN", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("compiler.resolve.connection._stopped_within", lambda *_: False)
    folder = tmp_path / "repositories"
    write_safetensors(folder / "tiny" / "model.safetensors", qwen3_tensors())
    write_folder(folder / "tiny", {"config.json": qwen3_config(), "tokenizer.json": {}})
    for quant in ("Q4_K_M", "Q8_0"):
        write_gguf(folder / "gguf" / f"M-{quant}.gguf", llama_values(), llama_tensors())
    with serve() as running:
        monkeypatch.setenv("HF_ENDPOINT", running.endpoint)
        running.repositories = {"org/tiny": folder / "tiny", "org/tiny-GGUF": folder / "gguf"}
        yield running


def resolve(source: str) -> LockedSource:
    return resolve_source(source, Path())


def fault(source: str, code: str, words: str) -> tuple[str, ...]:
    """The source is refused with this code and these words; its hints."""
    with pytest.raises(CompileError) as caught:
        resolve(source)
    (found,) = caught.value.diagnostics
    assert (found.code, words in found.detail) == (code, True), found.detail
    return found.hints


# What is read


def test_a_repository_of_safetensors(hub: HubServer) -> None:
    found = resolve("org/tiny")
    assert (found.repository, found.revision) == ("org/tiny", COMMIT)
    assert [file.name for file in found.files] == [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
    ]
    weights = found.files[1]
    assert weights.sha256 == hashlib.sha256(b"model.safetensors").hexdigest()
    assert weights.header_sha256 is None
    local = resolve_source(str(hub.repositories["org/tiny"]), Path())
    assert found.facts == local.facts


def test_a_quantization_of_a_repository(hub: HubServer) -> None:
    found = resolve("org/tiny-GGUF:Q8_0")
    assert [file.name for file in found.files] == ["M-Q8_0.gguf"]
    assert found.facts.architecture == "llama"
    assert {request.path.rsplit("/", 1)[-1] for request in hub.seen} == {
        "tiny-GGUF",
        "M-Q8_0.gguf",
    }


def test_a_quantization_that_is_not_there(hub: HubServer) -> None:
    assert hub.port
    fault("org/tiny-GGUF:Q2_K", "source-missing", "no `Q2_K`; there is: Q4_K_M, Q8_0")
    fault("org/tiny-GGUF", "source-missing", "2 models")


@pytest.mark.parametrize("revision", ["main", COMMIT])
def test_revisions(hub: HubServer, revision: str) -> None:
    assert resolve(f"org/tiny@{revision}").revision == COMMIT
    assert hub.seen[0].path == f"/api/models/org/tiny/revision/{revision}"


def test_files_are_read_at_the_commit(hub: HubServer) -> None:
    resolve("org/tiny")
    assert all(
        f"/resolve/{COMMIT}/" in request.path
        for request in hub.seen
        if "cdn" not in request.path and "api" not in request.path
    )


def test_only_headers_are_transferred(hub: HubServer, tmp_path: Path) -> None:
    """A 70B model of 30 shards: some 30 requests and little more than its headers."""
    tensors = list(hf_decoder(LLAMA3["70B"]))
    folder = tmp_path / "big"
    shards = 30
    index: dict[str, str] = {}
    for shard in range(shards):
        name = f"model-{shard + 1:05}-of-{shards:05}.safetensors"
        part = tensors[shard::shards]
        write_safetensors(folder / name, part)
        index |= dict.fromkeys((tensor[0] for tensor in part), name)
    config = qwen3_config(architectures=["LlamaForCausalLM"], num_hidden_layers=80)
    write_folder(
        folder, {"config.json": config, "model.safetensors.index.json": {"weight_map": index}}
    )
    hub.repositories["org/big"] = folder
    found = resolve("org/big")
    assert found.facts.parameters == 70_553_706_496
    assert sum(file.bytes for file in found.files) > 140_000_000_000
    assert hub.sent_bytes() < 5 << 20
    assert len(hub.seen) <= 2 * shards + 5  # A shard is one request and its redirect.


def test_a_large_gguf_header_takes_few_requests(hub: HubServer, tmp_path: Path) -> None:
    values = llama_values(
        **{"tokenizer.ggml.tokens": [f"some token {number}" for number in range(150_000)]}
    )
    write_gguf(tmp_path / "big" / "big.gguf", values, llama_tensors())
    hub.repositories["org/big"] = tmp_path / "big"
    found = resolve("org/big")
    assert found.facts.vocabulary == 150_000
    assert len(hub.seen) <= 2 * 3 + 1


# Tokens


def test_the_token_goes_to_the_hub_and_nowhere_else(
    hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_example")
    resolve("org/tiny")
    tokens = {(request.host, request.token) for request in hub.seen}
    assert tokens == {("127.0.0.1", "Bearer hf_example"), ("localhost", None)}


def test_without_a_token_none_is_sent(hub: HubServer) -> None:
    resolve("org/tiny")
    assert {request.token for request in hub.seen} == {None}


# Refusals


def test_a_repository_that_is_not_there(hub: HubServer) -> None:
    hints = fault("org/none", "source-missing", "no such repository")
    assert any("HF_TOKEN" in hint for hint in hints)
    assert len(hub.seen) == 1


def test_a_revision_that_is_not_there(hub: HubServer) -> None:
    assert hub.port
    fault("org/tiny@v9", "source-missing", "no such revision")


@pytest.mark.parametrize(
    ("status", "code"), [(401, "GatedRepo"), (403, "GatedRepo"), (403, ""), (401, "")]
)
def test_a_repository_that_is_closed(hub: HubServer, status: int, code: str) -> None:
    hub.faults["tiny"] = [Fault(status=status, headers={"X-Error-Code": code})]
    hints = fault("org/tiny", "source-missing", f"denies access ({status})")
    assert "accept its terms" in hints[0]
    assert len(hub.seen) == 1


def test_the_words_of_the_hub(hub: HubServer) -> None:
    """They say more than a status: whom to ask, or that the token is not valid."""
    words = "Access to model org/tiny is restricted and you are not in the authorized list."
    headers = {"X-Error-Code": "GatedRepo", "X-Error-Message": words}
    hub.faults["tiny"] = [Fault(status=403, headers=headers)]
    fault("org/tiny", "source-missing", f"denies access (403): {words}")
    hub.faults["tiny"] = [Fault(status=451, headers={"X-Error-Message": "x" * 900})]
    fault("org/tiny", "source-network", f"answered 451: {'x' * 300}…")


def test_a_commit_that_is_cut_short(hub: HubServer) -> None:
    assert hub.port
    hints = fault(f"org/tiny@{COMMIT[:7]}", "source-missing", "no such revision")
    assert "all its 40 digits" in hints[0]


def test_a_token_that_is_kept_back(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """HF_HUB_DISABLE_IMPLICIT_TOKEN, which huggingface_hub reads once."""
    monkeypatch.setenv("HF_TOKEN", "hf_example")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_IMPLICIT_TOKEN", True)
    resolve("org/tiny")
    assert {request.token for request in hub.seen} == {None}


def test_a_token_that_is_none(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_\u00e9")
    fault("org/tiny", "source-network", "letters that no token has")
    assert hub.seen == []


def test_a_closed_file_of_an_open_repository(hub: HubServer) -> None:
    hub.faults["model.safetensors"] = [Fault(status=403, headers={"X-Error-Code": "GatedRepo"})]
    fault("org/tiny", "source-missing", "denies access")


@pytest.mark.parametrize("status", [403, 404])
def test_files_that_are_kept_behind_a_wall(hub: HubServer, status: int) -> None:
    """No licence is to be accepted when it is a firewall that says no."""
    hub.faults["model.safetensors"] = [Fault(), Fault(status=status)]
    words = f"localhost, where the hub sends us, answered {status}"
    fault("org/tiny", "source-network", words)


# Passing faults


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504, 520])
def test_a_fault_that_passes(hub: HubServer, status: int) -> None:
    for name in ("tiny", "config.json", "model.safetensors"):
        hub.faults[name] = [Fault(status=status, headers={"Retry-After": "0"})] * 2
    assert resolve("org/tiny").facts.layers == 2


def waited(hub: HubServer, monkeypatch: pytest.MonkeyPatch, **headers: str) -> float:
    """Seconds before the second try, after a 429 with these headers."""
    waits: list[float] = []

    def pause(seconds: float, stopped: Event) -> bool:
        waits.append(seconds)
        return stopped.is_set()

    monkeypatch.setattr("compiler.resolve.connection._stopped_within", pause)
    told = {name.replace("_", "-"): text for name, text in headers.items()}
    hub.faults["tiny"] = [Fault(status=429, headers=told)]
    resolve("org/tiny")
    (seconds,) = waits
    return seconds


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry_After": "Wed, 21 Oct 2099 07:28:00 GMT"}, 30.0),
        ({"Retry_After": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.5),
        ({"Retry_After": "soon"}, 0.5),
        ({"Retry_After": "-3"}, 0.5),
        ({"RateLimit": '"api";r=0;t=12'}, 12.0),
        ({"RateLimit": '"api";r=0;t=12', "Retry_After": "3"}, 3.0),
    ],
)
def test_how_long_the_hub_asks_to_wait(
    hub: HubServer, monkeypatch: pytest.MonkeyPatch, headers: dict[str, str], seconds: float
) -> None:
    """Seconds, a date (RFC 9110), or what is left of the window of its rate limit."""
    assert waited(hub, monkeypatch, **headers) == seconds


@pytest.mark.parametrize("status", [429, 503])
def test_a_fault_that_stays(hub: HubServer, status: int) -> None:
    hub.faults["tiny"] = [Fault(status=status)] * 9
    fault("org/tiny", "source-network", f"answered {status} (5 attempts)")


def test_retry_after_is_heeded(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    def pause(seconds: float, stopped: Event) -> bool:
        waits.append(seconds)
        return stopped.is_set()

    monkeypatch.setattr("compiler.resolve.connection._stopped_within", pause)
    hub.faults["tiny"] = [
        Fault(status=429, headers={"Retry-After": "7"}),
        Fault(status=429, headers={"Retry-After": "9999"}),
        Fault(status=500),
    ]
    resolve("org/tiny")
    assert waits == [7.0, 30.0, 2.0]


def test_an_interruption_does_not_wait_for_the_hub(
    hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was to be tried again in half a minute is given up."""
    monkeypatch.undo()
    monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
    hub.repositories["org/b"] = hub.repositories["org/tiny"]
    hub.faults["b"] = [Fault(status=503, headers={"Retry-After": "30"})] * 5

    def interrupt(_: Lock) -> None:
        raise KeyboardInterrupt

    began = monotonic()
    with pytest.raises(KeyboardInterrupt):
        lock_sources(["org/b", "org/tiny"], Path(), None, frozenset(), keep=interrupt)
    assert monotonic() - began < 20


def test_an_interruption_does_not_wait_for_a_slow_transfer(hub: HubServer) -> None:
    """A hub that sends a byte now and then would never be done."""
    given_up = Event()
    given_up.set()
    with pytest.raises(HubUnreachableError, match="the transfer was given up"):
        hub_tree(replace(hub_from_environment(), stopped=given_up), "org/tiny", None)
    assert len(hub.seen) == 1


def test_a_connection_that_is_cut_goes_on_where_it_was(hub: HubServer) -> None:
    hub.faults["model.safetensors"] = [Fault(), Fault(cut_after=100), Fault(), Fault(cut_after=50)]
    hub.faults["config.json"] = [Fault(cut_after=10)]
    hub.faults["tiny"] = [Fault(cut_after=10)]
    assert resolve("org/tiny").facts.layers == 2
    ranges = [request.range for request in hub.seen if request.path.startswith("/cdn/")]
    assert [text.split("-")[0] for text in ranges if text] == ["bytes=0", "bytes=100", "bytes=150"]


def test_nobody_listens(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    assert hub.port
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    fault("org/tiny", "source-network", "http://127.0.0.1:9 does not answer")


def test_a_hub_that_is_slow(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Longer than the timeout is tried again; shorter is waited for."""
    monkeypatch.setattr("compiler.resolve.connection._TIMEOUT_SECONDS", 0.4)
    hub.faults["config.json"] = [Fault(delay_seconds=0.1)]
    hub.faults["tiny"] = [Fault(delay_seconds=0.8)]
    assert resolve("org/tiny").facts.layers == 2
    assert [request.path for request in hub.seen].count("/api/models/org/tiny") == 2


@pytest.mark.parametrize("begins", [b"HTTP/1.1 200 OK\r\nContent-Length: 60000000\r\n\r\n", b""])
def test_a_hub_that_drips_is_given_up(
    hub: HubServer, monkeypatch: pytest.MonkeyPatch, begins: bytes
) -> None:
    """A byte now and then, of the answer or of its headers: no read of one takes too long."""
    monkeypatch.setattr("compiler.resolve.connection._TIMEOUT_SECONDS", 0.3)
    monkeypatch.setattr("compiler.resolve.connection._ATTEMPTS", 2)
    told: list[str] = []
    with dripping(begins) as endpoint:
        monkeypatch.setenv("HF_ENDPOINT", endpoint)
        with pytest.raises(CompileError) as caught:
            resolve_source("org/tiny", Path(), report=lambda step: told.append(step.item))
    assert caught.value.diagnostics[0].code == "source-network"
    assert "(2 attempts)" in caught.value.diagnostics[0].detail
    assert any("attempt 2 of 2 in 0.5 s" in line for line in told)
    assert hub.seen == []


@contextmanager
def dripping(begins: bytes) -> Iterator[str]:
    """An address at which every answer begins like this and goes on with a byte each 50 ms."""
    over = Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip(client: socket.socket) -> None:
            with client, suppress(OSError):
                client.recv(65536)
                client.sendall(begins)
                while not over.wait(0.05):
                    client.sendall(b"H")

        def serve_all() -> None:
            with suppress(OSError):
                while not over.is_set():
                    Thread(target=drip, args=(server.accept()[0],), daemon=True).start()

        Thread(target=serve_all, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}"
        finally:
            over.set()


def test_a_hub_without_ranges(hub: HubServer) -> None:
    hub.ranges = False
    assert resolve("org/tiny").facts.layers == 2


@pytest.mark.parametrize(
    "body",
    [
        *("[]", "{", '{"sha": "x", "siblings": []}', '{"sha": 1}', "[" * 100_000),
        *(
            f'{{"sha": "{COMMIT}", "siblings": [{{"rfilename": "config.json"{rest}}}]}}'
            for rest in (', "size": -5', ', "size": 1e999', ', "lfs": {"size": 5, "sha256": 7}')
        ),
    ],
)
def test_a_listing_that_is_not_understood(hub: HubServer, body: str) -> None:
    """Something else answers at HF_ENDPOINT."""
    hub.faults["tiny"] = [Fault(status=200, body=body.encode())]
    fault("org/tiny", "source-network", "the hub's listing")


@pytest.mark.parametrize("endpoint", ["mirror.example", "http://host:port", "ftp://host", "http:"])
def test_an_endpoint_that_is_no_address(
    hub: HubServer, monkeypatch: pytest.MonkeyPatch, endpoint: str
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    fault("org/tiny", "source-network", f"HF_ENDPOINT is `{endpoint}`, which is no http address")
    assert hub.seen == []


def test_a_mirror_below_a_path(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.prefix = "/models/hub"
    monkeypatch.setenv("HF_ENDPOINT", f"{hub.endpoint}/")
    assert resolve("org/tiny").revision == COMMIT
    pages = [request.path for request in hub.seen if not request.path.startswith("/cdn/")]
    assert pages
    assert all(path.startswith("/models/hub/") for path in pages)


def test_a_repository_that_has_a_new_name(hub: HubServer) -> None:
    """The hub answers with 307 to all that is asked under the old one."""
    hub.renamed = {"old/tiny": "org/tiny"}
    found = resolve("old/tiny")
    assert (found.repository, found.revision) == ("old/tiny", COMMIT)
    assert found.facts == resolve("org/tiny").facts


def test_a_listing_without_sizes(hub: HubServer) -> None:
    """Some mirrors know no `?blobs=true`; the tree says it all, for one request more."""
    usual = resolve("org/tiny")
    hub.sizes = False
    hub.seen.clear()
    assert resolve("org/tiny") == usual
    assert [request.path for request in hub.seen[:2]] == [
        "/api/models/org/tiny",
        f"/api/models/org/tiny/tree/{COMMIT}",
    ]
    hub.faults[COMMIT] = [Fault(status=200, body=b'[{"path": "config.json", "size": 5}]')]
    fault("org/tiny", "source-network", "the hub does not say the size of `model.safetensors`")
    hub.faults[COMMIT] = [Fault(status=200, body=b'{"error": "no"}')]
    fault("org/tiny", "source-network", "the hub's listing is not understood")


def test_names_that_lead_out_of_the_repository_are_no_files(hub: HubServer) -> None:
    names = ["../x.gguf", "/x.gguf", "a//x.gguf", "a/./x.gguf", "x\n.gguf"]
    siblings = [{"rfilename": name, "size": 9} for name in names]
    body = json.dumps({"sha": COMMIT, "siblings": siblings}).encode()
    hub.faults["tiny"] = [Fault(status=200, body=body)]
    fault("org/tiny", "source-missing", "neither a config.json nor a GGUF")


def test_a_file_that_is_damaged_on_the_hub(hub: HubServer) -> None:
    (hub.repositories["org/tiny"] / "model.safetensors").write_bytes(b"\xff" * 5000)
    fault("org/tiny", "source-corrupt", "`model.safetensors` claims a header of")


# Offline


def offline(hub: HubServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Offline, with the tiny model in the cache; the cache's folder of the repository."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    cached = tmp_path / "hf" / "hub" / "models--org--tiny"
    snapshot = cached / "snapshots" / COMMIT
    write_safetensors(snapshot / "model.safetensors", qwen3_tensors())
    write_folder(snapshot, {"config.json": qwen3_config(), "tokenizer.json": {}})
    write_folder(cached, {"refs/main": COMMIT})
    assert hub.port
    return cached


def test_offline_reads_the_cache(
    hub: HubServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    online = resolve("org/tiny")
    requests = len(hub.seen)
    offline(hub, monkeypatch, tmp_path)
    for source in ("org/tiny", f"org/tiny@{COMMIT}"):
        found = resolve(source)
        assert (found.revision, found.facts) == (COMMIT, online.facts)
    assert len(hub.seen) == requests


def test_offline_with_all_but_the_weights(
    hub: HubServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Who has loaded a tokenizer has a snapshot; the model it seems to hold has no weights."""
    cached = offline(hub, monkeypatch, tmp_path)
    weights = cached / "snapshots" / COMMIT / "model.safetensors"
    weights.unlink()
    fault("org/tiny", "source-network", "has no weights of it")
    weights.symlink_to(cached / "blobs" / "gone")
    fault("org/tiny", "source-missing", "`model.safetensors` is a link to a file that is not there")


def test_offline_without_a_copy(
    hub: HubServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    offline(hub, monkeypatch, tmp_path)
    fault("org/tiny@v2", "source-network", "does not hold this repository")
    fault("org/other", "source-network", "HF_HUB_OFFLINE is set")


def test_the_environment_names_the_hub() -> None:
    plain = hub_from_environment({"XDG_CACHE_HOME": "/x"})
    assert (plain.endpoint, plain.offline) == ("https://huggingface.co", False)
    assert plain.cache == Path("/x/huggingface/hub")
    assert hub_from_environment({"HUGGINGFACE_HUB_CACHE": "/old"}).cache == Path("/old")
    mirror = hub_from_environment(
        {"HF_ENDPOINT": "https://mirror.example/", "HF_HOME": "/h", "TRANSFORMERS_OFFLINE": "true"}
    )
    assert mirror == Hub(endpoint="https://mirror.example", offline=True, cache=Path("/h/hub"))


# The lock


def test_a_lock_that_fails_half_way_is_continued(hub: HubServer) -> None:
    hub.faults["tiny"] = [Fault(status=503)] * 9
    kept: list[Lock] = []
    wanted = ["org/tiny", "org/tiny-GGUF:Q8_0", "org/none"]
    with pytest.raises(CompileError) as caught:
        lock_sources(wanted, Path(), None, frozenset(), keep=kept.append)
    assert [found.code for found in caught.value.diagnostics] == [
        "source-missing",
        "source-network",
    ]
    assert [entry.source for entry in kept[-1].sources] == ["org/tiny-GGUF:Q8_0"]
    hub.faults.clear()
    hub.seen.clear()
    lock = lock_sources(wanted[:2], Path(), kept[-1], frozenset())
    assert [entry.source for entry in lock.sources] == wanted[:2]
    assert not any("tiny-GGUF" in request.path for request in hub.seen)


def test_many_files_are_read_at_once(hub: HubServer, tmp_path: Path) -> None:
    """The order of the facts is that of the files, whichever answers first."""
    tensors = list(hf_decoder(QWEN3["0.6B"]))
    for shard in range(10):
        write_safetensors(tmp_path / "m" / f"model-{shard}.safetensors", tensors[shard::10])
    write_folder(tmp_path / "m", {"config.json": qwen3_config()})
    hub.repositories["org/m"] = tmp_path / "m"
    facts = resolve("org/m").facts
    assert facts == resolve_source(str(tmp_path / "m"), Path()).facts
    tree, commit = hub_tree(hub_from_environment(), "org/m", None)
    assert (tree.readers, commit) == (8, COMMIT)


def test_sources_are_read_side_by_side(hub: HubServer) -> None:
    """Four at once; what answers first is kept first, and the lock is in order all the same."""
    names = [f"org/m{number}" for number in range(6)]
    for name in names:
        hub.repositories[name] = hub.repositories["org/tiny"]
    hub.faults["m0"] = [Fault(delay_seconds=1.0)]
    told: list[str] = []
    kept: list[Lock] = []
    begun_at_first: list[int] = []

    def keep(so_far: Lock) -> None:
        begun_at_first.append(len(told))
        kept.append(so_far)

    lock = lock_sources(names, Path(), None, frozenset(), lambda step: told.append(step.item), keep)
    assert [entry.source for entry in lock.sources] == told == names
    assert begun_at_first[0] == 4
    assert [names[0] in {entry.source for entry in so_far.sources} for so_far in kept] == [
        *[False] * 5,
        True,
    ]


def test_the_faults_of_all_sources_are_in_order(hub: HubServer) -> None:
    """Though the first is known last."""
    hub.faults["a"] = [Fault(delay_seconds=0.3)]
    with pytest.raises(CompileError) as caught:
        lock_sources(["org/b", "org/a", "./none"], Path(), None, frozenset())
    details = [found.detail for found in caught.value.diagnostics]
    assert [detail.split("`")[1] for detail in details] == ["./none", "org/a", "org/b"]


def test_the_index_of_pytorch_files_is_read_only_without_safetensors(
    hub: HubServer, tmp_path: Path
) -> None:
    index = {"metadata": {"total_size": 400}, "weight_map": {}}
    both = write_folder(hub.repositories["org/tiny"], {"pytorch_model.bin.index.json": index})
    shards = {f"pytorch_model-0000{part}-of-00002.bin": "x" for part in (1, 2)}
    alone = {"config.json": qwen3_config(), "pytorch_model.bin.index.json": index, **shards}
    hub.repositories["org/bin"] = write_folder(tmp_path / "bin", alone)
    assert resolve("org/bin").facts.parameters == 200
    hub.seen.clear()
    assert resolve("org/tiny").facts == resolve_source(str(both), Path()).facts
    assert not any("bin.index" in request.path for request in hub.seen)
