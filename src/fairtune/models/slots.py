"""Keys and values of texts that grow by a token at a time, each in a place of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from fairtune.models.packing import Past

# Places for tokens are made in steps: answers mostly end before their limit.
_STEP = 64


class Slots:
    """Texts side by side, one new token each: the :class:`~fairtune.models.packing.Layout` of a decoding step.

    A row given to the network holds the newest token of each text. What all texts begin with is there once.

    Args:
        shared: what all texts begin with.

    Attributes:
        lengths: tokens of each text's own that are stored, ``(texts,)``.
    """

    def __init__(self, shared: Past | None, device: torch.device) -> None:
        self._shared = shared
        self._device = device
        self._keys: dict[int, torch.Tensor] = {}
        self._values: dict[int, torch.Tensor] = {}
        self.lengths = torch.zeros(0, dtype=torch.long, device=device)
        self._longest = 0
        self._masks: dict[int | None, torch.Tensor] = {}

    @property
    def before(self) -> int:
        """Tokens that all texts begin with."""
        return 0 if self._shared is None else self._shared.length

    def arguments(self) -> dict[str, Any]:
        """What a network is given with the newest tokens."""
        return {"position_ids": (self.before + self.lengths).unsqueeze(0), "packing": self}

    def add(self, past: Past, spans: Sequence[tuple[int, int]]) -> None:
        """Takes in texts whose tokens are computed, behind those there are.

        Args:
            past: keys and values among which theirs are.
            spans: where, counted from the first token of the past.
        """
        first = len(self.lengths)
        longest = max(self._longest, *(stop - start for start, stop in spans))
        for layer, (keys, values) in enumerate(zip(past.keys, past.values, strict=True)):
            for store, new in ((self._keys, keys), (self._values, values)):
                self._make_room(store, layer, new, first + len(spans), longest)
                for text, (start, stop) in enumerate(spans, first):
                    store[layer][text, :, : stop - start] = new[:, start:stop]
        # Last, so that nothing has changed where memory ran out before.
        own = torch.tensor([stop - start for start, stop in spans]).to(self._device)
        self.lengths = torch.cat([self.lengths, own])
        self._longest = longest
        self._masks.clear()

    def remove(self, text: int) -> None:
        """Takes out a text; the last one gets its number."""
        last = len(self.lengths) - 1
        for store in (self._keys, self._values):
            for cache in store.values():
                if text != last:
                    cache[text] = cache[last]
        self.lengths[text] = self.lengths[last]
        self.lengths = self.lengths[:last].clone()
        self._longest = int(self.lengths.max()) if last else 0
        self._masks.clear()

    def shrink(self) -> None:
        """Gives back the memory of places that are not used."""
        for store in (self._keys, self._values):
            for layer, cache in store.items():
                store[layer] = cache[: len(self.lengths), :, : self._longest].clone()

    def advanced(self) -> None:
        """The newest token of every text is stored: the next step may begin."""
        self.lengths += 1
        self._longest += 1
        self._masks.clear()

    def attend(
        self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float, window: int | None
    ) -> torch.Tensor:
        """As :class:`~fairtune.models.packing.Layout` says; ``key`` and ``value`` are kept."""
        keys, values = self._stored(self._keys, layer, key), self._stored(self._values, layer, value)
        heads, texts, width = query.shape
        groups = len(key)
        # (texts · key heads, queries of a head, width): each text looks at its own.
        rows = query.reshape(groups, -1, texts, width).permute(2, 0, 1, 3)
        scores = torch.bmm(rows.reshape(texts * groups, -1, width), keys.transpose(1, 2)).view(*rows.shape[:3], -1)
        before = self.before
        if self._shared is not None:
            flat = query.reshape(groups, -1, width)
            common = torch.bmm(flat, self._shared.keys[layer].transpose(1, 2)).view(groups, -1, texts, before)
            scores = torch.cat([common.permute(2, 0, 1, 3), scores], dim=-1)
        p = torch.add(self._mask(window, query.dtype), scores, alpha=scale).softmax(-1)
        out = torch.bmm(p[..., before:].reshape(texts * groups, -1, keys.shape[1]), values).view(rows.shape)
        out = out.permute(1, 2, 0, 3)
        if self._shared is not None:
            flat_p = p[..., :before].permute(1, 2, 0, 3).reshape(groups, -1, before)
            out = out + torch.bmm(flat_p, self._shared.values[layer]).view(out.shape)
        return out.reshape(heads, texts, width)

    def _stored(self, store: dict[int, torch.Tensor], layer: int, new: torch.Tensor) -> torch.Tensor:
        """Puts the newest tokens behind the others; all of them, ``(texts · key heads, longest, width)``."""
        texts = len(self.lengths)
        if self._longest + 1 > store[layer].shape[2]:
            store[layer] = _grown(store[layer], store[layer].shape[0], self._longest + 1)
        store[layer][torch.arange(texts, device=self._device), :, self.lengths] = new.transpose(0, 1)
        return store[layer][:texts, :, : self._longest + 1].flatten(0, 1)

    def _make_room(
        self, store: dict[int, torch.Tensor], layer: int, like: torch.Tensor, texts: int, places: int
    ) -> None:
        if layer not in store:
            store[layer] = like.new_zeros((0, like.shape[0], 0, like.shape[2]))
        rows, _, filled, _ = store[layer].shape
        if texts > rows or places > filled:
            # A quarter more than there were: texts come one by one, and each time all are copied.
            grown = max(texts, rows + rows // 4) if texts > rows else rows
            store[layer] = _grown(store[layer], grown, max(places, filled))

    def _mask(self, window: int | None, kind: torch.dtype) -> torch.Tensor:
        """``(texts, 1, 1, before + longest)``: 0 where a token may look, or -inf. Made once a step."""
        if window not in self._masks:
            places = torch.arange(self.before + self._longest + 1, device=self._device)
            newest = (self.before + self.lengths)[:, None]
            seen = places <= newest
            if window is not None:
                seen &= newest - places < window
            mask = torch.zeros(seen.shape, dtype=kind, device=self._device).masked_fill_(~seen, -torch.inf)
            self._masks[window] = mask[:, None, None]
        return self._masks[window]


def _grown(cache: torch.Tensor, texts: int, places: int) -> torch.Tensor:
    """A larger one with the same in it, and zeros: what is masked must still be a number."""
    rows, heads, filled, width = cache.shape
    larger = cache.new_zeros((texts, heads, -(-places // _STEP) * _STEP, width))
    larger[:rows, :, :filled] = cache
    return larger
