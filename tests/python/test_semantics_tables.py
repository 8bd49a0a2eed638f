"""Rules of docs/semantics.md on tables: points of a file, and variables that hold times; what is right comes from pandas.

    $ .venv/bin/python -m pytest tests/python/test_semantics_tables.py
"""

import numpy as np
import pandas as pd
import pytest

from small import build

NAN = np.nan


@pytest.fixture
def path(tmp_path):
    """`v(y, x)`: 40 × 50 cells of 100 m; every cell holds its own number."""
    arrays = {
        "v": (("y", "x"), np.arange(2000, dtype="int32").reshape(40, 50), {}, {"chunks": (16, 16)}),
        "x": (("x",), 600050 + 100.0 * np.arange(50)),
        "y": (("y",), 5599950 - 100.0 * np.arange(40)),
    }
    return build(tmp_path / "c.zarr", arrays)


def test_points_of_a_csv_file_with_quotes_carriage_returns_and_a_byte_order_mark(cw, path, tmp_path):
    want = [{"point": "south, west", "y": 5599850, "x": 600150, "v": 51}, {"point": 'the "corner"', "y": 5599950, "x": 600050, "v": 0}]
    text = '"point", y ,"x"\r\n"south, west",5599880,"600130"\r\n\r\n"the ""corner""",5599999,600001\r\n'
    for mark in ("", "\ufeff"):
        (tmp_path / "p.csv").write_text(mark + text, encoding="utf-8", newline="")
        rows = cw("series", path, "--points", tmp_path / "p.csv").ok().json
        assert [{k: r[k] for k in ("point", "y", "x", "v")} for r in rows] == want
    # What is written reads back.
    cw("series", path, "--points", tmp_path / "p.csv", "-o", tmp_path / "o.csv").ok()
    assert pd.read_csv(tmp_path / "o.csv")["point"].tolist() == [r["point"] for r in want]


@pytest.mark.parametrize(
    "text, named", [("point,y,x\n", "no points"), ("", "no points"), ("y,x\n1\n", "line 2|1 field"), ("y,y\n1,1\n", "two columns"), ("z,y\n1,1\n", "no dimension `z`")]
)
def test_a_file_without_points_is_refused(cw, path, tmp_path, text, named):
    (tmp_path / "p.csv").write_text(text)
    cw("series", path, "--points", tmp_path / "p.csv").refused(named)


TIMES = np.array(["2024-01-01T06:00", "2024-03-01", "NaT", "2024-02-01"], "datetime64[ns]")
COUNTED = {
    "datetime64[s]": (TIMES.astype("datetime64[s]"), {}),
    "days": ([0.25, 60.0, NAN, 31.0], {"units": "days since 2024-01-01"}),
    "seconds": (np.int32([21600, 5184000, -1, 2678400]), {"units": "seconds since 2024-01-01", "_FillValue": -1}),
}


@pytest.mark.parametrize("kind", COUNTED)
def test_times_in_tables_are_iso_8601(cw, tmp_path, kind):
    values, attrs = COUNTED[kind]
    values = np.asarray(values)
    fill = np.datetime64("NaT", "s") if values.dtype.kind == "M" else 0
    path = build(tmp_path / "c.zarr", {"v": (("x",), values, attrs, {"chunks": (2,), "fill": fill})})
    want = pd.Series(TIMES)
    (row,) = cw("reduce", path, "--over", "x", "--with", "min,max,first,last,mean,median,count,std,argmax").ok().json
    found = {name: pd.Timestamp(row[name]) for name in ("min", "max", "first", "last", "mean", "median")}
    assert found == {"min": want.min(), "max": want.max(), "first": want[0], "last": want[3], "mean": want.mean(), "median": want.median()}
    assert row["first"] == "2024-01-01T06:00:00" and row["max"] == "2024-03-01"
    # A spread is a number, in the unit of the counts.
    unit = pd.Timedelta(1, "D" if kind == "days" else "s")
    assert row["std"] == pytest.approx(want.std(ddof=0) / unit) and row["count"] == 3 and row["argmax"] == 1
    (row,) = cw("stats", path).ok().json
    assert (row["min"], row["max"], row["missing"]) == ("2024-01-01T06:00:00", "2024-03-01", 1)
    assert [r["v"] for r in cw("series", path, "--iat", "x=1", "--iat", "x=2").ok().json] == ["2024-03-01", None]
    cw("reduce", path, "--over", "x", "--with", "max", "-o", tmp_path / "o.csv").ok()
    assert (tmp_path / "o.csv").read_text().splitlines()[1] == "v,2024-03-01"
    assert "2024-03-01" in cw("stats", path, json=False).ok().out.decode()


def test_a_sum_of_times_is_refused_by_name(cw, tmp_path):
    values, attrs = COUNTED["days"]
    path = build(tmp_path / "c.zarr", {"v": (("x",), values, attrs)})
    cw("reduce", path, "--over", "x", "--with", "mean,sum").refused("v", "times", "sum", "mean")


def test_times_in_tables_are_those_of_their_calendar(cw, tmp_path):
    path = build(tmp_path / "c.zarr", {"v": (("x",), [59, 29], {"units": "days since 2023-01-01", "calendar": "360_day"})})
    (row,) = cw("reduce", path, "--over", "x", "--with", "min,max,mean").ok().json
    assert (row["min"], row["max"], row["mean"]) == ("2023-01-30", "2023-02-30", "2023-02-15")


# --- many points ------------------------------------------------------------------------------------------------------


def test_what_a_plan_says_of_many_points_is_what_the_run_counts(cw, path):
    points = [w for at in ("y=0,x=0", "y=1,x=1", "y=39,x=49", "y=-1,x=0") for w in ("--iat", at)]
    plan = cw("series", path, *points, "--explain").ok().json
    assert (plan["chunks"], plan["requests"], plan["decoded_bytes"]) == (3, 3, 3 * 16 * 16 * 4)
    assert [s["chunks"] for s in plan["stages"]] == [3]
    assert plan["output_bytes"] == 4 * 8 and plan["amplification"] == 1
    run = cw("series", path, *points, json=False).ok()
    assert run.summary["chunks"] == plan["chunks"] and "3 requests" in run.err
    (one,) = cw("series", path, *points[:2], "--explain").ok().json["stages"]
    assert one["chunks"] == 1


def test_a_table_of_too_many_rows_is_refused_of_all_points_together(cw, tmp_path):
    long = build(tmp_path / "c.zarr", {"v": (("time", "x"), np.zeros((1001, 100), "int8"), {}, {"chunks": (1001, 100)})})
    points = [w for x in range(100) for w in ("--iat", f"x={x}")]
    cw("series", long, *points).refused("100100 rows", "fewer points")
    cw("series", long, *points, "--explain").refused("100100 rows")
    assert len(cw("series", long, *points, "--isel", "time=0:900", "--threads", "1").ok().json) == 90_000


def test_rows_of_all_points_count_for_memory(cw, tmp_path):
    long = build(tmp_path / "c.zarr", {"v": (("time", "x"), np.zeros((900, 100), "int8"), {}, {"chunks": (900, 100)})})
    points = [w for x in range(100) for w in ("--iat", f"x={x}")]
    refused = cw("series", long, *points, "--memory", "40MiB")
    refused.refused("budget")
    budget = refused.smallest_budget()
    run = cw("series", long, *points, "--memory", budget, measure=True).ok()
    assert run.peak <= int(budget.removesuffix("MiB")) * 2**20
