"""The structure of the packages: sizes, imports, annotations and names, as `.ci/check_structure.py` checks them."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / ".ci"))
import check_structure  # noqa: E402
import import_rules  # noqa: E402
import replaced_names  # noqa: E402


@pytest.fixture(scope="module")
def tree():
    return check_structure.Tree()


def lines(found):
    return [f"{path}:{line}: {text}" for path, line, _, text in found]


def test_no_file_function_or_folder_is_too_large(tree):
    sizes = (check_structure.large_files, check_structure.long_functions, check_structure.full_folders)
    assert lines(check_structure.findings(tree, rules=sizes)) == []


def test_our_modules_are_imported_inside_functions_at_the_gates_alone(tree):
    assert lines(import_rules.lazy_imports(tree)) == []


def test_no_modules_import_each_other(tree):
    assert lines(import_rules.import_cycles(tree)) == []


def test_public_functions_are_annotated(tree):
    assert lines(check_structure.missing_annotations(tree)) == []


def test_no_replaced_name_is_left(tree):
    assert lines(replaced_names.findings(tree)) == []


def test_what_must_not_load_tensorflow_does_not(tree):
    assert lines(import_rules.tensorflow_loaded(tree)) == []
