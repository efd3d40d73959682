"""Remedies in words: what to write, what stands there now, and what is given up by it."""

from __future__ import annotations

from compiler.engines.interface import Saving
from compiler.engines.registry import engine_names, engine_of, traits_of
from compiler.explain.trials import Case
from compiler.ir.catalog import builtin_kinds
from compiler.ir.engine_name import EngineName
from compiler.ir.remedy import Remedy
from compiler.ir.spec import ArgValue
from compiler.ir.units import format_size, show_mib

# Words that YAML reads as true or false without quotes.
_TRUTHS = frozenset({"on", "off", "yes", "no", "true", "false"})


def advice(case: Case, remedies: list[Remedy], *, alone: bool) -> tuple[str, ...]:
    """A hint for each remedy. `alone`: there is one service only that they could be about."""
    return tuple(
        _besides(each.without, _text(case, each, "" if alone else f" of `{each.subject}`"))
        for each in remedies
    )


def _besides(without: str, text: str) -> str:
    if not without:
        return text
    names = " and ".join(f"`{name}`" for name in without.split())
    return f"Take out {names}, and then: {text[0].lower()}{text[1:]}"


def _text(case: Case, remedy: Remedy, of: str) -> str:  # noqa: C901, PLR0912  One a code.
    value, now, subject = remedy.value, remedy.now, remedy.subject
    match remedy.code:
        case "context" | "concurrency":
            return f"Lower `{remedy.code}`{of} to {value} (now {now})."
        case "kv-8-bit":
            engines = [name for name in engine_names() if name in value.split()]
            lines = " and ".join(f"`{_written(name, 'cache-8-bit')}`" for name in engines)
            return (
                f"Write {lines}{of and f' in `{subject}`'}: its KV cache takes 8 bits an element."
            )
        case "kv-tokens":
            return (
                f"Write `kv_tokens: {value}`{of and f' in `{subject}`'} (now {now}): requests then "
                "share one pool of that size."
            )
        case "stages":
            names = " and ".join(f"`{name}`" for name in value.split())
            return f"Take {names} out{of}: it then fits the GPUs of one host."
        case "weights-8-bit":
            name = _engine_with(case, subject, "weights-8-bit")
            return (
                f"Write `{_written(name, 'weights-8-bit')}`{of and f' in `{subject}`'}: "
                f"{traits_of(name).title} makes the weights FP8 while it loads them, half of their "
                "16 bits."
            )
        case "rung":
            return f"Add a variant{of} with `model: {value}`, which modelc.lock knows."
        case "fewer-bits":
            return (
                f"Add a variant{of} with the model in `{value}`: by its shapes it would fit whole."
            )
        case "experts-in-ram":
            name = _engine_with(case, subject, "experts-in-ram")
            written = _written(name, "experts-in-ram", int(value))
            return (
                f"Write `{written}`{of and f' in `{subject}`'} "
                f"(now {now}): the experts of that many layers then stay in RAM, which is slower."
            )
        case "offload":
            where = of and f" in `{subject}`"
            return (
                f"Write `offload: auto`{where}: layers that do not fit then stay in RAM, which is "
                "slower."
            )
        case "no-offload":
            return f"Take out `offload: cpu`{of}."
        case "replicas":
            return f"Lower `replicas`{of} to {value}."
        case "optional":
            return (
                f"Write `optional: true` in `{subject}` (priority {now}): it is left out while "
                "there is no room."
            )
        case "rule":
            return f"Widen `placement`{of}: without its `{value}` the service finds a place."
        case "rules":
            return (
                f"Widen `placement`{of}: without its host and GPU rules the service finds a place."
            )
        case "survives":
            return f"Take `survives` out of `{subject}`: all others keep theirs."
        case "thaw":
            listed = " and ".join(f"`{name}`" for name in value.split())
            return f"Take {listed} out of `policy.freeze`: everything then finds a place."
        case _:
            return _of_hardware(case, remedy)


def _of_hardware(case: Case, remedy: Remedy) -> str:
    value, now, subject = remedy.value, remedy.now, remedy.subject
    match remedy.code:
        case "reserved":
            return (
                f"Lower `reserved` of `{subject}` to {format_size(int(value))} (now "
                f"{format_size(int(now))}), if what it is kept for takes no more."
            )
        case "utilization":
            return (
                f"Raise `utilization` of `{subject}` to {value} (now {now}), if all else is idle."
            )
        case "more-ram":
            return f"Give `{subject}` {value} more RAM."
        case "more-gpus":
            total = int(now) + int(value.split()[0])
            return f"Put {_more(value)} into `{subject}`, which then has {total} GPUs."
        case "more-hosts":
            return f"Add one more host like `{subject}` ({_gpus(value)})."
        case "other-gpus":
            return f"It would fit on {_gpus(value)}{_memory(case, value.split()[-1])}."
        case _:
            raise AssertionError(remedy.code)


def _engine_with(case: Case, subject: str, saving: Saving) -> EngineName:
    """The engine of the service that can save so."""
    engines = [variant.engine for variant in case.written.service(subject).variants]
    return next(name for name in engines if _arguments(name, saving) is not None)


def _written(name: EngineName, saving: Saving, layers: int = 0) -> str:
    """The arguments of an engine as the user writes them, on one line."""
    args = _arguments(name, saving, layers) or {}
    shown = ", ".join(
        f'{key}: "{value}"' if value in _TRUTHS else f"{key}: {value}"
        for key, value in args.items()
    )
    return f"{name}: {{args: {{{shown}}}}}"


def _arguments(name: EngineName, saving: Saving, layers: int = 0) -> dict[str, ArgValue] | None:
    return engine_of(name).leaner(saving, {}, traits_of(name).newest, layers)


def _gpus(value: str) -> str:
    count, _, kind = value.split()
    return f"{count} x `{kind}`"


def _more(value: str) -> str:
    count, _, kind = value.split()
    return f"one more `{kind}`" if count == "1" else f"{count} more `{kind}`"


def _memory(case: Case, kind: str) -> str:
    """How much memory a kind has; of one that the fleet has, a reserve stands in the way."""
    known = any(gpu.kind.name == kind for host in case.inventory.hosts for gpu in host.gpus)
    reserve = " with the default `reserved`" if known else ""
    return f" ({show_mib(builtin_kinds()[kind].memory_bytes)} each){reserve}"
