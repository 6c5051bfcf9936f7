"""What a model reads, on a terminal: in colour, or by signs alone where there is none."""

from __future__ import annotations

from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fairtune.data.diagnose import Finding
from fairtune.data.shown import Shown, ShownExample
from fairtune.data.summary import Bar, PartSummary
from fairtune.data.visible import Piece, visible

_EIGHTHS = " ▏▎▍▌▋▊▉"
_BAR_WIDTH = 40
_SEVERITIES = {"error": "bold red", "warning": "yellow", "note": "cyan"}
_LOSS, _SPECIAL, _PART, _CUT, _EDGE = "bold green", "magenta", "italic", "red", "dim"
# Signs for loss where there is no colour.
_OPEN, _CLOSE = "⟦", "⟧"


@dataclass(frozen=True)
class _Pen:
    """Whether colours tell which tokens carry loss; if not, brackets do."""

    colour: bool

    def style(self, piece: Piece, lost: bool) -> str:
        if lost:
            return f"{_CUT} bold" if piece.supervised else _CUT
        styles = [(piece.special, _SPECIAL), (piece.supervised, _LOSS), (bool(piece.character), _PART)]
        # The token that ends an answer is both special and learned: green, and underlined.
        if piece.special and piece.supervised:
            return f"{_LOSS} underline"
        return " ".join(style for holds, style in styles if holds)


def print_shown(shown: Shown, console: Console) -> None:
    """Counts, lengths, findings, and the examples token by token."""
    pen = _Pen(console.is_terminal and not console.no_color)
    console.print(Text(f"{shown.place}, as {shown.model} reads it (max_length {shown.max_length})", style="bold"))
    if shown.others:
        console.print(Text(f"The study's other models: {', '.join(shown.others)}; see them with --model", style="dim"))
    console.print(parts_table(shown))
    for line in _lines_of(shown):
        console.print(line, soft_wrap=True)
    console.print()
    for finding in shown.findings:
        console.print(_finding(finding), soft_wrap=not console.is_terminal)
    if not shown.findings:
        console.print(Text(f"Nothing found wrong with the {shown.part} part.", style="green"))
    console.print()
    if shown.examples:
        console.print(_legend(pen), soft_wrap=not console.is_terminal)
    for example in shown.examples:
        console.print(_heading(example, shown), soft_wrap=True)
        console.print(tokens_text(example, pen.colour), soft_wrap=not console.is_terminal)
        if shared := shared_characters(example):
            console.print(Text(f"shared by tokens: {shared}", style="dim"), soft_wrap=not console.is_terminal)
        console.print()


def parts_table(shown: Shown) -> Table:
    """A column a part, so that a narrow terminal has room for it."""
    drawn = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    drawn.add_column("")
    for part in shown.parts:
        drawn.add_column(part.name, justify="right")
    for heading, *cells in counts_by_part(shown):
        drawn.add_row(heading, *cells)
    return drawn


def counts_by_part(shown: Shown) -> list[tuple[str, ...]]:
    """What is counted, and the count of each part. A dash: this part is never cut."""
    columns = [_counts(part) for part in shown.parts]
    plain_text = any(part.windows is not None for part in shown.parts)
    names = [name for name in columns[0] if plain_text or name != "windows"]
    return [(name, *(column[name] for column in columns)) for name in names]


def _counts(part: PartSummary) -> dict[str, str]:
    lost = part.lost
    gone = (lost.examples, lost.tokens, lost.supervised, lost.answers) if lost else (None,) * 4
    known = {
        "examples": part.examples,
        "windows": part.windows,
        "tokens": part.tokens,
        "  of the rows' text": part.raw,
        "  of the template": part.template,
        "  that carry loss": part.supervised,
    }
    cut = ("examples cut at max_length", "  tokens lost", "  of them with loss", "  answers lost wholly")
    return {
        **{name: _count(value) for name, value in known.items()},
        "  share with loss": f"{part.share:.1%}",
        **{name: _count(value) for name, value in zip(cut, gone, strict=True)},
    }


def _count(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"


def _lines_of(shown: Shown) -> list[Text]:
    """The histogram of the examined part, and its longest examples."""
    part = next(part for part in shown.parts if part.name == shown.part)
    if part.examples < 2:
        return []
    lines = [Text(f"\nTokens of an example ({part.name})", style="bold")]
    most = max(bar.count for bar in part.bars)
    width = max(len(bar_label(bar)) for bar in part.bars)
    for bar in part.bars:
        mark = "  ◂ max_length" if holds(bar, shown.max_length) and part.lost else ""
        drawn = bar_of(bar.count / most)
        lines.append(Text.assemble(f"{bar_label(bar):>{width}} ", (drawn, "green"), f" {bar.count:,}", (mark, "red")))
    longest = ", ".join(f"{name} ({tokens:,})" for name, tokens in part.longest)
    return [*lines, Text(f"Longest: {longest}")]


def holds(bar: Bar, length: int) -> bool:
    """Whether a length falls into a bar."""
    return bar.low <= length and (bar.high is None or length <= bar.high)


def bar_label(bar: Bar) -> str:
    """The lengths of a bar: ``20–29``, or ``300 on``."""
    return (
        f"{bar.low:,} on" if bar.high is None else f"{bar.low:,}–{bar.high:,}" if bar.high > bar.low else f"{bar.low:,}"
    )


def bar_of(share: float) -> str:
    """A bar in eighths of a character; something at least for what is not nothing."""
    eighths = max(round(share * _BAR_WIDTH * 8), 1 if share else 0)
    whole, rest = divmod(eighths, 8)
    return ("█" * whole + _EIGHTHS[rest]).strip()


def _finding(finding: Finding) -> Text:
    style = _SEVERITIES[finding.severity]
    return Text.assemble(
        (f"{finding.severity} {finding.name}", style),
        f" {counted(finding)}: {finding.text}.",
        (f" {ids_text(finding)}", "dim"),
    )


def counted(finding: Finding) -> str:
    """In how many examples, and which share of all."""
    examples = "example" if finding.count == 1 else "examples"
    return f"in {finding.count:,} {examples} ({finding.share:.1%})"


def ids_text(finding: Finding) -> str:
    """The first examples that have it."""
    return f"[{', '.join(finding.ids)}{', …' if finding.count > len(finding.ids) else ''}]"


def _legend(pen: _Pen) -> Text:
    signs = (
        "; │ ends a token, · is a space, ↵ a line break, ⇥ a tab, \\xe2 a byte of a character shared by tokens",
        "dim",
    )
    if not pen.colour:
        return Text.assemble(f"{_OPEN}carries loss{_CLOSE}, the rest does not", signs)
    return Text.assemble(("carries loss", _LOSS), ", context, ", ("special", _SPECIAL), ", ", ("cut away", _CUT), signs)


def _heading(example: ShownExample, shown: Shown) -> Text:
    return Text(f"{shown.part} {example.id}: {counts(example)}", style="bold")


def counts(example: ShownExample) -> str:
    """Tokens, and those with loss; what is cut away."""
    text = f"{example.kept:,} tokens, {example.supervised:,} supervised"
    lost = len(example.pieces) - example.kept
    return f"{text}; {lost:,} more are cut away, {example.lost_supervised:,} of them supervised" if lost else text


def shared_characters(example: ShownExample) -> str:
    """What the bytes are that stand alone in tokens: ``🙂 \\xf0\\x9f\\x99\\x82``."""
    found = dict.fromkeys(sign for piece in example.pieces for sign in piece.character if not sign.isascii())
    return ", ".join(f"{visible(sign)} {_escaped(sign)}" for sign in found)


def _escaped(sign: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in sign.encode())


def tokens_text(example: ShownExample, colour: bool) -> Text:
    """The tokens in order, each ended by a stroke; what the length limit cuts away stands behind ✂."""
    pen = _Pen(colour)
    text = Text()
    for index, piece in enumerate(example.pieces):
        if index == example.kept:
            text.append(f"\n✂ cut here, {counts(example).partition('; ')[2]}:\n", "bold red")
        before = example.pieces[index - 1].supervised if index not in (0, example.kept) else False
        after = index + 1 not in (len(example.pieces), example.kept) and example.pieces[index + 1].supervised
        _add(text, piece, (before, after), pen, index >= example.kept)
    return text


def _add(text: Text, piece: Piece, neighbours: tuple[bool, bool], pen: _Pen, lost: bool) -> None:
    """One token. Brackets open and close where loss begins and ends."""
    before, after = neighbours
    if piece.supervised and not before and not pen.colour:
        text.append(_OPEN)
    shown = visible(piece.text)
    # The stroke belongs before the line break that a token may end with.
    body, broken = (shown[:-1], "\n") if shown.endswith("\n") else (shown, "")
    text.append(body, pen.style(piece, lost))
    if piece.supervised and not after and not pen.colour:
        text.append(_CLOSE)
    text.append("│", _EDGE)
    text.append(broken)
