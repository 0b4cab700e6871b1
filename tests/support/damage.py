"""What happens to files on disks."""

DAMAGE = ("flip", "truncate", "hole", "grow")
# Two blocks that changed places, and a file without contents.
MORE_DAMAGE = ("swap", "empty")


def damage(data: bytes, kind: str, place: int, much: int) -> bytes:
    """Damaged bytes; of the same length where they are flipped or zeroed."""
    place %= len(data)
    if kind == "flip":
        return data[:place] + bytes([data[place] ^ (1 << much % 8)]) + data[place + 1 :]
    if kind == "truncate":
        return data[:place]
    if kind == "empty":
        return b""
    if kind == "swap":
        size = min(512, len(data) // 2)
        first = place % (len(data) - 2 * size + 1)
        second = first + size + much % (len(data) - 2 * size - first + 1)
        between, after = data[first + size : second], data[second + size :]
        blocks = data[second : second + size], data[first : first + size]
        return data[:first] + blocks[0] + between + blocks[1] + after
    if kind == "grow":
        return data + bytes(much % 1024 + 1)
    end = min(place + 1 + much % 1024, len(data))
    return data[:place] + bytes(end - place) + data[end:]
