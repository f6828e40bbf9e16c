"""The table of `elman evaluate`."""

from elman.cli.table import result_table


def test_without_baselines_a_line_each() -> None:
    lines = result_table({"loss": 0.25, "symbols": 12345, "perplexity": None, "left_out": ["a", "b"]}).splitlines()
    assert [line.split(maxsplit=1) for line in lines] == [
        ["loss", "0.2500"],
        ["symbols", "12,345"],
        ["perplexity", "overflow"],
    ]


def test_baselines_stand_beside() -> None:
    table = result_table(
        {"accuracy": 0.9, "sequences": 7, "remark": "by words", "baselines": {"majority class": {"accuracy": 0.5}}}
    )
    head, accuracy, sequences, remark = table.splitlines()
    assert head.split() == ["the", "model", "majority", "class"]
    assert accuracy.split() == ["accuracy", "0.9000", "0.5000"]
    assert sequences.split() == ["sequences", "7"]
    assert remark.split(maxsplit=1) == ["remark", "by words"]
