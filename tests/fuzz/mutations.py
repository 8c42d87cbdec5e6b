"""What becomes of a good file: the same seed and number always make the same damaged one."""

import re
import struct

EXTREME = [b"\xff" * 8, bytes(8), struct.pack("<Q", 2**62), struct.pack("<Q", 2**31), struct.pack("<q", -1)]
"""Numbers that a length or an offset must not be."""
WORDS = [
    *("", "-1", "0", "1e999", "-1e-999", "nan", "inf", "9" * 30, "9" * 5000, "0.1", "1.5", "0x10", "1_0", "٣", "²"),
    *(
        "true",
        "null",
        "None",
        "~",
        "2001-99-99",
        "0b_",
        "!!int ''",
        "!!float x",
        "!!timestamp x",
        "!!binary =",
        "&a",
        "*a",
    ),
    *("[", "]", "{", "}", "[]", "{}", "[" * 20_000, "{" * 20_000, '{"a":' * 20_000, "a." * 20_000, "- " * 5000),
    *(
        "\0",
        "\x1b[31m",
        "\x07",
        "\r",
        "\n",
        "\t",
        "\ufeff",
        "\u2028",
        "\u202e",
        "\\ud800",
        '"',
        "'",
        ",",
        ":",
        "=",
        "#",
    ),
    *("x" * 200_000, "../../x", "/dev/zero", "/etc/passwd", "<!DOCTYPE x>", "<![CDATA[", "&lt;", "&#0;", "<x>" * 5000),
]
"""What a value of a text file must not be."""
NO_UTF8 = [b"\xed\xa0\x80", b"\xff\xfe", b"\xc3", b"\xfe\xff\0x"]


def damage_bytes(content, rng):
    """Return a file with a bit flipped, or a part overwritten, cut off, put in, left out, repeated or moved."""
    start, length = int(rng.integers(len(content) + 1)), int(rng.integers(1, 17))
    end, elsewhere = start + length, int(rng.integers(len(content) + 1))
    flipped = bytes([content[start] ^ 1 << int(rng.integers(8))]) if start < len(content) else b""
    part = content[start : start + int(rng.integers(1, 200))]
    return [
        content[:start] + flipped + content[start + 1 :],
        content[:start] + rng.bytes(length) + content[end:],
        content[:start] + EXTREME[rng.integers(5)][: int(rng.choice([1, 2, 4, 8]))] + content[end:],
        content[:start],
        content[:start] + rng.bytes(length) + content[start:],
        content[:start] + content[end:],
        content[:start] + part * int(rng.integers(2, 50)) + content[start:],
        content[:elsewhere] + part + content[elsewhere + len(part) :],
    ][rng.integers(8)]


def damage_head(content, rng):
    """Return a file damaged in its first 1,000 bytes, where formats keep what everything else depends on."""
    return damage_bytes(content[:1000], rng) + content[1000:]


def damage_text(content, rng):
    """Return a text file with a word, a line or some bytes changed."""
    kind = int(rng.integers(8))
    if kind == 0:
        return damage_bytes(content, rng)
    if kind == 1:
        place = int(rng.integers(len(content) + 1))
        return content[:place] + NO_UTF8[rng.integers(len(NO_UTF8))] + content[place:]
    lines = content.splitlines(keepends=True) or [b""]
    line = int(rng.integers(len(lines)))
    if kind == 2:
        repeated = lines[line] * int(rng.choice([2, 3, 1000]))
        return b"".join([*lines[:line], repeated, *lines[line + 1 :]])
    if kind == 3:
        return b"".join(lines[:line] + lines[line + 1 :])
    words = list(re.finditer(rb"[\w.+-]+|[^\w\s]", content))
    if not words:
        return WORDS[rng.integers(len(WORDS))].encode()
    found = words[rng.integers(len(words))]
    other = WORDS[rng.integers(len(WORDS))].encode()
    if kind == 4:  # in front of it
        return content[: found.start()] + other + content[found.start() :]
    if kind == 5:  # another word of the file
        other = words[rng.integers(len(words))][0]
    return content[: found.start()] + other + content[found.end() :]


def damage(content, rng, kind):
    """Return a file damaged once, or up to four times; `kind` says what it is: "bytes", "head" or "text"."""
    change = {"bytes": damage_bytes, "head": damage_head, "text": damage_text}[kind]
    for _ in range(int(rng.choice([1, 1, 1, 2, 4]))):
        content = change(content, rng)
    return content
