"""Proposes ``--features`` for records that do not fit: finds fields by name and type, and tries them with the decoder."""

from __future__ import annotations

import collections
import dataclasses
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from pipeline.checking.candidates import BASE64, ONLY, SAME, Candidate, category, column_candidates, named_candidates
from pipeline.checking.leaves import Leaf, Names, leaves_of
from pipeline.checking.rounding import rounding
from pipeline.shell import shell_word
from transforms.decode.decoder import Decoder
from transforms.decode.judging import Judged
from transforms.decode.readable import decode_readable
from transforms.errors import ContractError
from transforms.formats.codecs import AUTO, BYTES, JsonError, parse_json
from transforms.formats.field_paths import PathError
from transforms.formats.options import Paths
from transforms.formats.sources import field, parse_features, parse_source
from transforms.printable import counted
from transforms.types import DecodedChunk, Failure, KafkaRecord, Signature

if TYPE_CHECKING:
    from transforms.stages import DecodeConfig

MAX_DOCUMENTS = 100
"""How many records are searched for fields. All of the sample are decoded with what was found."""
MAX_PLANS = 6
"""How many proposals are tried."""
MAX_OTHERS = 3
"""How many other fields are told for an input."""

_FILE = "FILE"
"""Stands for the name of a file that the user has yet to write."""
_FIRST = re.compile(r"^\$.*\[0\](\|number)?$")

_Plan = dict[str, Candidate]


@dataclasses.dataclass(frozen=True, slots=True)
class Proposal:
    """What would fit.

    Attributes:
        features: The value of ``--features``.
        fits: How many of the records read fit with it.
        notes: What the guess is based on, what it leaves open, and the alternatives.
    """

    features: str
    fits: int
    notes: tuple[str, ...]


def propose(decode: DecodeConfig, decoder: Decoder, decoded: DecodedChunk, judged: Judged | None) -> Proposal | None:
    """Returns the mapping of fields to inputs that fits the most records.

    ``None`` if no mapping fits more records than the present one, and more than half of the readable records.

    Args:
        decode: How the records were decoded.
        decoder: What decoded them.
        decoded: What the decoder made of them.
        judged: The verdict on each input of each record.
    """
    if judged is None or decode.formats.preprocess is not None or not judged.at_fault():
        return None
    wanted = _Wanted(decode.signature, judged, _sources(decode.signature, decode.formats.features))
    best: tuple[_Proof, _Plan, str] | None = None
    least = max(len(decoded.records) - len(decoded.failures), len(judged.rows) // 2)
    for plan in wanted.plans():
        if (text := _text(decode, plan)) is None:
            continue
        proof = _prove(decode, text, decoder, decoded.records)
        if proof is not None and proof.fits > (best[0].fits if best is not None else least):
            best = proof, plan, text
        if proof is not None and proof.fits == len(judged.rows):
            break
    if best is None:
        return None
    proof, plan, text = best
    return Proposal(text, proof.fits, tuple(_notes(plan, wanted.candidates, proof, decode.signature)))


def found_so_far(decode: DecodeConfig, judged: Judged | None) -> tuple[str, ...]:
    """Returns lines that say where the inputs that do not fit may be, for the case that there is no proposal.

    The first line has the found inputs as ``--features``. A category also needs a lookup file, which the user must write.

    Args:
        decode: How the records were decoded.
        judged: Their inputs, one by one.
    """
    if judged is None or decode.formats.preprocess is not None or not judged.at_fault():
        return ()
    return _Wanted(decode.signature, judged, _sources(decode.signature, decode.formats.features)).hints(
        {name for name, _ in decode.formats.features}
    )


@dataclasses.dataclass(frozen=True, slots=True)
class Instead:
    """A field that the model may take, instead of the whole record as text.

    Attributes:
        features: The ``--features`` that selects it.
        image: Whether all values are images as base64. Hardly any model takes an image inside JSON text.
    """

    features: str
    image: bool

    def __str__(self) -> str:
        """Says so."""
        if self.image:
            what = "each record is a JSON object with an image as base64, and goes to the model whole, as text"
        else:
            what = "each record is a JSON object and goes to the model whole, as text"
        return f"{what}; if the model takes one of its fields: {shell_word(f'--features={self.features}')}"


def instead_of_text(decode: DecodeConfig, decoder: Decoder, records: list[KafkaRecord]) -> Instead | None:
    """Returns the field to use instead, where the records are JSON objects and go to the model whole, as text.

    Whole records fit every model with one string input, but are rarely what the user means. ``None`` for other records.

    Args:
        decode: How the records were decoded.
        decoder: What decoded them.
        records: The records.
    """
    if decode.input_format != AUTO or decoder.input_format != BYTES or decoder.has_fields:
        return None
    there = [record for record in records if record.value]
    try:
        documents = [parse_json(record.value) for record in there if record.value]
    except JsonError:
        return None
    if not documents or any(type(document) is not dict for document in documents):
        return None
    ((name, spec),) = decode.signature.inputs.items()
    few = documents[:: len(documents) // MAX_DOCUMENTS + 1]
    found = named_candidates(name, spec, leaves_of(few), (len(few) + 1) // 2, single=True)
    if not found or (text := _text(decode, {name: found[0]})) is None:
        return None
    proof = _prove(decode, text, decoder, there)
    return Instead(text, found[0].source.endswith(BASE64)) if proof is not None and not proof.failures else None


class _Wanted:
    """The inputs that no field fits yet, and the fields that would.

    Args:
        signature: What the model takes.
        judged: The records' inputs, one by one.
        sources: Where they are looked for now.
    """

    def __init__(self, signature: Signature, judged: Judged, sources: Mapping[str, str]):
        step = len(judged.documents) // MAX_DOCUMENTS + 1
        documents = judged.documents[::step]
        leaves = leaves_of(documents)
        half, single = (len(documents) + 1) // 2, len(signature.inputs) == 1
        self.candidates: dict[str, list[Candidate]] = {}
        self._inputs, self._sources, self._single = signature.inputs, sources, single
        self._categories: dict[str, tuple[str, int]] = {}
        self._optional: dict[str, list[Candidate]] = {}
        taken, empty = [], {}
        self._used: set[str] = set()
        for name, spec in signature.inputs.items():
            judgements = judged.inputs[name][::step]
            there = [one for one in judgements if one.values or one.problem]
            now = sum(not one.at_fault for one in there)
            least = max(half, now + 1)
            if any(one.at_fault for one in judged.inputs[name]):
                found = self.candidates[name] = named_candidates(name, spec, leaves, least, single)
                taken += [found[0].source] if found else [sources[name]] if now >= half else []
                if not found and now < half:
                    empty[name] = least
            elif there:
                taken.append(sources[name])
                self._used |= {leaf.path for leaf in leaves if _is_of(sources[name], leaf)}
            else:  # the model has a default for it, but the object of the other inputs may have it, too
                found = named_candidates(name, spec, leaves, 1, single)
                self._optional[name] = [one for one in found if one.rank <= SAME]
        self._unlike = list(empty)
        free = [leaf for leaf in leaves if not any(_is_of(source, leaf) for source in taken)]
        for name, least in empty.items():
            self.candidates[name] = column_candidates(name, signature.inputs[name], free, least, len(empty) > 1)
            if not self.candidates[name] and (texts := category(name, signature.inputs[name], free, least)) is not None:
                self._categories[name] = texts

    def plans(self) -> list[_Plan]:
        """Returns the plans to try: those with the best name matches first; of equal ones, those with the fewest objects."""
        parents = dict.fromkeys(one.parent for found in self.candidates.values() for one in found)
        plans = []
        for parent in parents:
            plan = self._plan(parent)
            used = {one.parent for one in plan.values()}
            for name, found in self._optional.items():
                if found and found[0].parent in used:
                    plan[name] = found[0]
            if plan not in plans:
                plans.append(plan)
        return sorted(plans, key=_order)[:MAX_PLANS]

    def hints(self, given: Collection[str]) -> tuple[str, ...]:
        """Returns lines on the inputs that nothing fits yet; none if no field was found for any of them."""
        plan = next(iter(self.plans()), {})
        if not plan and not self._categories:
            return ()
        found = {name: self._sources[name] for name in self._inputs if name in given}
        found |= {name: one.source for name, one in plan.items()}
        found |= {name: f"{path}|lookup({_FILE})" for name, (path, _) in self._categories.items()}
        lacking = [name for name in self._unlike if name not in found]
        lines = [f"{name}: no field was found" for name in lacking]
        for name, (path, count) in self._categories.items():
            lines.append(
                f"{name}: {path} has {count:,} different texts: write {_FILE}, a JSON object of each "
                'with its number in the training, such as {"text": 1, "other": 2}; then check again'
            )
        text = next(iter(found.values())) if self._single else ",".join(f"{name}={source}" for name, source in found.items())
        begin = (
            "where the inputs may be, by their names" if not lacking else "where some of the inputs may be, by their names"
        )
        if not text.isprintable():
            return ()
        return f"{begin}: {shell_word(f'--features={text}')}", *lines

    def _plan(self, parent: tuple[Names, ...]) -> _Plan:
        """Returns the best field for each input, in ``parent`` if possible. Only an input of its name may reuse a field."""
        plan: _Plan = {}
        used = set(self._used)
        by_name = sorted(self.candidates.items(), key=lambda item: min((one.rank for one in item[1]), default=ONLY))
        for name, found in by_name:
            free = [one for one in found if one.rank <= SAME or one.path not in used]
            if free:
                chosen = plan[name] = next((one for one in free if one.parent == parent), free[0])
                used.add(chosen.path)
        return {name: plan[name] for name in self.candidates if name in plan}


def _order(plan: _Plan) -> tuple[int, ...]:
    found = plan.values()
    objects = len({one.parent for one in found})
    return sum(one.rank for one in found), objects, *(sum(one.order[i] for one in found) for i in (1, 2, 3))


def _is_of(source: str, leaf: Leaf) -> bool:
    return source == leaf.path or source.startswith((f"{leaf.path}|", f"{leaf.path}["))


def _sources(signature: Signature, features: Paths) -> dict[str, str]:
    """Returns where each input is looked for now, as it was written."""
    found = {name: field(name).shown for name in signature.inputs}
    for name, text in features:
        found[name or next(iter(signature.inputs))] = parse_source(text).shown
    return found


def _text(decode: DecodeConfig, plan: _Plan) -> str | None:
    """Returns the value of ``--features`` for a plan and what was given already; ``None`` if it can't be written."""
    inputs, given = decode.signature.inputs, decode.formats.features
    sources = {name or next(iter(inputs)): parse_source(text).shown for name, text in given}
    sources |= {name: one.source for name, one in plan.items()}
    if len(inputs) == 1:
        ((_, text),) = sources.items()
        sources = {"": text}
    else:
        text = ",".join(f"{name}={source}" for name, source in sources.items())
    try:  # an input's name may be one that a list of inputs can't hold
        is_read = parse_features([text]) == tuple((name, parse_source(source).text) for name, source in sources.items())
    except PathError:
        return None
    return text if is_read and text.isprintable() else None


@dataclasses.dataclass(frozen=True, slots=True)
class _Proof:
    """What the decoder of a run with other ``--features`` makes of the records."""

    decoder: Decoder
    records: list[KafkaRecord]
    failures: Mapping[int, Failure]

    @property
    def fits(self) -> int:
        return len(self.records) - len(self.failures)

    def judged(self) -> Judged | None:
        """Returns the inputs of the records that fit."""
        return self.decoder.judge([record for row, record in enumerate(self.records) if row not in self.failures])


def _prove(decode: DecodeConfig, text: str, decoder: Decoder, records: list[KafkaRecord]) -> _Proof | None:
    """Decodes the records as a run with these ``--features`` would; ``None`` if such a run is refused."""
    formats = dataclasses.replace(decode.formats, features=parse_features([text]))
    try:
        other = dataclasses.replace(decode, formats=formats).decoder().knowing_schemas_of(decoder)
    except ContractError:
        return None
    return _Proof(other, records, decode_readable(other, records).failures)


def _notes(plan: _Plan, candidates: Mapping[str, Sequence[Candidate]], proof: _Proof, signature: Signature) -> Iterator[str]:
    read = len(proof.records)
    fit = "fits" if proof.fits == 1 else "fit"
    yield (
        f"{proof.fits:,} of the {counted(read, 'record')} read {fit} with it; what the fields mean is a guess by "
        f"{_guessed_by(plan)}"
    )
    counts = collections.Counter(failure.message for failure in proof.failures.values())
    if counts:
        ((message, count),) = counts.most_common(1)
        yield f"dead letters with it, {count:,} of {len(proof.failures):,}: {message}"
    judged = proof.judged()
    for name, one in plan.items():
        values = [value for found in judged.inputs[name] for value in found.values] if judged is not None else []
        if moved := rounding(signature.inputs[name].dtype, values):
            yield f"{name}: {moved}{' seconds' if one.source.endswith('|time') else ''}"
        if _FIRST.search(one.source):
            yield f"{name}: {one.source} takes the first value alone; each list that was read has no other"
    for order in dict.fromkeys(one.columns for one in plan.values() if one.columns):
        names = [name for name, one in plan.items() if one.columns == order]
        whose = "" if len({one.columns for one in plan.values() if one.columns}) == 1 else f" of {' and '.join(names)}"
        yield f"the columns{whose} are in the order {order}: compare it with that of the training"
    for name, chosen in plan.items():
        others = [one.source for one in candidates.get(name, ()) if one is not chosen]
        if others:
            more = f" and {len(others) - MAX_OTHERS} more" if len(others) > MAX_OTHERS else ""
            yield f"{name} might also be {', '.join(others[:MAX_OTHERS])}{more}"


def _guessed_by(plan: _Plan) -> str:
    named = any(one.rank < ONLY for one in plan.values())
    columns = any(bool(one.columns) for one in plan.values())
    alone = any(one.rank == ONLY and not one.columns for one in plan.values())
    reasons = {"names": named, "their number": columns, "type: no other field fits": alone}
    return " and ".join(reason for reason, is_so in reasons.items() if is_so)
