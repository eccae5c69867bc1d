import pytest
import yaml

from schema.loading import SpecError, load_spec

LOG = {"layout": "impressions", "files": "*", "user": "u", "item": "i", "timestamp": {"column": "t"}}


@pytest.mark.parametrize(
    ("log", "said"),
    [
        ({"separator": ";;"}, "log.separator: expected one character"),
        ({"encoding": "klingon"}, "log.encoding: expected a text encoding such as utf-8"),
        ({"header": False}, "`header: false` needs `columns`"),
        ({"columns": ["a", "b"]}, "it needs `header: false`"),
        ({"header": False, "columns": ["a", "a"]}, "`columns` names 'a' twice"),
        ({"format": "parquet", "separator": ";"}, "`separator` belongs to `format: csv`, got `format: parquet`"),
        ({"timestamp": {}}, "split: got `by: time`, expected `split: {by: user}`, and the log has none"),
    ],
)
def test_how_files_are_written_is_refused_where_it_does_not_fit(tmp_path, log, said):
    path = tmp_path / "spec.yaml"
    path.write_text(yaml.safe_dump({"name": "a", "log": LOG | log, "tasks": [{"name": "like", "column": "c"}]}))
    with pytest.raises(SpecError) as error:
        load_spec(path)
    assert said in str(error.value)


@pytest.mark.parametrize("separator", ["\t", "\\t", "tab"])
def test_a_tab_may_be_written_as_people_write_it(tmp_path, separator):
    path = tmp_path / "spec.yaml"
    log = LOG | {"separator": separator}
    path.write_text(yaml.safe_dump({"name": "a", "log": log, "tasks": [{"name": "like", "column": "c"}]}))
    assert load_spec(path).log.separator == "\t"
