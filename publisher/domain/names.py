"""Whether two names are one person's, however they are spelled. Pure."""

import unicodedata

_IGNORABLE = (
    (0x00AD, 0x00AD), (0x034F, 0x034F), (0x061C, 0x061C), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F),
    (0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F), (0x2800, 0x2800), (0x3164, 0x3164), (0xFE00, 0xFE0F),
    (0xFEFF, 0xFEFF), (0xFFA0, 0xFFA0), (0xFFF0, 0xFFF8), (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A), (0xE0000, 0xE0FFF),
)  # fmt: skip
"""What shows nothing: Default_Ignorable_Code_Point of Unicode, and the empty Braille pattern."""
_INVISIBLE_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"})
"""Categories of characters that show nothing, or nothing certain."""
_CAPITAL_LOOKALIKES = str.maketrans(
    "ΑΒΕΖΗΙΚΜΝΟΡΤΥΧϹϺ" + "АВЕЅІЈКМНОРСТУХҮԌԚԜӀ",
    "ABEZHIKMNOPTYXCM" + "ABESIJKMHOPCTYXYGQWI",
)
_LETTER_LOOKALIKES = str.maketrans(
    "αβγεηικνορστυχωϲϳ" + "авгеѕіјкнопрстухԁһԛԝѵӏьүзчб" + "ıɩɡɑȷʙʜɪɴʀʟʏ" + "l|10" + "エロニカタトハー",
    "abyenikvopotuxwcj" + "abresijkhonpctyxdhqwviby346" + "iigajbhinriy" + "iiio" + "工口二力夕卜八一",
)
_PAIR_LOOKALIKES = {"m": "rn", "м": "rn"}
"""One letter that looks like two."""


def is_same_name(one: str, other: str) -> bool:
    """True if the two look alike, or differ only in case, width, spaces and what nobody sees."""
    return name_skeleton(one) == name_skeleton(other)


def name_skeleton(name: str) -> str:
    """Reduce a name to what an eye can tell apart.

    As in Unicode TR 39, over a table of the Latin, Greek and Cyrillic letters, digits and strokes that names are
    written with; case, width and spaces are dropped besides.
    """
    text = "".join(
        letter for letter in unicodedata.normalize("NFKC", name) if not _is_invisible(letter) and letter != " "
    )
    folded = unicodedata.normalize("NFKC", text.translate(_CAPITAL_LOOKALIKES).casefold())
    return "".join(_PAIR_LOOKALIKES.get(letter, letter) for letter in folded.translate(_LETTER_LOOKALIKES))


def find_invisible(name: str) -> tuple[int, str] | None:
    """Give the place, from 1, of a control or invisible character, and the character; None for a clean name."""
    return next(((place, letter) for place, letter in enumerate(name, 1) if _is_invisible(letter)), None)


def _is_invisible(letter: str) -> bool:
    is_ignorable = any(first <= ord(letter) <= last for first, last in _IGNORABLE)
    return is_ignorable or (unicodedata.category(letter) in _INVISIBLE_CATEGORIES and letter != " ")
