"""The count of statements, on code that can be counted by hand."""

from tests import count_statements

CODE = '''
"""A module."""

LIMIT = 3
"""Documented."""


def f(x):
    """Documented."""
    if x:  # counts with what is in it
        return "a string", LIMIT
    for y in x: print(y); print(x)
'''


def test_statements_without_docstrings():
    assert count_statements.statements(CODE) == 7  # LIMIT, def, if, return, for, print, print


def test_only_the_program_is_counted():
    files = [("pipeline/a.py", "a = 1"), ("pipeline/b/c.py", "a = 1; b = 2"), ("stream_segment.py", "a = 1")]
    others = [("tests/test_a.py", "a = 1"), ("pipeline/b/page.txt", "a = 1"), ("benchmarks/a.py", "a = 1")]
    counted = count_statements.by_folder([*files, *others])
    assert counted == {"pipeline": 1, "pipeline/b": 2, "stream_segment.py": 1}


def test_the_table_and_a_revision_that_is_not_there(capsys):
    assert count_statements.main([]) == 0
    *_, last = capsys.readouterr().out.splitlines()
    assert last == f"{count_statements.working_tree().total():6} in all"
    assert count_statements.main(["no-such-revision"]) == 2
