"""A few hundred damaged files of the many that ``fuzz_readers.py`` can make."""

import fuzz_readers


def test_damaged_files(tmp_path):
    accepted = sum(fuzz_readers.one(seed, tmp_path / "file") for seed in range(600))
    assert 10 < accepted < 500              # some changes do no harm, most do
