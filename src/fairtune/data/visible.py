"""Tokens as people can read them: each by itself, nothing unseen, and no character guessed from half its bytes."""

from __future__ import annotations

import functools
import json
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from fairtune.data.encode import Encoded, Tokenizer

_SIGNS = {"\n": "↵", " ": "·", "\t": "⇥", "\r": "␍"}
_FALLBACK = re.compile(r"<0x([0-9A-F]{2})>")
_LOWER_HALF = "▁"  # SentencePiece's sign for a space


@dataclass(frozen=True)
class Piece:
    """One token. ``text``: what it says; bytes that are no whole character by themselves as ``\\xNN``.

    ``character``: what those bytes are together with their neighbours'; empty for a token of whole characters.
    """

    id: int
    text: str
    supervised: bool
    special: bool
    character: str = ""


def pieces(item: Encoded, tokenizer: Tokenizer) -> list[Piece]:
    """Every token of an example. The first carries no loss: nothing comes before it."""
    special = special_ids(tokenizer)
    contents = token_bytes(item.tokens, tokenizer)
    learned = (False, *item.supervised[1:])
    found = [
        Piece(token, content.decode("utf-8", "backslashreplace"), loss, token in special)
        for token, content, loss in zip(item.tokens, contents, learned, strict=True)
    ]
    return _joined(found, contents)


def special_ids(tokenizer: Tokenizer) -> frozenset[int]:
    """The special tokens as numbers."""
    added = {token for token, added in tokenizer.added_tokens_decoder.items() if added.special}
    return frozenset(added | set(tokenizer.all_special_ids))


def visible(text: str) -> str:
    """Text with signs for white space, and codes for what has no sign; a line break stays one behind its sign."""
    shown = "".join(_sign(character) for character in text)
    return f"◌{shown}" if text and unicodedata.combining(text[0]) else shown


def token_bytes(tokens: Sequence[int], tokenizer: Tokenizer) -> list[bytes]:
    """The bytes of the text that each token stands for."""
    added = tokenizer.added_tokens_decoder
    read = _reader(tokenizer)
    names = tokenizer.convert_ids_to_tokens(list(tokens))
    return [
        (added[token].content.encode() if token in added else read(str(name)))
        for token, name in zip(tokens, names, strict=True)
    ]


def _sign(character: str) -> str:
    if character in _SIGNS:
        return _SIGNS[character] + ("\n" if character == "\n" else "")
    if unicodedata.category(character)[0] in "CZ":
        return character.encode("unicode_escape").decode("ascii")
    return character


def _joined(found: list[Piece], contents: Sequence[bytes]) -> list[Piece]:
    """Tokens that share a character know which."""
    done: list[Piece] = []
    waiting: list[int] = []
    for index, content in enumerate(contents):
        done.append(found[index])
        waiting = [] if _decodes(content) else [*waiting, index]
        together = b"".join(contents[part] for part in waiting)
        if _decodes(together):
            for part in waiting:
                done[part] = replace(done[part], character=together.decode())
            waiting = []
    return done


def _decodes(content: bytes) -> bool:
    # What cannot be read comes back as a surrogate, which no UTF-8 text holds.
    return not any("\udc80" <= sign <= "\udcff" for sign in content.decode("utf-8", "surrogateescape"))


def _reader(tokenizer: Tokenizer) -> Callable[[str], bytes]:
    """How this tokenizer writes the bytes of a token as a name, told by its decoder."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:  # SentencePiece itself
        return functools.partial(_plain, spaces=True)
    if backend.decoder is None:
        return functools.partial(_plain, spaces=False)
    kinds = json.dumps(json.loads(backend.decoder.__getstate__()), ensure_ascii=False)
    if '"ByteLevel"' in kinds:
        return functools.partial(_byte_level, alphabet=_byte_alphabet())
    return functools.partial(_plain, spaces=_LOWER_HALF in kinds or '"Metaspace"' in kinds)


def _plain(name: str, spaces: bool) -> bytes:
    fallback = _FALLBACK.fullmatch(name)
    if fallback:
        return bytes([int(fallback[1], 16)])
    return (name.replace(_LOWER_HALF, " ") if spaces else name).encode()


def _byte_level(name: str, alphabet: dict[str, int]) -> bytes:
    if all(sign in alphabet for sign in name):
        return bytes(alphabet[sign] for sign in name)
    return name.encode()


@functools.cache
def _byte_alphabet() -> dict[str, int]:
    """GPT-2's sign for each byte: printable ones stand for themselves, the others for code points from 256 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + index): byte for index, byte in enumerate(others)}
