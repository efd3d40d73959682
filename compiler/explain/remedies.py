"""What would help: the smallest changes over all who lack room, each proven by a re-solve."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from compiler.explain import hardware, settings
from compiler.explain.settings import Trial
from compiler.explain.trials import Case
from compiler.ir.placement import Conflict, Crowded, FitsNowhere, NoSpare
from compiler.ir.remedy import Remedy
from compiler.ir.spec import Service

# A message names so many changes at most, and so many of one kind.
MAX_REMEDIES = 5
MAX_OF_A_KIND = 2

# So many services are looked at: those that lack room, and those that hold most where it lacks.
MAX_MEMBERS = 6

# How many changes are tried: 120 for a fleet of 20 replicas, fewer the larger it is, as a trial of
# a fleet ten times as large takes ten times as long.
_WORK = 2400
_MOST_TRIALS = 120
_LEAST_TRIALS = 16


class SpentError(Exception):
    """The work that an explanation may do is done."""


@dataclass(slots=True)
class Work:
    """How many changes may still be tried: a count and no clock, so that the answer is the same."""

    left: int

    def spend(self) -> None:
        """Counts one trial; raises SpentError when there were enough."""
        if self.left <= 0:
            raise SpentError
        self.left -= 1


def remedies_for_group(case: Case, conflicts: list[Crowded]) -> list[Remedy]:
    """For services that do not fit beside each other, changes of any of them."""
    members = _members(case, conflicts)
    devices = [s.device for each in conflicts for s in each.shortages if "/" in s.device]

    def fits(service: Service, within: Case | None = None) -> bool:
        return (within or case).fits_together(service)

    return _smallest(case, members, fits, lambda work: hardware.of_group(
        case, members, list(dict.fromkeys(devices)), work.spend))  # fmt: skip


def remedies_for_spares(case: Case, conflicts: list[NoSpare]) -> list[Remedy]:
    """For services that would not survive the loss of a host, changes of any service."""
    names = [conflict.service for conflict in conflicts]
    names += [tenant.service for conflict in conflicts for tenant in conflict.tenants]
    members = [case.spec.service(name) for name in dict.fromkeys(names)][:MAX_MEMBERS]

    def fits(service: Service, within: Case | None = None) -> bool:
        return (within or case).fits_together(service)

    def of_hardware(work: Work) -> Iterator[Remedy]:
        yield from hardware.more_gpus(case, frozenset(s.name for s in members), work.spend)
        yield from settings.exposed(case, members[: len(set(names))], work.spend)

    return _smallest(case, members, fits, of_hardware)


def remedies_for_homeless(
    case: Case, conflict: FitsNowhere, conflicts: tuple[Conflict, ...]
) -> list[Remedy]:
    """For a service that not even an empty fleet holds, changes of this one.

    Others that have no place either are not what is looked at: they are optional for the trials.
    """
    others = {c.service for c in conflicts if isinstance(c, FitsNowhere)} - {conflict.service}
    services = tuple(
        replace(each, optional=True) if each.name in others else each for each in case.spec.services
    )
    beside = replace(case, spec=replace(case.spec, services=services))
    homeless = case.spec.service(conflict.service)

    def fits(service: Service, within: Case | None = None) -> bool:
        needed = replace(service, optional=False)
        here = within or beside
        return here.fits_alone(needed) and here.fits_together(needed)

    found = _smallest(case, [homeless], fits, lambda work: hardware.of_homeless(
        beside, homeless, conflict, work.spend))  # fmt: skip
    if found or not settings.staged(homeless):
        return found
    # Stages over hosts are what their engine can and modelc cannot: what else is tried, is tried
    # on one host.
    on_one_host = settings.without_stages(homeless)
    beside = beside.with_service(on_one_host)
    found = _smallest(case, [on_one_host], fits, lambda work: hardware.of_homeless(
        beside, on_one_host, conflict, work.spend))  # fmt: skip
    return [replace(each, without=settings.staged(homeless)) for each in found]


def _smallest(
    case: Case,
    members: list[Service],
    fits: Trial,
    of_hardware: Callable[[Work], Iterator[Remedy]],
) -> list[Remedy]:
    """The remedies with the least change, as far as the work goes or the user waits."""
    n_replicas = sum(service.replicas for service in case.spec.services)
    work = Work(min(_MOST_TRIALS, max(_LEAST_TRIALS, _WORK // max(1, n_replicas))))

    def tried(service: Service, within: Case | None = None) -> bool:
        work.spend()
        return fits(service, within)

    found: list[Remedy] = []
    try:
        # One by one, as those that were found before the work was spent are told.
        for remedy in _candidates(case, members, tried, work, of_hardware):
            found.append(remedy)  # noqa: PERF402
    except (SpentError, KeyboardInterrupt):
        # Whoever interrupts has waited long enough for more; what was proven is told.
        pass
    return _chosen(found)


def _candidates(
    case: Case,
    members: list[Service],
    tried: Trial,
    work: Work,
    of_hardware: Callable[[Work], Iterator[Remedy]],
) -> Iterator[Remedy]:
    """Kind by kind over all members, so that little work still tries each member once."""
    yield from settings.thaws(case, work.spend)
    for kind in settings.KINDS:
        for service in members:
            yield from kind(case, service, tried)
    if len(case.spec.services) > 1:
        yield from settings.left_out(case, members, tried)
    yield from of_hardware(work)


def _chosen(found: list[Remedy]) -> list[Remedy]:
    of_a_kind = Counter[str]()
    chosen = []
    for remedy in sorted(found, key=lambda each: (each.cost, each.subject, each.code)):
        of_a_kind[remedy.code] += 1
        if of_a_kind[remedy.code] <= MAX_OF_A_KIND:
            chosen.append(remedy)
    return chosen[:MAX_REMEDIES]


def _members(case: Case, conflicts: list[Crowded]) -> list[Service]:
    """Those that lack room and those that hold memory there, the largest first."""
    names = [conflict.service for conflict in conflicts]
    held = Counter[str]()
    for conflict in conflicts:
        for shortage in conflict.shortages:
            for tenant in shortage.tenants:
                held[tenant.service] += tenant.share_mib
    names += [name for name, _ in sorted(held.items(), key=lambda item: (-item[1], item[0]))]
    frozen = set(case.spec.policy.freeze)
    unique = [name for name in dict.fromkeys(names) if name not in frozen]
    return [case.spec.service(name) for name in unique[:MAX_MEMBERS]]
