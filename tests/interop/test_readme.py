"""The table of differences in README.md: each row is tested, and every test that it names is there."""

import pathlib
import re
import unittest

from programs import ROOT

HERE = pathlib.Path(__file__).resolve().parent


class Readme(unittest.TestCase):
    def test_every_row_names_tests_that_exist(self):
        table = (HERE / "README.md").read_text().split("## Where implementations differ")[1]
        rows = [re.split(r"\s*\|\s*", line.strip("| \n")) for line in table.splitlines() if line.startswith("| ")]
        self.assertEqual([row[0] for row in rows[1:]], [str(number) for number in range(1, 16)])
        for number, _, here, *in_rust in rows[1:]:
            with self.subTest(number):
                files = re.findall(r"`(test_\w+)`", here)
                self.assertTrue(files)
                for name in files:
                    self.assertTrue((HERE / f"{name}.py").is_file(), name)
                for name in re.findall(r"`(\w+)`", " ".join(in_rust)):
                    self.assertIn(name, rust_tests())


def rust_tests():
    """The names of all functions in Rust: a test is one of them."""
    found = set()
    for folder in ("src", "tests"):
        for path in (ROOT / folder).rglob("*.rs"):
            found |= set(re.findall(r"fn (\w+)", path.read_text()))
    return found


if __name__ == "__main__":
    unittest.main()
