"""The check for easily guessed passwords. Pure.

The rule counts the guesses that an attacker would need. A common word, a name, a date, a row of
keys or a repetition is one guess, however long it is. A list of leaked passwords would need the
network, and hardly knows Chinese ones.
"""

import re
import unicodedata
from collections.abc import Collection, Iterator, Sequence
from itertools import pairwise

MIN_PASSWORD_CHARACTERS, MAX_PASSWORD_CHARACTERS = 12, 256
MIN_GUESSES = 8
"""Minimum number of parts of a password, each to be guessed by itself."""
MIN_RUN, MIN_WORD, MIN_CHINESE_WORD = 3, 3, 2
COMMON_WORDS = frozenset({
    "123", "521", "520", "1314", "147258369", "159753",
    "5201314", "7758258", "7758521", "888", "666",
    "access", "account", "admin", "administrator", "aini", "alibaba", "anquan", "apple", "asd",
    "asdf", "baobao", "baobei", "batman", "beijing", "changeme", "china", "chongqing", "computer",
    "daily", "default", "demo", "denglu", "diannao", "dongfang", "dragon", "dubai", "email", "fabu",
    "fabuhui", "fangke", "football", "friday", "gonganju", "gongan", "guangdong", "guest", "guanli",
    "guanliyuan", "hello", "huawei", "iloveyou", "internet", "jiangsu", "jiayou", "jingcha",
    "jingwu", "keyboard", "letmein", "linux", "login", "love", "mama", "master", "michael", "mima",
    "minjing", "mobile", "monday", "monkey", "mypassword", "nihao", "office", "oracle", "pass",
    "passwd", "password", "paichusuo", "phone", "pingan", "police", "postgres", "princess",
    "public", "publisher", "qaz", "qazwsx", "qwe", "qwer", "qwerty", "root", "sanya", "secret",
    "security", "server", "service", "shadow", "shanghai", "shenzhen", "shouji", "simple", "spring",
    "summer", "sunshine", "super", "superman", "support", "sys", "sysadmin", "system", "taobao",
    "temp", "tencent", "test", "tester", "tianjin", "toor", "trustno", "user", "webmaster",
    "welcome", "windows", "winter", "woaini", "woaiwojia", "wodemima", "wojia", "woshishui", "wsx",
    "xiaomi", "xitong", "yidong", "yonghu", "zaoshang", "zhangsan", "zhanghao", "zhejiang",
    "zhongguo", "zxc", "zxcv",
    "密码", "口令", "公安", "公安局", "警察", "民警", "派出所", "平安", "中国", "北京", "上海",
    "管理员", "发布", "你好", "我爱你",
})  # fmt: skip
"""The commonest words of passwords, in English, Pinyin and Chinese, and words of the trade."""
KEY_ROWS = (
    "`1234567890-=", "qwertyuiop[]", "asdfghjkl;'", "zxcvbnm,./", "abcdefghijklmnopqrstuvwxyz",
    "01234567890", "!@#$%^&*()_+", "1qaz", "2wsx", "3edc", "4rfv", "5tgb", "6yhn", "7ujm", "8ik,",
    "9ol.", "0p;/", "147", "258", "369", "159", "357", "zaq1", "xsw2", "cde3",
    "一二三四五六七八九十",
)  # fmt: skip
"""Keys and characters in their order, forwards and backwards."""
LOOK_ALIKES = str.maketrans("013457@$!", "oleastasi")
DATE_OR_TELEPHONE = re.compile(
    r"(?:19|20)\d\d(?:(?:0[1-9]|1[0-2])(?:[0-2]\d|3[01]))?|1[3-9]\d{9}"
)
_REPETITION = re.compile(r"(.{1,64}?)\1+")
_SUCCESSORS = frozenset(
    pair for row in KEY_ROWS for text in (row, row[::-1]) for pair in pairwise(text)
)


def is_guessable(password: str, words: Collection[str] = ()) -> bool:
    """Return True if a password has too few parts that must be guessed.

    `words` are known to a guesser of the user: the user's name, and the names of the agency and its
    accounts.
    """
    return count_guesses(password, words, MIN_GUESSES) < MIN_GUESSES


def count_guesses(
    password: str, words: Collection[str] = (), enough: int = MAX_PASSWORD_CHARACTERS
) -> int:
    """Return how many different parts a password has.

    Every character outside of known parts is one part. Beyond `enough` parts no others are looked
    for, as each place is compared with thousands of names.
    """
    text = normalize(password)
    known = COMMON_WORDS | {part for word in words for part in split_words(word)}
    shortened = (text, _REPETITION.sub(_take_unit, text), _REPETITION.sub(r"\1", text))
    return min(len(split_parts(each, known, enough)) for each in shortened)


def split_parts(text: str, known: Collection[str], enough: int) -> Sequence[str]:
    """Return the parts of a text: known words, rows of keys, dates, and single characters.

    Each word counts once. At most `enough` parts are returned.
    """
    plain, place, parts = text.translate(LOOK_ALIKES), 0, list[str]()
    while place < len(text) and len(parts) < enough:
        words = [
            len(word)
            for word in known
            if text.startswith(word, place) or plain.startswith(word, place)
        ]
        length = max([1, *words, _run_length(text, place), _date_length(text, place)])
        part = text[place : place + length]
        if length == 1 or part not in parts:
            parts.append(part)
        place += length
    return parts


def normalize(text: str) -> str:
    """Return a text in the form used for comparison.

    Full-width letters are ordinary ones, there is no case, and nothing stands between the words.
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(
        letter
        for letter in folded
        if letter.isalnum() or not (letter.isspace() or letter in "-_.")
    )


def split_words(text: str) -> Iterator[str]:
    """Yield a name whole and in its parts that are long enough to be a word."""
    for part in {normalize(text), *map(normalize, re.split(r"[\W_]+", text))}:
        if len(part) >= (MIN_WORD if part.isascii() else MIN_CHINESE_WORD):
            yield part


def _take_unit(repetition: re.Match[str]) -> str:
    """Return the unit of a repetition; a letter that is only doubled stays, as in many words."""
    return repetition[0] if len(repetition[0]) == 2 else repetition[1]


def _run_length(text: str, place: int) -> int:
    """Return the length of the row of keys at a place, or 0 if it is too short to be one."""
    end = place + 1
    while end < len(text) and (text[end - 1], text[end]) in _SUCCESSORS:
        end += 1
    return end - place if end - place >= MIN_RUN else 0


def _date_length(text: str, place: int) -> int:
    found = DATE_OR_TELEPHONE.match(text, place)
    return len(found[0]) if found else 0
