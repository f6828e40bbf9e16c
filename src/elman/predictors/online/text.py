"""Sessions of a language model: text is read, and generated for many sessions in one batch."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from elman.data.text.vocabulary import Decoder
from elman.decoding.sampling import Sampler
from elman.errors import DataError, ElmanError, SettingError
from elman.modules.word_embedding import embed
from elman.predictors.base import non_finite_output
from elman.predictors.generator import LanguageModelPredictor
from elman.predictors.online.base import OnlinePredictor, are_like, is_count
from elman.predictors.online.state import OnlineState, as_parts, joined, rows_of

RECENT = 8  # token ids that a decoder reads again, so that white space and split characters are right
RANDOM_NUMBERS = 64  # drawn at a time


class GeneratedSymbol(NamedTuple):
    """A symbol that was generated.

    Attributes:
        token_id: its number.
        text: what is complete with it, perhaps nothing.
        log_probability: of the symbol, in nats, before temperature and cuts; None where it was not asked for.
        top: the most probable symbols with theirs.
        hidden: the output of the last layer, out of which it was drawn; None where it was not asked for.
    """

    token_id: int
    text: str
    log_probability: float | None = None
    top: tuple[tuple[str, float], ...] = ()
    hidden: tuple[float, ...] | None = None


class TextSettings(NamedTuple):
    """Settings of a generation.

    Attributes:
        length: the number of symbols; 0: the text is read only.
        temperature: as of `Sampler`.
        top_k: as of `Sampler`.
        top_p: as of `Sampler`.
        seed: the same seed gives the same text; None: another text each time.
        stop: texts at which the generation ends.
        top: the number of most probable symbols to give for each; None: no probabilities.
        hidden: whether to give the hidden state of each.
    """

    length: int = 0
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    top: int | None = None
    hidden: bool = False


@dataclass(eq=False, slots=True)
class TextRow:
    """A session while it reads and generates.

    Attributes:
        state: of the session; its recurrent state is current only before and after.
        unread: token ids to read.
        settings: as given.
        sampler: as of the settings.
        left: symbols to generate.
        decoder: of the text.
        choices: symbols that nobody has taken yet.
        finish: why the generation ended: "length", "stop", or an error; None: it has not.
        tail: the last characters, in which a stop may be.
    """

    state: OnlineState
    unread: deque[int]
    settings: TextSettings
    sampler: Sampler
    left: int
    decoder: Decoder
    generator: torch.Generator | None
    choices: list[GeneratedSymbol] = field(default_factory=list)
    uniforms: list[float] = field(default_factory=list)
    finish: str | ElmanError | None = None
    tail: str = ""

    def uniform(self) -> float:
        """Return the next random number of the session; the numbers are those of single draws."""
        if not self.uniforms:
            numbers = torch.rand(RANDOM_NUMBERS, 1, dtype=torch.float64, generator=self.generator)
            self.uniforms = numbers[:, 0].tolist()[::-1]
        return self.uniforms.pop()


class OnlineText(OnlinePredictor):
    """A language model over sessions.

    A state has read all symbols but the last, which is read when the next one is asked for.
    """

    kind: ClassVar[str] = "text"
    fields: ClassVar[frozenset[str]] = frozenset({"layers", "last", "recent"})
    predictor: LanguageModelPredictor

    @property
    def vocabulary(self) -> Any:
        """The symbols."""
        return self.predictor.vocabulary

    def facts(self) -> Any:
        """Return what the numbers depend on beside the weights."""
        return [self.kind, self.vocabulary.fingerprint]

    def begin(self, options: Mapping[str, Any]) -> OnlineState:
        """Return the state before any symbol."""
        return OnlineState({"layers": None, "last": None, "recent": []})

    def initial(self) -> tuple[Tensor, ...]:
        """Return the recurrent state before any symbol, (L, 1, H)."""
        with torch.no_grad():
            return tuple(part.detach().clone() for part in self.predictor.model.recurrent.initial_state(1))

    def check(self, tree: Any) -> bool:
        """Return whether a tree is one of a state of this model."""
        if type(tree["recent"]) is not list:
            return False
        limit = len(self.vocabulary) + 1
        numbers = [*tree["recent"], *([] if tree["last"] is None else [tree["last"]])]
        fits = tree["layers"] is None or are_like(tree["layers"], self.initial())
        return fits and len(tree["recent"]) <= RECENT and all(is_count(n) and n < limit for n in numbers)

    def encode(self, text: str) -> list[int]:
        """Return the token ids of a text.

        Raises:
            DataError: it has a symbol that the vocabulary does not have, and none for unknown ones.
        """
        return self.vocabulary.encode(text).tolist()  # type: ignore[no-any-return]

    def advance(self, states: Sequence[OnlineState], inputs: Sequence[Any]) -> list[Any]:
        """Refuse: a text is read and generated by `GenerationBatch`."""
        raise NotImplementedError

    def row(self, state: OnlineState, token_ids: Sequence[int], settings: TextSettings) -> TextRow:
        """Return a session that is to read token ids, and to generate.

        Raises:
            SettingError: a setting is invalid.
        """
        seed = settings.seed
        if seed is not None and not 0 <= seed < 1 << 63:
            raise SettingError("the seed is out of range", should="0 to 2^63 - 1", found=str(seed))
        sampler = Sampler(settings.temperature, settings.top_k, settings.top_p, self.vocabulary.never_written)
        generator = torch.Generator() if settings.length and settings.temperature else None
        if generator is not None and seed is None:
            generator.seed()
        elif generator is not None:
            assert seed is not None
            generator.manual_seed(seed)
        unread = list(token_ids)
        if settings.length and not unread and state.tree["last"] is None:
            unread = self.predictor.line_begin()
        decoder = self.vocabulary.decoder()
        for number in (*state.tree["recent"], *unread[-RECENT:]):
            if number < len(self.vocabulary):
                decoder.push(number)
        row = TextRow(state, deque(unread), settings, sampler, settings.length, decoder, generator)
        if not settings.length and not unread:
            row.finish = "length"
        return row

    @torch.no_grad()
    def expected(self, state: OnlineState, top: int) -> dict[str, Any]:
        """Return the probabilities of the next symbol, and the output of the last layer, which is the hidden state.

        Raises:
            DataError: nothing was read yet.
        """
        if state.tree["last"] is None:
            raise DataError("nothing was read yet", should="a session that has read a symbol", found="an empty one")
        parts = state.tree["layers"] or self.initial()
        logits_1V, after = self.promise.call(
            self.predictor.model.step, torch.tensor([state.tree["last"]]), joined([parts])
        )
        if not bool(torch.isfinite(logits_1V).any(1)):
            raise non_finite_output(self.predictor.run)
        best = logits_1V[0].double().log_softmax(0).exp().topk(min(top, logits_1V.shape[1]))
        names = [self.vocabulary.decode([n]) for n in best.indices.tolist()]
        symbols = [{"text": name, "probability": p} for name, p in zip(names, best.values.tolist(), strict=True)]
        return {"symbols": symbols, "hidden": as_parts(after)[0][-1, 0].tolist()}


class GenerationBatch:
    """Sessions that read and generate together.

    Sessions that generate are the rows of one state, which is not copied while they stay the same.

    Args:
        model: the language model.
        piece: symbols of a prompt that are read at a time.
        readers: sessions that read a piece of their prompts at a time.
    """

    def __init__(self, model: OnlineText, *, piece: int = 32, readers: int = 64) -> None:
        self.model, self.piece, self.readers = model, piece, readers
        self.reading: deque[TextRow] = deque()
        self.rows: list[TextRow] = []
        self._state: Any = None
        self._new: list[TextRow] = []
        self._groups: dict[Sampler, list[int]] | None = None  # the places of the rows of each sampler
        self._initial = model.initial()

    def __len__(self) -> int:
        return len(self.reading) + len(self.rows) + len(self._new)

    def add(self, row: TextRow) -> None:
        """Add a session."""
        ready = len(row.unread) + (row.state.tree["last"] is not None) < 2 and row.left
        (self._new if ready else self.reading).append(row)

    def remove(self, rows: set[TextRow]) -> None:
        """Remove sessions, whose states are then current."""
        self.reading = deque(row for row in self.reading if row not in rows)
        self._new = [row for row in self._new if row not in rows]
        keep = [n for n, row in enumerate(self.rows) if row not in rows]
        if len(keep) < len(self.rows):
            for row, parts in zip(self.rows, rows_of(self._state), strict=True):
                if row in rows:
                    row.state.tree["layers"] = tuple(part.clone() for part in parts)
            index = torch.tensor(keep, dtype=torch.long)
            parts = tuple(part.index_select(1, index) for part in as_parts(self._state))
            self._state = parts[0] if len(parts) == 1 else parts
            self.rows, self._groups = [self.rows[n] for n in keep], None

    def clear(self) -> list[TextRow]:
        """Remove all sessions and return them; their states are not current, and worth nothing."""
        rows = [*self.reading, *self.rows, *self._new]
        self.reading, self.rows, self._new = deque(), [], []
        self._state, self._groups = None, None
        return rows

    def current(self, rows: Sequence[TextRow]) -> None:
        """Bring the states of sessions that generate up to date, in memory of their own."""
        places = {id(row): n for n, row in enumerate(self.rows)}
        for row in rows:
            if (n := places.get(id(row))) is not None:
                row.state.tree["layers"] = tuple(part[:, n : n + 1].clone() for part in as_parts(self._state))

    @torch.no_grad()
    def run(self) -> list[TextRow]:
        """Read a piece of the prompts, generate a symbol of the others, and return those that are finished."""
        return self.model.promise.call(self._run)

    def _run(self) -> list[TextRow]:
        finished = self._read() if self.reading else []
        if self._new:
            fresh = [self._parts(row) for row in self._new]
            old = list(rows_of(self._state)) if self.rows else []
            self._state = joined([*old, *fresh])
            self.rows, self._new, self._groups = [*self.rows, *self._new], [], None
        finished += self._generate() if self.rows else []
        self.remove(set(finished))
        return finished

    def _parts(self, row: TextRow) -> tuple[Tensor, ...]:
        parts: tuple[Tensor, ...] = row.state.tree["layers"] or self._initial
        return parts

    def _read(self) -> list[TextRow]:
        """Read a piece of the next prompts, all but the last symbol of each."""
        rows = [self.reading.popleft() for _ in range(min(self.readers, len(self.reading)))]
        pieces = []
        for row in rows:
            tree = row.state.tree
            piece: list[int] = []
            while len(piece) < self.piece and row.unread:
                if tree["last"] is not None:
                    piece.append(tree["last"])
                tree["last"] = row.unread.popleft()
                tree["recent"] = [*tree["recent"], tree["last"]][-RECENT:]
                row.state.position += 1
            pieces.append(piece)
        lengths = [len(piece) for piece in pieces]
        longest = max(lengths)
        if longest:
            model = self.model.predictor.model
            ids_TB = torch.tensor([piece + [0] * (longest - len(piece)) for piece in pieces]).t().contiguous()
            x_TBE = embed(model.embedding, ids_TB, model.embedding.num_embeddings)
            state = joined([self._parts(row) for row in rows])
            _, state = model.recurrent(x_TBE, state, lengths=None if min(lengths) == longest else lengths)
            for row, piece, parts in zip(rows, pieces, rows_of(state), strict=True):
                if piece:  # else the state is as it was, also where that is none yet
                    row.state.tree["layers"] = tuple(part.clone() for part in parts)
        finished = []
        for row in rows:
            if row.unread:
                self.reading.append(row)
            elif row.left:
                self._new.append(row)
            else:
                row.finish = "length"
                finished.append(row)
        return finished

    def _generate(self) -> list[TextRow]:
        """Generate a symbol of each session that has read its prompt."""
        for row in self.rows:
            if row.unread:  # a prompt of one symbol
                self._accept(row, row.unread.popleft())
        ids_B = torch.tensor([row.state.tree["last"] for row in self.rows])
        logits_BV, state = self.model.predictor.model.step(ids_B, self._state)
        highest = logits_BV.amax(1)
        if not bool(torch.isfinite(highest).all()):
            return self._failed(torch.isfinite(highest))
        self._state = state
        chosen = self._draw(logits_BV)
        asked = [n for n, row in enumerate(self.rows) if row.settings.top is not None]
        log_p = dict(zip(asked, logits_BV[asked].double().log_softmax(1), strict=True)) if asked else {}
        finished = []
        for n, (row, token_id) in enumerate(zip(self.rows, chosen, strict=True)):
            self._accept(row, token_id)
            text = row.decoder.push(token_id)
            symbol = GeneratedSymbol(token_id, text)
            if asked and n in log_p:
                symbol = self._with_probabilities(row, token_id, text, log_p[n])
            if row.settings.hidden:
                symbol = symbol._replace(hidden=tuple(as_parts(state)[0][-1, n].tolist()))
            row.choices.append(symbol)
            row.left -= 1
            if row.settings.stop and self._stops(row, text):
                row.finish = "stop"
            elif not row.left:
                row.finish = "length"
            if row.finish:
                finished.append(row)
        return finished

    def _failed(self, finite_B: Tensor) -> list[TextRow]:
        """Return the sessions without a finite output; the others have not read their symbol, and are tried again."""
        failed = [row for row, good in zip(self.rows, finite_B.tolist(), strict=True) if not good]
        for row in failed:
            row.finish = non_finite_output(self.model.predictor.run)
        return failed

    def _accept(self, row: TextRow, token_id: int) -> None:
        tree = row.state.tree
        tree["last"] = token_id
        recent = tree["recent"]
        recent.append(token_id)
        if len(recent) > RECENT:
            del recent[0]
        row.state.position += 1

    def _draw(self, logits_BV: Tensor) -> list[int]:
        """Draw a symbol for each row; rows of one sampler are drawn together."""
        if self._groups is None:
            self._groups = {}
            for n, row in enumerate(self.rows):
                self._groups.setdefault(row.sampler, []).append(n)
        chosen = [0] * len(self.rows)
        for sampler, places in self._groups.items():
            part_BV = logits_BV if len(self._groups) == 1 else logits_BV[places]
            if sampler.temperature == 0:
                drawn = sampler(part_BV)
            else:
                uniforms = [self.rows[n].uniform() for n in places]
                drawn = sampler.at(part_BV, torch.tensor(uniforms, dtype=torch.float64)[:, None])
            for n, token_id in zip(places, drawn.tolist(), strict=True):
                chosen[n] = token_id
        return chosen

    def _with_probabilities(self, row: TextRow, token_id: int, text: str, log_p_V: Tensor) -> GeneratedSymbol:
        best = log_p_V.topk(min(row.settings.top or 0, len(log_p_V)))
        names = [self.model.vocabulary.decode([n]) for n in best.indices.tolist()]
        return GeneratedSymbol(
            token_id, text, float(log_p_V[token_id]), tuple(zip(names, best.values.tolist(), strict=True))
        )

    def _stops(self, row: TextRow, text: str) -> bool:
        longest = max(map(len, row.settings.stop))
        row.tail = (row.tail + text)[-(longest + len(text)) :]
        return any(stop in row.tail for stop in row.settings.stop)
