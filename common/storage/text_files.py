"""Decodes text files that a user or another program may have written."""

# the first bytes of files that are not UTF-8 text -> what they are and how to convert them
FOREIGN_FORMATS = {
    b"\xff\xfe": "UTF-16 text; save it as UTF-8",
    b"\xfe\xff": "UTF-16 text; save it as UTF-8",
    b"\x1f\x8b": "compressed; unpack it with gunzip",
}


def decode_text(data: bytes) -> str:
    """Decode the bytes of a file as UTF-8, with or without a byte order mark.

    Raises:
        ValueError: if they are not UTF-8; names the actual format where it is recognised.
    """
    for mark, actual in FOREIGN_FORMATS.items():
        if data.startswith(mark):
            raise ValueError(f"it is {actual}")
    return data.decode("utf-8-sig")
