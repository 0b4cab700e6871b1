"""What happens to files on disks."""

DAMAGE = ("flip", "truncate", "hole", "grow")


def damage(data: bytes, kind: str, place: int, much: int) -> bytes:
    """Damaged bytes; of the same length where they are flipped or zeroed."""
    place %= len(data)
    if kind == "flip":
        return data[:place] + bytes([data[place] ^ (1 << much % 8)]) + data[place + 1 :]
    if kind == "truncate":
        return data[:place]
    if kind == "grow":
        return data + bytes(much % 1024 + 1)
    end = min(place + 1 + much % 1024, len(data))
    return data[:place] + bytes(end - place) + data[end:]
