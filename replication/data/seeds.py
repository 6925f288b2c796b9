"""Independent random streams from one seed: each purpose gets a seed of its own."""

import hashlib


def stream(seed: int, *purpose: object) -> int:
    """Derive the 63-bit seed of one purpose from the seed of a run; committed records depend on these numbers.

    >>> stream(0, "weights")
    7388263408636359099
    """
    digest = hashlib.blake2b("/".join(map(str, (seed, *purpose))).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1
