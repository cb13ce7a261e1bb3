"""Pinyin of names and titles, for search and for suggested ids.

The library's dictionary of phrases takes 44 MB of memory. Without it words are spelt by the
commonest reading of each character. The names below would be misspelt so.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from functools import cache, lru_cache

PLACES: Mapping[str, str] = {
    "重庆": "chóng qìng",
    "西藏": "xī zàng",
    "长春": "cháng chūn",
    "长沙": "cháng shā",
    "长乐": "cháng lè",
    "长治": "cháng zhì",
    "长宁": "cháng níng",
    "蚌埠": "bèng bù",
    "六安": "lù ān",
    "厦门": "xià mén",
    "漯河": "luò hé",
    "佛山": "fó shān",
    "成都": "chéng dū",
    "都江堰": "dū jiāng yàn",
    "喀什": "kā shí",
    "番禺": "pān yú",
    "乐清": "yuè qīng",
    "乐亭": "lào tíng",
    "蔚县": "yù xiàn",
    "铅山": "yán shān",
    "东阿": "dōng ē",
    "尉犁": "yù lí",
    "中牟": "zhōng mù",
    "犍为": "qián wéi",
    "枞阳": "zōng yáng",
    "银行": "yín háng",
}


@cache
def _load_library() -> Callable[..., list[str]]:
    os.environ.setdefault("PYPINYIN_NO_PHRASES", "true")
    # few processes need it
    from pypinyin import lazy_pinyin, load_phrases_dict  # noqa: PLC0415

    load_phrases_dict(
        {
            name: [[syllable] for syllable in readings.split()]
            for name, readings in PLACES.items()
        }
    )
    return lazy_pinyin


def spell_syllables(text: str, *, errors: str = "default") -> Sequence[str]:
    """Return the syllables of a text in pinyin without tones.

    Other characters are kept, each run of them as one item; with `errors="ignore"` they are left
    out.
    """
    return _load_library()(text, errors=errors)


MAX_SPELLED = 4096
"""How many names and titles a process keeps spelled."""


@lru_cache(MAX_SPELLED)
def _spell(text: str) -> tuple[str, ...]:
    """Return the syllables of a text, without quotation marks and the like."""
    plain = "".join(filter(str.isalnum, text))
    return tuple(syllable.casefold() for syllable in spell_syllables(plain))


def read_letters(typed: str) -> str:
    """Return typed pinyin without spaces and apostrophes; empty if it can be none.

    One letter alone spells too much.
    """
    letters = "".join(typed.split()).replace("'", "").casefold()
    is_pinyin = len(letters) > 1 and letters.isascii() and letters.isalnum()
    return letters if is_pinyin else ""


def begins_with(text: str, letters: str) -> bool:
    """Return True if these letters begin a text in pinyin, or are its syllables' initials."""
    syllables = _spell(text)
    initials = "".join(syllable[:1] for syllable in syllables)
    return any(each.startswith(letters) for each in ("".join(syllables), initials))


def contains(text: str, letters: str) -> bool:
    """Return True if these letters spell a part of a text from a syllable on, or its initials."""
    syllables = _spell(text)
    return letters in "".join(syllable[:1] for syllable in syllables) or any(
        "".join(syllables[start:]).startswith(letters)
        for start in range(len(syllables))
    )
