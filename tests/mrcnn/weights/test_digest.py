"""SHA-256 of a file, against digests published with the standard."""

import pytest

from mrcnn.weights.digest import sha256_of

# FIPS 180-2, appendix B.1 and B.3: "abc", and "a" a million times
DIGESTS = {
    b"abc": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    b"a" * 1_000_000: "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0",
}


@pytest.mark.parametrize("content", DIGESTS, ids=len)
def test_known_digests(tmp_path, content):
    path = tmp_path / "file.bin"
    path.write_bytes(content)
    assert sha256_of(path) == DIGESTS[content]


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        sha256_of(tmp_path / "absent")
