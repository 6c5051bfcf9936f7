"""English words that carry grammar rather than content: a synonym of theirs would change what is said."""

from __future__ import annotations

_PRONOUNS = (
    "i me my mine myself we us our ours ourselves you your yours yourself yourselves he him his himself she her hers "
    "herself it its itself they them their theirs themselves this that these those who whom whose which what"
)
_VERBS = (
    "am is are was were be been being do does did doing done have has had having can could may might must shall should "
    "will would ought need"
)
_JOINING = (
    "a an the and or nor but if then else than as because while until though although so of at by for with without "
    "about against between among into onto through during before after above below over under to from up down in out "
    "on off within per via"
)
_OTHERS = (
    "no not never yes all any both each every few many more most much other others some such only own same too very "
    "just also again once here there when where why how now s t d ll m re ve don isn aren wasn weren doesn didn hasn "
    "haven hadn won wouldn couldn shouldn"
)
_NUMBERS = "zero one two three four five six seven eight nine ten first second third"

STOP_WORDS = frozenset(" ".join((_PRONOUNS, _VERBS, _JOINING, _OTHERS, _NUMBERS)).split())
