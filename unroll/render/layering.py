"""Rows and places in a row: data flows upwards, so a name stands above everything it is computed from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

Pair = tuple[str, str]


def layers(names: Sequence[str], flows: Iterable[Pair], weak: Iterable[Pair], sources: Iterable[str]) -> dict[str, int]:
    """The row of each name: one above the highest that it reads within a step.

    flows    (source, target) within one step
    weak     flows that count where they close no cycle, such as boundaries
    sources  names that nothing computes: each stands just below its lowest reader; but one whose readers have other
             food and are read by nothing, as the loss does that reads a label, stands above them
    """
    flows = list(dict.fromkeys(p for p in flows if p[0] != p[1]))
    given = set(sources)
    for pair in dict.fromkeys(weak):
        if pair[0] != pair[1] and pair not in flows and not _reaches(pair[1], pair[0], flows):
            flows.append(pair)
    above = _grouped(flows)
    below = _grouped((b, a) for a, b in flows)
    row = dict.fromkeys(names, 0)
    for name in _ordered(names, flows):
        row[name] = max((row[s] + 1 for s in below.get(name, ())), default=0)
    for name in names:
        readers = above.get(name, [])
        if name in given and readers:
            fed = all(any(s not in given for s in below[r]) and not above.get(r) for r in readers)
            row[name] = max(row[r] for r in readers) + 1 if fed else min(row[r] for r in readers) - 1
    levels = sorted(set(row.values()))
    return {name: levels.index(row[name]) for name in names}


def _grouped(pairs: Iterable[Pair]) -> dict[str, list[str]]:
    result: dict[str, list[str]] = {}
    for a, b in pairs:
        result.setdefault(a, []).append(b)
    return result


def _reaches(start: str, goal: str, flows: Sequence[Pair]) -> bool:
    above = _grouped(flows)
    pending, seen = [start], {start}
    while pending:
        name = pending.pop()
        if name == goal:
            return True
        fresh = [n for n in above.get(name, ()) if n not in seen]
        seen.update(fresh)
        pending.extend(fresh)
    return False


def _ordered(names: Sequence[str], flows: Sequence[Pair]) -> list[str]:
    """Each name after those it reads; what a cycle holds back comes last, as declared."""
    above = _grouped(flows)
    waiting = dict.fromkeys(names, 0)
    for _, target in flows:
        waiting[target] += 1
    ready = [n for n in names if not waiting[n]]
    for name in ready:  # grows while it is walked
        for target in above.get(name, ()):
            waiting[target] -= 1
            if not waiting[target]:
                ready.append(target)
    done = set(ready)
    return ready + [n for n in names if n not in done]


def places(row: Mapping[str, int], flows: Iterable[Pair], gap: float, width: Mapping[str, float]) -> dict[str, float]:
    """Place of each name in its row: rows centred, ordered by barycentres so that few lines cross."""
    flows = [p for p in flows if p[0] in row and p[1] in row and row[p[0]] != row[p[1]]]
    near = _grouped([*flows, *((b, a) for a, b in flows)])
    rows: dict[int, list[str]] = {}
    for name, level in row.items():
        rows.setdefault(level, []).append(name)
    x = dict.fromkeys(row, 0.0)
    for members in rows.values():
        _space(members, x, gap, width)
    for sweep in range(6):
        for level in sorted(rows, reverse=bool(sweep % 2)):
            members = rows[level]
            wanted = {n: _mean([x[m] for m in near[n]]) if near.get(n) else x[n] for n in members}
            members.sort(key=lambda n: wanted[n])
            _space(members, x, gap, width)
    return x


def _space(members: Sequence[str], x: dict[str, float], gap: float, width: Mapping[str, float]) -> None:
    total = sum(width[n] for n in members) + gap * (len(members) - 1)
    at = -total / 2
    for name in members:
        x[name] = at + width[name] / 2
        at += width[name] + gap


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
