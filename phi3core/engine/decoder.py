"""Plain onnxruntime over keys and values that we hold: one step computes the next token of every sequence.

A token that is appended waits until the logits of any sequence are asked for; then all that wait are computed
together, in rows of one batch. A row's logits are to the last bit those that it has alone, so nothing depends on who
else is there (docs/decisions/0018).
"""

from __future__ import annotations

import weakref
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np

from .decoder_graph import IDS, LOGITS, MASK, POSITIONS, DecoderGraph
from .kv_buffer import Slots
from .kv_cache import Logits, Tokens

SLOTS = 64
"""How many sequences there may be, those that are kept included."""
NONE = -1  # no token
_LAST = np.array([-1])
_HOLES = 3  # slots between two rows: so many are computed along for less than a step of their own
_BINDINGS = 64  # of rows to memory, that are kept
_ROUND = 1024  # tokens: a slot is a multiple of them, and so of the system's pages


class Decoder:
    """Loaded weights and the keys and values of all sequences.

    room: tokens that a sequence may have. The memory for `SLOTS` of them is only addresses until it is written to.
    exactly: compute sequences one by one where this machine's kernels give a row other bits in a batch.

    exact: whether a row's logits are here those that it has alone. together: whether rows are computed together.
    Raises onnxruntime's errors where the weights can't be loaded, and RoomRefused.
    """

    def __init__(
        self, graph: DecoderGraph, folder: Path, vocabulary: int, room: int, threads: int, exactly: bool = False
    ) -> None:
        import onnxruntime as ort  # not before the process is shut in: it starts a thread

        ort.disable_telemetry_events()
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(folder))
        self._session = ort.InferenceSession(graph.model, options, providers=["CPUExecutionProvider"])
        self._vocabulary, self._room = vocabulary, -(-room // _ROUND) * _ROUND
        self._caches, self._value_of = graph.caches, ort.OrtValue.ortvalue_from_numpy
        self.slots = Slots(len(graph.caches), (SLOTS, graph.heads, self._room, graph.size))
        self._rows: list[weakref.ref[Row] | None] = [None] * SLOTS
        self._bindings: OrderedDict[tuple[int, int], Any] = OrderedDict()
        self.together = True
        self.exact = self._is_exact()
        self.together = self.exact or not exactly

    def row(self, divide: int = 0) -> Row:
        """An empty sequence. divide: see Row. Raises RuntimeError where there are `SLOTS` already."""
        self.give_back_ended()
        if None not in self._rows:
            raise RuntimeError(f"There are {SLOTS} sequences already, and there is no memory for more.")
        row = Row(self, self._rows.index(None), divide)
        self._rows[row.slot] = weakref.ref(row)
        return row

    def step(self) -> None:
        """Compute every token that waits."""
        rows = [row for row in self._alive() if row.waiting != NONE]
        for same in ([row for row in rows if not row.is_long(1)], [row for row in rows if row.is_long(1)]):
            self._close_up(same)
            for group in self._groups(same):
                self._step(group)

    def read(self, row: Row, tokens: Tokens) -> None:
        """Compute a piece of one sequence."""
        ids = np.ascontiguousarray(tokens, np.int64)[None]
        row.computed = self._run(row.slot, row.slot + 1, ids, np.array([row.length + len(tokens)]))[0, 0]
        row.length += len(tokens)

    def read_all(self, pieces: list[tuple[Row, Tokens]]) -> list[Logits]:
        """Compute a piece of each of these sequences, those of neighbours together.

        Returns: for each, float32[tokens, vocabulary] after each of its tokens.
        """
        found: dict[Row, Logits] = {}
        for group in self._alike(pieces):
            first, end = group[0][0].slot, group[-1][0].slot + 1
            width = max(len(tokens) for _, tokens in group)
            # What stands behind a shorter piece means nothing, and is overwritten by what the sequence reads next.
            ids = np.zeros((end - first, width), np.int64)
            for at, (_, tokens) in enumerate(group):
                ids[at, : len(tokens)] = tokens
            lengths = np.array([row.length + width for row, _ in group])
            logits = self._run(first, end, ids, lengths, np.arange(width))
            for at, (row, tokens) in enumerate(group):
                found[row] = logits[at, : len(tokens)]
                row.length += len(tokens)
                row.computed = found[row][-1].copy()
        return [found[row] for row, _ in pieces]

    def _alike(self, pieces: list[tuple[Row, Tokens]]) -> list[list[tuple[Row, Tokens]]]:
        """Pieces that go in one run: the first ones of neighbours, none less than half as long as another.

        GroupQueryAttention takes no later ones of several rows.
        """
        groups: list[list[tuple[Row, Tokens]]] = []
        for row, tokens in sorted(pieces, key=lambda piece: piece[0].slot):
            if groups and self.exact and not row.length and groups[-1][-1][0].slot == row.slot - 1:
                sizes = [len(tokens), *(len(piece) for _, piece in groups[-1])]
                longs = {one.is_long(max(sizes)) for one, _ in [(row, tokens), *groups[-1]]}
                if not groups[-1][0][0].length and min(sizes) * 2 >= max(sizes) and min(sizes) > 1 and len(longs) == 1:
                    groups[-1].append((row, tokens))
                    continue
            groups.append([(row, tokens)])
        return groups

    def copy(self, source: Row, target: Row, length: int) -> None:
        """Let a sequence begin with the first tokens that another has read."""
        target.rewind(0)
        self.slots.copy(source.slot, target.slot, length)
        target.length = length

    def _alive(self) -> list[Row]:
        """All sequences, in the order of their slots."""
        return [row for known in self._rows if known and (row := known())]

    def _groups(self, rows: list[Row]) -> list[list[Row]]:
        """Rows that go in one step: neighbours, with few holes between them."""
        groups: list[list[Row]] = []
        for row in rows:
            if groups and self.together and self._reaches(groups[-1][-1], row):
                groups[-1].append(row)
            else:
                groups.append([row])
        return groups

    def _reaches(self, before: Row, row: Row) -> bool:
        holes = range(before.slot + 1, row.slot)
        return len(holes) <= _HOLES and all(self._is_hole(slot, row) for slot in holes)

    def _is_hole(self, slot: int, row: Row) -> bool:
        """Whether a token that means nothing can be written behind what this slot holds, in a step with the row."""
        idle = self._at(slot)
        return idle is None or (idle.length < self._room and (row.is_long(1) or not idle.is_long(1)))

    def _at(self, slot: int) -> Row | None:
        return known() if (known := self._rows[slot]) else None

    def _close_up(self, rows: list[Row]) -> None:
        """Where rows are apart, move the last one into the first hole: one at a step, for it takes some of its time."""
        rows.sort(key=lambda row: row.slot)  # rows of the other kind may have been exchanged with some of them
        taken = {row.slot for row in rows}
        holes = (slot for slot in range(min(taken, default=0), max(taken, default=0)) if slot not in taken)
        if self.together and (hole := next(holes, None)) is not None:
            self._exchange(rows[-1], hole)
            rows.sort(key=lambda row: row.slot)

    def _exchange(self, row: Row, slot: int) -> None:
        """Bring a row into this slot, and what is there into the row's."""
        other, before = self._at(slot), row.slot
        self.slots.exchange(before, row.length, slot, other.length if other else 0)
        self._rows[slot], self._rows[before] = self._rows[before], self._rows[slot]
        row.slot = slot
        if other:
            other.slot = before
        else:
            self._give_back(before)

    def give_back_ended(self) -> None:
        """Let the system have what sequences held that are gone: not as they go, for any thread may collect garbage."""
        for slot in [slot for slot, known in enumerate(self._rows) if known and known() is None]:
            self._give_back(slot)

    def _give_back(self, slot: int) -> None:
        self._rows[slot] = None
        self.slots.give_back(slot)

    def _step(self, rows: list[Row]) -> None:
        first, end = rows[0].slot, rows[-1].slot + 1
        ids, lengths = np.zeros((end - first, 1), np.int64), np.ones(end - first, np.int64)
        for slot in range(first, end):
            if idle := self._at(slot):
                lengths[slot - first] = idle.length + 1
        for row in rows:
            ids[row.slot - first] = row.waiting
        try:
            logits = self._run(first, end, ids, lengths)
        except Exception as error:
            for row in rows:
                row.failure, row.waiting = str(error), NONE  # the error itself would hold on to all of them
            return
        for row in rows:
            row.computed, row.waiting = logits[row.slot - first, 0].copy(), NONE
            row.length += 1

    def _run(
        self,
        first: int,
        end: int,
        ids: np.ndarray[Any, Any],
        lengths: np.ndarray[Any, Any],
        positions: np.ndarray[Any, Any] = _LAST,
    ) -> Logits:
        """Logits, float32[rows, positions, vocabulary], of the slots from first to end.

        ids: int64[rows, tokens]. lengths: int64[rows], of each sequence with these tokens. positions: int64, of the
        tokens whose logits are wanted.
        """
        mask = (np.arange(lengths.max()) < lengths[:, None]).astype(np.int64)
        logits = np.empty((end - first, len(positions), self._vocabulary), np.float32)
        binding = self._bind(first, end)
        binding.bind_cpu_input(IDS, ids)
        binding.bind_cpu_input(MASK, mask)
        binding.bind_cpu_input(POSITIONS, positions)
        binding.bind_output(LOGITS, "cpu", 0, np.float32, logits.shape, logits.ctypes.data)
        self.slots.note_written(first, end, lengths)
        self._session.run_with_iobinding(binding)
        return logits

    def _bind(self, first: int, end: int) -> Any:
        """Past and present of these slots, bound to one memory; kept, for it takes a tenth of a step."""
        if (first, end) not in self._bindings:
            binding = self._session.io_binding()
            for (past, present), rows in zip(self._caches, self.slots.layers, strict=True):
                value = self._value_of(rows[first:end])
                binding.bind_ortvalue_input(past, value)
                binding.bind_ortvalue_output(present, value)
            self._bindings[first, end] = binding
        self._bindings.move_to_end((first, end))
        if len(self._bindings) > _BINDINGS:
            self._bindings.popitem(last=False)
        return self._bindings[first, end]

    def _is_exact(self) -> bool:
        """Whether this machine's kernels give a row the same logits to the last bit, alone and in a batch."""
        rows = [self.row() for _ in range(8)]
        for length, row in zip((3, 5), rows, strict=False):
            row.append(np.arange(length, dtype=np.int32) % self._vocabulary)

        def after(*together: Row) -> list[np.ndarray[Any, Any]]:
            for row in together:
                row.append_one(1)
            found = [row.logits() for row in together]
            for row in together:
                row.rewind(row.length - 1)
            return found

        alone = [after(row)[0] for row in rows[:2]]
        batches = after(*rows[:2]), after(*rows)
        return all(np.array_equal(one, batch[at]) for batch in batches for at, one in enumerate(alone))


class Row:
    """See kv_cache.Sequence: a sequence in a slot of the decoder's memory.

    divide: a sequence of more tokens than this is computed with other rotary factors, 0: none is. They are chosen for
    a whole step, so that shorter and longer ones never share one.
    """

    inseparable = 0

    def __init__(self, decoder: Decoder, slot: int, divide: int) -> None:
        self._decoder, self.slot, self.divide = decoder, slot, divide
        self.length = 0  # tokens computed
        self.waiting = NONE  # the token to be computed next
        self.computed = np.empty(0, np.float32)  # the logits of the last one
        self.failure = ""  # what the runtime said of its last step

    def is_long(self, more: int) -> bool:
        """Whether it is longer than the divide with so many tokens more."""
        return 0 < self.divide < self.length + more

    def append(self, tokens: Tokens) -> None:
        if self.waiting != NONE:
            self._decoder.step()
        self._decoder.read(self, tokens)

    def append_one(self, token: int) -> None:
        if self.waiting != NONE:
            self._decoder.step()
        self.waiting = token

    def logits(self) -> np.ndarray[Any, Any]:
        if self.waiting != NONE:
            self._decoder.step()
        if self.failure:
            raise RuntimeError(f"The runtime failed: {self.failure}")
        return self.computed.copy()

    def rewind(self, length: int) -> None:
        if length <= self.length:
            self.length, self.waiting, self.failure = length, NONE, ""
            self._decoder.slots.trim(self.slot, length)

    def fork(self, length: int) -> Row:
        made = self._decoder.row(self.divide)
        self._decoder.copy(self, made, length)
        return made
