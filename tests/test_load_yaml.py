"""YAML texts: what is refused before anything is read into it, and what scalars come to."""

from __future__ import annotations

import time

import pytest

from compiler.load.yamltext import MAX_DEPTH, parse_yaml
from tests.marked import Fault, faults_of, same_faults, unmarked

HOSTS = "version: 1\nhosts:\n"


def check(text: str, *expected: Fault) -> None:
    """The faults of a text, one at each mark."""
    clean, places = unmarked(text)
    same_faults(faults_of(clean), places, expected)


class TestYaml:
    """What is no YAML, or more YAML than a configuration needs."""

    def test_a_fault_of_syntax_is_told_with_its_place(self) -> None:
        check("version: 1\nhosts: a»: b\n", ("yaml-syntax", "YAML parser:", ""))

    def test_an_unclosed_quote(self) -> None:
        check("version: 'one»", ("yaml-syntax", "unexpected end of stream", ""))

    def test_a_tab_for_indentation(self) -> None:
        check("version: 1\n»\thosts: {}", ("yaml-syntax", "cannot start any token", ""))

    def test_two_documents(self) -> None:
        check("version: 1\n»---\nversion: 1\n", ("yaml-syntax", "more than one YAML document", ""))

    def test_a_tag(self) -> None:
        check("version: »!!python/object:os.system x", ("yaml-syntax", "The tag", ""))

    def test_a_tag_on_a_key(self) -> None:
        check("»!!int 1: x", ("yaml-syntax", "The tag", ""))

    def test_a_list_as_key(self) -> None:
        check("? »[a]\n: b", ("yaml-syntax", "A key must be a plain text", ""))

    def test_a_merge_key_is_a_key_like_any_other(self) -> None:
        check(
            "»<<: {ram: 1GiB}\nversion: 1\nhosts: {t: {ram: 1GiB}}",
            ("unknown-key", "`<<` is no key of `the file`", "Known keys: `defaults`"),
        )

    def test_an_alias(self) -> None:
        check("version: 1\nhosts: »*there", ("yaml-alias", "write the value out", ""))

    def test_an_anchor(self) -> None:
        check("version: 1\nhosts: »&here {}", ("yaml-alias", "write the value out", ""))

    def test_a_directive_of_yaml_1_1_changes_no_value(self) -> None:
        assert parse_yaml("x", "%YAML 1.1\n---\na: on\n").data == {"a": "on"}

    def test_a_control_character(self) -> None:
        check("version: 1\nhosts: {tow»\ber: {}}", ("yaml-syntax", "U+0008", ""))

    @pytest.mark.parametrize("escape", [r"\UFFFFFFFF", r"\U00110000"])
    def test_an_escape_that_names_no_character(self, escape: str) -> None:
        check(f'version: 1\nhosts: »{{"{escape}": 1}}', ("yaml-syntax", "does not exist", ""))

    def test_half_a_character(self) -> None:
        check('version: »"\\ud800"', ("unsafe-text", "U+D800, which is half a character", ""))

    def test_half_a_character_in_a_key(self) -> None:
        check('»"\\udc00": 1', ("unsafe-text", "U+DC00, which is half a character", ""))

    def test_a_key_that_stands_twice_is_told_each_time(self) -> None:
        check(
            "version: 1\nhosts:\n  t: {ram: 1GiB, »ram: 2GiB}\n  »t: {}\n",
            ("duplicate-key", "`ram` was already given in line 3", ""),
            ("duplicate-key", "`t` was already given in line 3", ""),
        )

    def test_a_number_and_its_text_are_one_key(self) -> None:
        check(
            'version: 1\nhosts:\n  404: {ram: 1GiB}\n  »"404": {ram: 1GiB}\n',
            ("duplicate-key", "`404` was already given in line 3", ""),
        )

    def test_a_key_that_stands_twice_hides_no_other_fault(self) -> None:
        check(
            "version: 1\nhosts:\n  t: {ram: »1GB, »ram: 2GiB}\n  u: {»rma: 1GiB, ram: 1GiB}\n"
            "  »t: {rma: 1GiB, nothing: 1, »nothing: 2}\n",
            ("wrong-unit", "`hosts.t.ram`: `1GB` is not a size", "Write `ram: 1GiB`."),
            ("duplicate-key", "`ram` was already given in line 3", ""),
            ("unknown-key", "`rma` is no key of `hosts.u`", "Did you mean `ram`?"),
            ("duplicate-key", "`t` was already given in line 3", ""),
            ("duplicate-key", "`nothing` was already given in line 5", ""),
        )

    def test_both_sides_of_a_merge(self) -> None:
        check(
            "version: 1\n»<<<<<<< HEAD\nhosts: {}\n=======\nhosts: {a: 1}\n>>>>>>> theirs\n",
            ("merge-conflict", "git's conflict markers", "Keep of each part the side"),
        )

    def test_duplicate_keys_are_told_beside_a_fault_of_syntax(self) -> None:
        check(
            "a: 1\n»a: 2\nb: »@\n",
            ("duplicate-key", "`a`", ""),
            ("yaml-syntax", "cannot start any token", ""),
        )

    def test_nothing_at_all(self) -> None:
        check("»", ("wrong-type", "`the file`: This must be a mapping", ""))

    def test_a_list(self) -> None:
        check("»[1, 2]", ("wrong-type", "`the file`: This must be a mapping", ""))

    @pytest.mark.parametrize(
        ("written", "read"),
        [
            ("on", "on"),
            ("no", "no"),
            ("22:22", "22:22"),
            ("012", "012"),
            ("0x10", "0x10"),
            ("0o10", "0o10"),
            (".inf", ".inf"),
            (".nan", ".nan"),
            ("+5", "+5"),
            ("-0", "-0"),
            ("1_000", "1_000"),
            ("1e999", "1e999"),
            ("2020-01-01", "2020-01-01"),
            ("12345678901234567890", "12345678901234567890"),
            ("'1'", "1"),
            ('"true"', "true"),
            ("12", 12),
            ("-7", -7),
            ("0", 0),
            ("1.10", 1.1),
            (".5", 0.5),
            ("1e3", 1000.0),
            ("-2.5e-3", -0.0025),
            ("true", True),
            ("False", False),
            ("~", None),
            ("", None),
            ("null", None),
        ],
    )
    def test_a_scalar_is_what_everybody_takes_it_for(self, written: str, read: object) -> None:
        data = parse_yaml("x", f"a: {written}\n").data
        assert data == {"a": read}
        assert isinstance(data, dict)
        assert isinstance(data["a"], type(read))


class TestSize:
    """What would keep a compiler busy is refused before it does."""

    def check_quick(self, text: str, code: str) -> None:
        start = time.process_time()
        faults = faults_of(text)
        # Each takes milliseconds; unrefused, seconds or the whole memory.
        assert time.process_time() - start < 2
        assert [fault.code for fault in faults] == [code]

    def test_an_alias_bomb(self) -> None:
        rows = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
        rows += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
        self.check_quick("\n".join(rows), "yaml-alias")

    def test_a_text_of_a_hundred_megabytes(self) -> None:
        self.check_quick("# " + "x" * (100 << 20), "file-too-large")

    def test_a_text_of_few_characters_and_many_bytes(self) -> None:
        self.check_quick("# " + "\U0001f600" * (1 << 20), "file-too-large")

    @pytest.mark.parametrize("opening", ["[", "{a: ", "- "])
    def test_deep_nesting(self, opening: str) -> None:
        self.check_quick(opening * 100_000, "yaml-depth")

    def test_deep_indentation(self) -> None:
        self.check_quick("".join(f"{' ' * depth}a:\n" for depth in range(500)), "yaml-depth")

    def test_nesting_up_to_the_limit(self) -> None:
        text = "[" * MAX_DEPTH + "]" * MAX_DEPTH
        assert [fault.code for fault in faults_of(text)] == ["wrong-type"]

    def test_a_range_of_a_million_hosts(self) -> None:
        self.check_quick(HOSTS + "  h[0-999999]: {ram: 1GiB}\n", "bad-range")

    def test_many_ranges_that_are_too_many_together(self) -> None:
        ranges = "".join(f"  h{n}-[1-9999]: {{ram: 1GiB}}\n" for n in range(500))
        start = time.process_time()
        faults = faults_of(HOSTS + ranges)
        assert time.process_time() - start < 5
        assert [fault.code for fault in faults] == ["bad-range"]
        assert "With `h1-[1-9999]` the inventory has more than 10,000 hosts" in faults[0].detail
