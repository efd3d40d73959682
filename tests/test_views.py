"""Whole screens: what each view prints for a small plan, a diff, a breakdown or a fault."""

# ruff: noqa: E501 (a screen is as wide as it is)

import json
import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from compiler.codes import CODES
from compiler.diagnostics import Diagnostic, Group, Location, Severity
from compiler.diff import diff
from compiler.ir.catalog import builtin_kinds
from compiler.ir.changes import Diff
from compiler.ir.demand import Breakdown, Launch, Part, Site
from compiler.ir.plan import Plan, Unplaced
from compiler.ir.units import GIB, MIB
from compiler.views.diagnostics import diagnostics_json, diagnostics_text
from compiler.views.diff import diff_json, diff_markdown, diff_text
from compiler.views.estimate import estimate_json, estimate_text
from compiler.views.explain import replica_json, replica_text, replicas_json, replicas_text
from compiler.views.plan import plan_markdown, plan_text_view
from compiler.views.terminal import command_lines
from tests.generators.small_plans import demand, plan, replica, share

SERVE = ["/opt/vllm/bin/vllm", "serve", "Qwen/Qwen3-8B"]
LONGER = [*SERVE, "--max-model-len", "16384", "--enforce-eager"]


def before() -> Plan:
    """Two GPUs on a tower, a box without one."""
    return plan(
        {"tower": 2, "edge": 0},
        [
            replica("chat-0", "tower", [share(0, 10_000), share(1, 10_000)]),
            replica("embed-0", "tower", [share(1, 2_000)], port=8_001),
            replica("old-0", "tower", [share(0, 1_000)]),
            replica("rank-0", "edge", port=8_003),
        ],
    )


def after() -> Plan:
    """A GPU of the tower is gone and a rack has come."""
    return plan(
        {"tower": 1, "rack": 3, "edge": 0},
        [
            replica("chat-0", "rack", [share(0, 12_000), share(1, 12_000)], argv=LONGER),
            replica("embed-0", "tower", [share(0, 2_000)], port=8_001, kv_tokens=0),
            replica(
                "code-0",
                "tower",
                [share(0, 6_000)],
                engine="llama.cpp",
                engine_version="9000",
                variant="q4",
                gpu_layers=30,
                host_layers=6,
                kv_requests_permille=16_000,
                port=8_002,
                start_after=["embed-0"],
                secrets=["HF_TOKEN"],
                assumed=["The driver is recent."],
            ),
            replica("rank-0", "edge", port=8_003, image="rank:2"),
        ],
        unplaced=[Unplaced(service="batch", wanted=2, placed=1)],
    )


DIFF_TEXT = """\
Plan: 1 to create, 1 to update, 2 to move, 1 to delete, 0 kept.
1 service gone, 3 services without a replica for up to 10 min, 3 restarts.

What users notice:
  old: no replica runs any more
  chat: without a replica for up to 10 min; reached at rack:8000 instead of tower:8000
  embed: without a replica for up to 10 min
  rank: without a replica for up to 10 min

  - delete old-0 from tower/0
      the service is gone from the spec

  > move chat-0 from tower/0,1 to rack/0,1: restart, up to 10 min
      reached at rack:8000 instead of tower:8000
      moved: a GPU it stood on is gone
      --max-model-len 8192 -> 16384
      --enforce-eager added

  > move embed-0 from tower/1 to tower/0: restart, up to 10 min
      moved: a GPU it stood on is gone

  ~ update rank-0 on edge/cpu: restart, up to 10 min
      image none -> rank:2

  + create code-0 on tower/0
      KV room 16.0 of 16 requests
      the service is new

Optional service `batch` runs 1 of 2 replicas.

The fleet:
  + new host rack (systemd, 3 GPUs)
  - GPU gone: tower/1 (rtx-3090)

VRAM in MiB:
  GPU         kind      before       after  budget
  rack/[0-1]  rtx-3090    none  ->  12,000  22,118
  tower/0     rtx-3090  11,000  ->   8,000  22,118
  tower/1     rtx-3090  12,000  ->    none    none
  Nothing changes on 1 other GPU.

In all:
  kind      GPUs    used    free MiB
  rtx-3090  2 -> 4  2 -> 3  21,236 -> 56,472
"""


def test_a_diff_as_text() -> None:
    assert diff_text(diff(before(), after()), color=False) == DIFF_TEXT


def test_a_diff_without_changes_as_text() -> None:
    assert diff_text(diff(before(), before()), color=False) == (
        "Plan: 0 to create, 0 to update, 0 to move, 0 to delete, 4 kept.\n"
        "Nothing changes for anybody.\n"
        "\n"
        "Nothing changes on 2 GPUs.\n"
    )


def test_a_gpu_that_comes_unused_is_not_listed() -> None:
    assert diff_text(diff(plan({}), plan({"tower": 1})), color=False) == (
        "Plan: 0 to create, 0 to update, 0 to move, 0 to delete, 0 kept.\n"
        "Nothing changes for anybody.\n"
        "\n"
        "The fleet:\n"
        "  + new host tower (systemd, 1 GPU)\n"
        "\n"
        "Nothing changes on 1 GPU.\n"
        "\n"
        "In all:\n"
        "  kind      GPUs    used  free MiB\n"
        "  rtx-3090  0 -> 1  0     0 -> 22,118\n"
    )


DIFF_MARKDOWN = """\
**Plan: 1 to create, 1 to update, 2 to move, 1 to delete, 0 kept.** 1 service gone, 3 services without a replica for up to 10 min, 3 restarts.

- old: no replica runs any more
- chat: without a replica for up to 10 min; reached at rack:8000 instead of tower:8000
- embed: without a replica for up to 10 min
- rank: without a replica for up to 10 min

| action | replica | where | effect | why |
| --- | --- | --- | --- | --- |
| `-` delete | `old-0` | `from tower/0` | `stops` | `the service is gone from the spec` |
| `>` move | `chat-0` | `from tower/0,1 to rack/0,1` | `restart, up to 10 min` | `reached at rack:8000 instead of tower:8000`<br>`moved: a GPU it stood on is gone`<br>`--max-model-len 8192 -> 16384`<br>`--enforce-eager added` |
| `>` move | `embed-0` | `from tower/1 to tower/0` | `restart, up to 10 min` | `moved: a GPU it stood on is gone` |
| `~` update | `rank-0` | `on edge/cpu` | `restart, up to 10 min` | `image none -> rank:2` |
| `+` create | `code-0` | `on tower/0` | `new` | `KV room 16.0 of 16 requests`<br>`the service is new` |

- Optional service \\`batch\\` runs 1 of 2 replicas.

- + new host rack (systemd, 3 GPUs)
- - GPU gone: tower/1 (rtx-3090)

| GPU | kind | before (MiB) | after (MiB) | budget (MiB) |
| --- | --- | ---: | ---: | ---: |
| `rack/[0-1]` | `rtx-3090` | none | 12,000 | 22,118 |
| `tower/0` | `rtx-3090` | 11,000 | 8,000 | 22,118 |
| `tower/1` | `rtx-3090` | 12,000 | none | none |

Nothing changes on 1 other GPU.
"""


def test_a_diff_as_markdown() -> None:
    assert diff_markdown(diff(before(), after())) == DIFF_MARKDOWN


def test_a_diff_as_json_can_be_read_back() -> None:
    found = diff(before(), after())
    assert Diff.model_validate_json(diff_json(found)) == found


PLAN_TEXT = """\
Plan: 4 replicas of 4 services on 3 hosts with 4 GPUs; proven optimal.

edge  systemd, RAM 2,048 MiB of 57,344 MiB
  edge/cpu
    rank-0  rank (bf16)  vllm 0.33.0  CPU only  2,048 MiB  no KV cache  0.0.0.0:8003

rack  systemd, RAM 2,048 MiB of 57,344 MiB
  rack/[0-1]  rtx-3090  [###########.........]  12,000 MiB of 22,118 MiB, 10,118 MiB free each
    budget: memory x utilization (24,576 MiB x 0.9)
    chat-0  chat (bf16)  vllm 0.33.0  tp 2  12,000 MiB  KV room: 9.4 of 16 full-length requests  0.0.0.0:8000
  rack/2  rtx-3090  [....................]  0 MiB of 22,118 MiB, 22,118 MiB free
    budget: memory x utilization (24,576 MiB x 0.9)

tower  systemd, RAM 4,096 MiB of 57,344 MiB
  tower/0  rtx-3090  [#######.............]  8,000 MiB of 22,118 MiB, 14,118 MiB free
    budget: memory x utilization (24,576 MiB x 0.9)
    code-0   code (q4)     llama.cpp 9000  30 of 36 layers  6,000 MiB  KV room: 16.0 of 16 full-length requests  0.0.0.0:8002
    embed-0  embed (bf16)  vllm 0.33.0     tp 1             2,000 MiB  no KV cache                               0.0.0.0:8001

Optional service batch: 1 of 2 replicas placed.
"""


def test_a_plan_as_text() -> None:
    assert plan_text_view(after(), color=False) == PLAN_TEXT


PLAN_MARKDOWN = """\
# The fleet at a glance

4 replicas of 4 services on 3 hosts with 4 GPUs; proven optimal.

## GPUs

| GPU | kind | bound | replicas | budget | granted | free |
| --- | --- | --- | --- | ---: | ---: | ---: |
| `rack/[0-1]` | `rtx-3090` | memory x utilization (24,576 MiB x 0.9) | `chat-0` | 22,118 MiB | 12,000 MiB | 10,118 MiB |
| `rack/2` | `rtx-3090` | memory x utilization (24,576 MiB x 0.9) |  | 22,118 MiB | 0 MiB | 22,118 MiB |
| `tower/0` | `rtx-3090` | memory x utilization (24,576 MiB x 0.9) | `code-0`, `embed-0` | 22,118 MiB | 8,000 MiB | 14,118 MiB |

## Hosts

| host | target | on the CPU | RAM budget | RAM granted |
| --- | --- | --- | ---: | ---: |
| `edge` | systemd | `rank-0` | 57,344 MiB | 2,048 MiB |
| `rack` | systemd |  | 57,344 MiB | 2,048 MiB |
| `tower` | systemd |  | 57,344 MiB | 4,096 MiB |

## Replicas

| replica | variant | engine | on | split | KV cache | share (MiB) | listens |
| --- | --- | --- | --- | --- | --- | ---: | ---: |
| `chat-0` | `bf16` | `vllm 0.33.0` | `rack/0,1` | tp 2 | KV room: 9.4 of 16 full-length requests | 2 x 12,000 | 0.0.0.0:8000 |
| `code-0` | `q4` | `llama.cpp 9000` | `tower/0` | 30 of 36 layers | KV room: 16.0 of 16 full-length requests | 6,000 | 0.0.0.0:8002 |
| `embed-0` | `bf16` | `vllm 0.33.0` | `tower/0` | tp 1 | no KV cache | 2,000 | 0.0.0.0:8001 |
| `rank-0` | `bf16` | `vllm 0.33.0` | `edge/cpu` | CPU only | no KV cache | none | 0.0.0.0:8003 |

## Left out

- Optional service batch: 1 of 2 replicas placed.
"""


def test_a_plan_as_markdown() -> None:
    assert plan_markdown(after()) == PLAN_MARKDOWN


@pytest.mark.parametrize(
    ("binding", "line"),
    [
        ("reserved", "    budget: memory - reserved (24,576 MiB - 512 MiB)"),
        ("utilization", "    budget: memory x utilization (24,576 MiB x 0.9)"),
        ("cuda_total", "    budget: CUDA total (of 24,576 MiB)"),
    ],
)
def test_the_bound_of_a_gpu(binding: str, line: str) -> None:
    one = plan({"tower": 1})
    bound = one.model_copy(update={"gpus": [one.gpus[0].model_copy(update={"binding": binding})]})
    assert plan_text_view(bound, color=False).splitlines()[4] == line


def test_a_plan_that_is_not_proven_optimal_says_so() -> None:
    assert plan_text_view(plan({}, optimality="feasible"), color=False) == (
        "Plan: 0 replicas of 0 services on 0 hosts with 0 GPUs; not proven optimal.\n"
    )


REPLICA_TEXT = """\
code-0 on tower/0
  service   code, variant q4, to generate
  model     Qwen/Qwen3-8B at b968826d
  engine    llama.cpp 9000, 30 of 36 layers
  requests  8,192 tokens each, 16 at once
  KV cache  77,004 tokens; KV room: 16.0 of 16 full-length requests
  listens   0.0.0.0:8002, healthy when /health answers
  starts    after embed-0

tower/0  rtx-3090
  part       MiB    low   high  how
  weights  4,500  4,500  4,500  sum of the tensors
  kv         750    750    750  16 blocks
  compute    375    338    412  activations
  graphs       0      0      0
  runtime    187    187    187  CUDA context
  total    5,812  5,775  5,849
  share:  6,000 MiB
  budget: 22,118 MiB, bound by memory x utilization (24,576 MiB x 0.9)
  beside: embed-0 (2,000 MiB); 14,118 MiB free

RAM of tower
  part       MiB    low   high  how
  weights      0      0      0  sum of the tensors
  kv           0      0      0  16 blocks
  compute      0      0      0  activations
  graphs       0      0      0
  runtime  2,048  2,048  2,048  CUDA context
  total    2,048  2,048  2,048
  share:  2,048 MiB
  budget: 57,344 MiB, 53,248 MiB free

Command
  env CUDA_VISIBLE_DEVICES=0 \\
    /opt/vllm/bin/vllm serve Qwen/Qwen3-8B \\
    --max-model-len 8192

Set by its unit alone
  HF_TOKEN (secret)

Assumed
  - The driver is recent.
"""


def test_a_replica_as_text() -> None:
    assert replica_text(after(), "code-0", color=False) == REPLICA_TEXT


def test_a_replica_as_json() -> None:
    document = json.loads(replica_json(after(), "code-0"))
    assert document["replica"] == after().replica("code-0").model_dump(mode="json")
    assert document["place"] == "tower/0"
    assert document["devices"] == [
        {
            "gpu": "tower/0",
            "kind": "rtx-3090",
            "weights_bytes": 4_500 * MIB,
            "kv_bytes": 750 * MIB,
            "compute_bytes": 375 * MIB,
            "graphs_bytes": 0,
            "runtime_bytes": 187 * MIB,
            "total_bytes": 5_812 * MIB,
            "low_bytes": 5_775 * MIB,
            "high_bytes": 5_849 * MIB,
            "share_bytes": 6_000 * MIB,
            "budget_bytes": 22_118 * MIB,
            "binding": "utilization",
            "unified": False,
            "free_bytes": 14_118 * MIB,
            "neighbours": [{"replica": "embed-0", "share_bytes": 2_000 * MIB}],
        }
    ]
    assert document["host"]["budget_bytes"] == 56 * GIB
    assert document["host"]["free_bytes"] == 52 * GIB


def test_several_replicas() -> None:
    names = ["chat-0", "code-0"]
    texts = [replica_text(after(), name, color=False) for name in names]
    assert replicas_text(after(), names, color=False) == "\n".join(texts)
    documents = [json.loads(replica_json(after(), name)) for name in names]
    assert json.loads(replicas_json(after(), names)) == {"replicas": documents}


def test_a_replica_that_is_not_there() -> None:
    with pytest.raises(KeyError, match="chat-7"):
        replica_text(after(), "chat-7", color=False)


FAULTS = [
    Diagnostic(
        code="assumed",
        detail="The size of the vocabulary is a guess.",
        location=Location("models.yaml", 2, 1),
        severity=Severity.WARNING,
    ),
    Diagnostic(code="internal", detail="Two replicas share a port.\nThis is a bug in modelc."),
    Diagnostic(
        code="unknown-gpu-kind",
        detail="Service `chat` asks for `h200`.",
        location=Location("models.yaml", 12, 11),
        hints=("Did you mean `h200-sxm`?", "Describe the kind under `gpu_kinds`."),
    ),
    Diagnostic(
        code="duplicate-key",
        detail="`chat` stands in line 3 too.",
        location=Location("models.yaml", 9, 3),
    ),
]

FAULTS_TEXT = """\
error[duplicate-key]: This key stands here twice
  --> models.yaml:9:3
  `chat` stands in line 3 too.

error[unknown-gpu-kind]: No GPU kind has this name
  --> models.yaml:12:11
  Service `chat` asks for `h200`.
  hint: Did you mean `h200-sxm`?
  hint: Describe the kind under `gpu_kinds`.

error[internal]: modelc contradicts itself
  Two replicas share a port.
  This is a bug in modelc.

warning[assumed]: The estimate rests on an assumption
  --> models.yaml:2:1
  The size of the vocabulary is a guess.

3 errors and 1 warning.
"""


def test_diagnostics_as_text() -> None:
    assert diagnostics_text(FAULTS, color=False) == FAULTS_TEXT


def test_no_diagnostics_are_no_text() -> None:
    assert diagnostics_text([], color=False) == ""


def test_a_single_warning_is_counted_alone() -> None:
    assert diagnostics_text(FAULTS[:1], color=False).splitlines()[-1] == "1 warning."


def test_of_a_long_group_text_shows_the_first_and_json_all() -> None:
    names = tuple(f"compiled/{number}" for number in range(10))
    groups = (Group(title="missing", names=names), Group(title="changed by hand", names=("x",)))
    fault = Diagnostic(code="stale-output", detail="A compile would change them.", groups=groups)
    assert diagnostics_text([fault], color=False) == (
        "error[stale-output]: The compiled files do not match the sources\n"
        "  A compile would change them.\n"
        "  missing:\n"
        + "".join(f"    compiled/{number}\n" for number in range(8))
        + "    and 2 more\n"
        "  changed by hand:\n"
        "    x\n"
        "\n"
        "1 error.\n"
    )
    (shown,) = json.loads(diagnostics_json([fault]))["diagnostics"]
    assert shown["groups"][0] == {"title": "missing", "names": list(names)}


@pytest.mark.parametrize(
    ("detail", "hint", "shown", "advised"),
    [
        ("the hub has no such file", "run `ls`", "the hub has no such file.", "Run `ls`."),
        ("It is open.", "Did you mean it?", "It is open.", "Did you mean it?"),
        ("Really!", "modelc counts it", "Really!", "modelc counts it."),
    ],
)
def test_a_finding_is_told_in_whole_sentences(
    detail: str, hint: str, shown: str, advised: str
) -> None:
    fault = Diagnostic(code="source-missing", detail=detail, hints=(hint,))
    lines = diagnostics_text([fault], color=False).splitlines()
    assert lines[1:3] == [f"  {shown}", f"  hint: {advised}"]
    (told,) = json.loads(diagnostics_json([fault]))["diagnostics"]
    assert (told["detail"], told["hints"]) == (shown, [advised])


def test_no_summary_is_a_sentence() -> None:
    assert [text.summary for text in CODES.values() if text.summary.endswith((".", "?", "!"))] == []


def test_a_hub_that_is_out_of_reach_has_a_way_out_beside_other_hints() -> None:
    fault = Diagnostic(code="source-network", detail="`a/b`: no answer", hints=("try another",))
    lines = diagnostics_text([fault], color=False).splitlines()
    assert lines[2] == "  hint: Try another."
    assert lines[3].startswith("  hint: Check the network, HTTPS_PROXY, HF_ENDPOINT")


def test_diagnostics_in_colour() -> None:
    assert diagnostics_text(FAULTS[3:], color=True) == (
        "\x1b[31merror[duplicate-key]\x1b[0m: \x1b[1mThis key stands here twice\x1b[0m\n"
        "  --> models.yaml:9:3\n"
        "  `chat` stands in line 3 too.\n"
        "\n"
        "1 error.\n"
    )


def test_diagnostics_as_json() -> None:
    document = json.loads(diagnostics_json(FAULTS[2:]))
    assert document == {
        "diagnostics": [
            {
                "severity": "error",
                "code": "duplicate-key",
                "summary": "This key stands here twice",
                "detail": "`chat` stands in line 3 too.",
                "location": {"path": "models.yaml", "line": 9, "column": 3},
                "hints": [],
                "groups": [],
                "remedies": [],
            },
            {
                "severity": "error",
                "code": "unknown-gpu-kind",
                "summary": "No GPU kind has this name",
                "detail": "Service `chat` asks for `h200`.",
                "location": {"path": "models.yaml", "line": 12, "column": 11},
                "hints": ["Did you mean `h200-sxm`?", "Describe the kind under `gpu_kinds`."],
                "groups": [],
                "remedies": [],
            },
        ],
        "format_version": "1.0",
        "errors": 2,
        "warnings": 0,
    }


LAUNCH = Launch(argv=("llama-server", "-m", "my model.gguf", "-ngl", "37"))

ESTIMATE_TEXT = """\
qwen3 with 36 layers, Q4_K_M, to generate with llama.cpp 9000
  requests  8,192 tokens each, 4 at once
  KV cache  none
  split     36 of 36 layers on GPUs

GPU 0  rtx-3090
  part       MiB    low   high  how
  weights  4,456  4,456  4,456  398 tensors
  kv           0      0      0
  compute    301    300    330  graph of 512
  graphs       0      0      0
  runtime      0      0      0
  total    4,757  4,756  4,786

RAM
  part     MiB  low  high  how
  weights  333  333   333  token_embd
  kv         0    0     0
  compute    0    0     0
  graphs     0    0     0
  runtime    0    0     0
  total    333  333   333

Command
  llama-server \\
    -m 'my model.gguf' \\
    -ngl 37

Assumed
  - The driver is recent.
"""


def test_an_estimate_as_text() -> None:
    assert estimate_text(demand(), LAUNCH, color=False) == ESTIMATE_TEXT


def test_an_estimate_of_more_than_the_gpu_has_says_so() -> None:
    small = replace(demand(), site=Site(kinds=(builtin_kinds()["gtx-1650"],)))
    text = estimate_text(small, LAUNCH, color=False)
    budget = small.site.kinds[0].cuda_total_bytes // MIB
    assert f"  does not fit: {4_786 - budget:,} MiB more than the {budget:,} MiB that CUDA" in text


def test_an_estimate_without_gpus_has_no_layers_on_them() -> None:
    text = estimate_text(replace(demand(), site=Site(kinds=()), devices=()), LAUNCH, color=False)
    assert "  split     CPU only\n" in text
    assert "to generate with llama.cpp 9000, on the CPU\n" in text
    assert "GPU" not in text


def test_an_estimate_with_a_cache_says_how_many_tokens_it_holds() -> None:
    cached = replace(demand(), host=Breakdown(kv=Part.exact(4_608 * MIB, "f16")))
    assert "  KV cache  32,768 tokens\n" in estimate_text(cached, LAUNCH, color=False)


def test_an_estimate_shows_the_environment_of_its_command() -> None:
    launch = replace(LAUNCH, env={"VLLM_CPU_KVCACHE_SPACE": "4"})
    text = estimate_text(demand(), launch, color=False)
    assert "Command\n  env VLLM_CPU_KVCACHE_SPACE=4 \\\n    llama-server" in text
    assert json.loads(estimate_json(demand(), launch))["environment"] == launch.env


def test_an_estimate_as_json_says_what_is_missing() -> None:
    small = replace(demand(), site=Site(kinds=(builtin_kinds()["gtx-1650"],)))
    document = json.loads(estimate_json(small, LAUNCH))
    (device,) = document["devices"]
    assert not document["fits"]
    assert device["missing_bytes"] == device["high_bytes"] - device["budget_bytes"]


def test_an_estimate_as_json() -> None:
    assert json.loads(estimate_json(demand(), LAUNCH)) == {
        "unified": False,
        "devices": [
            {
                "gpu": "rtx-3090",
                "weights_bytes": 4_455 * MIB + 1,
                "kv_bytes": 0,
                "compute_bytes": 301 * MIB,
                "graphs_bytes": 0,
                "runtime_bytes": 0,
                "total_bytes": 4_756 * MIB + 1,
                "low_bytes": 4_755 * MIB + 1,
                "high_bytes": 4_785 * MIB + 1,
                "budget_bytes": 24_126 * MIB,
                "missing_bytes": 0,
            }
        ],
        "fits": True,
        "host": {
            "weights_bytes": 333 * MIB,
            "kv_bytes": 0,
            "compute_bytes": 0,
            "graphs_bytes": 0,
            "runtime_bytes": 0,
            "total_bytes": 333 * MIB,
            "low_bytes": 333 * MIB,
            "high_bytes": 333 * MIB,
        },
        "kv_tokens": 32_768,
        "command": ["llama-server", "-m", "my model.gguf", "-ngl", "37"],
        "environment": {},
        "assumed": ["The driver is recent."],
    }


def test_a_command_line_has_a_flag_a_line() -> None:
    assert command_lines(["sh", "-c", "a b", "--seed", "-1"]) == [
        "sh \\",
        "  -c 'a b' \\",
        "  --seed -1",
    ]


@pytest.mark.parametrize(
    "view",
    [
        lambda color: diff_text(diff(before(), after()), color=color),
        lambda color: plan_text_view(after(), color=color),
        lambda color: replica_text(after(), "code-0", color=color),
        lambda color: diagnostics_text(FAULTS, color=color),
        lambda color: estimate_text(demand(), LAUNCH, color=color),
    ],
)
def test_colour_adds_nothing_but_colour(view: Callable[[bool], str]) -> None:
    coloured = view(True)
    assert "\x1b[" in coloured
    assert re.sub(r"\x1b\[\d+m", "", coloured) == view(False)
