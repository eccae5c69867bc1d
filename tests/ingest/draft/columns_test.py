"""What is guessed of columns made by hand: names, kinds, clocks, ids."""

import numpy as np
import pyarrow as pa
import pytest

from ingest.draft.clocks import choose_clock, clock_of
from ingest.draft.kinds import Kind, LeftOut, kind_of, leak, tells
from ingest.draft.labels import is_rating
from ingest.draft.profile import Profile
from ingest.draft.roles import choose_event, choose_ids, choose_impression, choose_key, headerless_names
from ingest.draft.words import has, identifier, past_of, verb_of, words_of


def column(name: str, cells: list, array_type: pa.DataType | None = None) -> Profile:
    return Profile.of(name, [pa.array(cells, array_type)])


def kind(name: str, cells: list, array_type: pa.DataType | None = None) -> tuple[str, dict]:
    guess = kind_of(column(name, cells, array_type))
    assert isinstance(guess, Kind), guess
    return guess.kind, dict(guess.options)


def left_out(name: str, cells: list) -> str:
    guess = kind_of(column(name, cells))
    assert isinstance(guess, LeftOut), guess
    return guess.why


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("playTimeMs", ("play", "time", "ms")),
        ("is_click", ("is", "click")),
        ("isClicked", ("is", "click")),
        ("userid", ("user", "id")),
        ("movieId", ("movie", "id")),
        ("hourmin", ("hour", "min")),
        ("xyzzy", ("xyzzy",)),
    ],
)
def test_words_of_a_name(name, words):
    assert words_of(name) == words


def test_names_become_the_specs():
    assert [identifier(name) for name in ("userRegion", "a.b-c", "7up", "é")] == [
        "user_region",
        "a_b_c",
        "column_7_up",
        "column",
    ]
    assert [verb_of(name) for name in ("is_click", "clicked", "COMMENT CREATED", "long_view")] == [
        "click",
        "click",
        "comment",
        "long_view",
    ]
    assert [past_of(verb) for verb in ("like", "long_view", "xyzzy")] == ["liked", "long_viewed", "did_xyzzy"]
    assert has("playTime", ["play"])
    assert not has("display", ["play"])


COUNTRIES = ["BR", "US", "DE"] * 20


def test_kinds_of_features():
    assert kind("country", COUNTRIES) == ("categorical", {})
    assert kind("author_id", [n % 40 for n in range(200)]) == ("categorical", {})
    assert kind("height", [float(n) + 0.5 for n in range(100)]) == ("numeric", {})
    assert kind("fans_num", [0, 1, 2, 3, 5, 8, 10_000] * 9) == ("numeric", {"scale": "log"})
    assert kind("duration_s", [n + 0.5 for n in range(60)]) == ("numeric", {"scale": "buckets", "buckets": 20})
    assert kind("genres", ["Action|War", "Drama", "Action|Drama"]) == ("multi", {})
    assert kind("tag", ["12,39", "39", "12", "12,39,7", "7"] * 5) == ("multi", {"separator": ","})
    assert kind("topics", ["['a', 'b']", "['b']", "[]"]) == ("multi", {"separator": ",", "strip": True})
    assert kind("tags", [["a", "b"], ["b"], None]) == ("multi", {})


def test_vectors_have_their_size():
    lists = pa.list_(pa.float32())
    assert kind("embedding", [[0.5, 1.0, 2.0], [1.0, 0.0, 0.25], None], lists) == ("vector", {"size": 3})
    assert kind("embedding", ["0.5|1|2.5", "1.5|0.25|3"]) == ("vector", {"size": 3})
    assert kind("embedding", ["0.5 1.5", "1.5 0.25"]) == ("vector", {"size": 2, "separator": " "})
    assert kind("ids", [[1, 2], [3, 4]]) == ("multi", {})


def test_a_range_is_one_value():
    assert kind("fans_range", ["[10,100)", "(0,10]", "0", "[100,1k)"] * 5) == ("categorical", {})


def test_few_whole_numbers_may_be_names_or_not():
    guess = kind_of(column("wave", [1, 2, 3] * 20))
    assert isinstance(guess, Kind)
    assert (guess.kind, "numeric" in guess.doubt) == ("categorical", True)
    assert kind("age", [20, 30, 40] * 20) == ("numeric", {})


def test_columns_that_tell_nothing_are_left_out():
    assert left_out("tab", ["x"] * 30) == "'x' in every row that has one"
    assert left_out("tab", [None] * 97 + ["x", "y", "z"]) == "missing in 97% of the rows"
    assert left_out("title", [f"Film {n}" for n in range(50)]) == "another value in nearly every row"
    assert kind("author", [f"a{n}" for n in range(49)] + ["a0"]) == ("categorical", {})
    assert left_out("request_no", list(range(50))) == "another whole number in nearly every row"
    assert (
        left_out("agent", [f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_11_{n % 40}) Chrome/52" for n in range(120)])
        == "free text"
    )
    assert left_out("upload_dt", ["2022-04-10", "2022-04-11"] * 20) == "a time, which never comes back"
    assert left_out("moment", [20220410, 20220411] * 20) == "a day of the calendar, which never comes back"
    assert left_out("page", [f"https://x.org/{n % 9}" for n in range(60)]).startswith("addresses")


LABEL = np.array([0.0, 1.0] * 50)


def test_a_column_that_tells_a_label_alone_leaks():
    late = column("late", [(5 + n if n % 2 else 0) for n in range(100)])
    assert leak(late, {"like": LABEL}).startswith("alone it tells 'like' (AUC 1.00)")
    assert leak(column("status", ["seen", "done"] * 50), {"like": LABEL})
    assert leak(column("seconds", [None, 3.5] * 50), {"like": LABEL})
    assert leak(column("early", [n // 2 for n in range(100)]), {"like": LABEL}) is None


def test_how_a_number_tells_is_its_auc():
    # Of 20 x 20 pairs, those with the positive one above, or half of equals.
    label = np.array([0.0] * 20 + [1.0] * 20)
    values = [0] * 10 + [1] * 10 + [1] * 20
    assert tells(column("x", values), label) == pytest.approx((20 * 10 + 0.5 * 20 * 10) / 400)
    outside = np.array([np.nan] * 40)
    assert tells(column("x", values), outside) == 0.5


SECONDS = [1_700_000_000 + 60 * n for n in range(20)]


@pytest.mark.parametrize(
    ("cells", "keys"),
    [
        (SECONDS, {"unit": "s"}),
        ([second * 1_000 for second in SECONDS], {"unit": "ms"}),
        ([second * 10**6 for second in SECONDS], {"unit": "us"}),
        ([second * 10**9 for second in SECONDS], {"unit": "ns"}),
        ([str(second) + ".25" for second in SECONDS], {"unit": "s"}),
        (["2024-01-01T12:00:00Z", "2024-01-02 12:00:00 UTC"], {"unit": "iso"}),
        (["31.01.2024 12:00", "01.02.2024 13:30"], {"format": "%d.%m.%Y %H:%M"}),
        (["20240131235959", "20240201000000"], {"format": "%Y%m%d%H%M%S"}),
    ],
)
def test_how_times_are_written(cells, keys):
    assert clock_of(column("time", cells)).keys == keys


def test_typed_times_go_by_their_type():
    assert clock_of(column("at", SECONDS, pa.timestamp("s"))).keys == {"unit": "s"}
    assert clock_of(column("at", SECONDS, pa.timestamp("us"))).keys == {"unit": "ms"}
    assert clock_of(column("at", [1, 2], pa.date32())).is_coarse


def test_day_and_month_may_be_unsure():
    assert "%m/%d/%Y" in clock_of(column("at", ["01/02/2024 10:00", "03/04/2024 11:00"])).doubt
    assert clock_of(column("at", ["31/02/2024 10:00"] * 2)) is None
    assert clock_of(column("at", ["31/01/2024 10:00", "03/04/2024 11:00"])).doubt == ""


def test_the_time_is_chosen_by_name_and_ids_are_none():
    ids = column("account", SECONDS)
    dates = column("date", ["2024-01-01", "2024-01-02"])
    assert choose_clock([ids, dates, column("event_time", SECONDS)]).column == "event_time"
    assert choose_clock([ids]) is None
    assert choose_clock([ids, dates]).column == "date"


def test_times_from_some_start_get_an_origin():
    clock = choose_clock([column("timestamp", [0, 10, 40, 5_000])])
    assert clock.keys == {"unit": "s", "origin": "2024-01-01"}
    assert clock.doubt


REPEATED = [f"a{n % 30}" for n in range(90)]


def test_ids_go_by_their_names():
    columns = [column(name, REPEATED) for name in ("session", "item_category_id", "contentId", "personId", "user_city")]
    user, item = choose_ids(columns)
    assert (user.column, item.column) == ("personId", "contentId")


def test_ids_without_names_go_by_what_they_hold_and_are_unsure():
    columns = [column("a", REPEATED), column("b", [f"i{n % 40}" for n in range(90)]), column("c", ["x", "y", "z"] * 30)]
    user, item = choose_ids(columns)
    assert (user.column, item.column) == ("a", "b")
    assert user.doubt
    assert choose_ids(columns[:1]) == (None, None)
    assert choose_ids(columns, user="b")[0].column == "b"


def test_an_event_column_holds_what_people_do():
    events = column("eventType", ["VIEW"] * 6 + ["LIKE", "xyzzy"])
    assert choose_event([column("country", COUNTRIES), events], ()).column == "eventType"
    assert choose_event([column("country", COUNTRIES), column("is_click", [0, 1])], ()) is None
    assert choose_impression(events).column == "VIEW"
    assert choose_impression(column("b", ["pv", "buy", "buy", "fav"])).column == "pv"
    assert choose_impression(column("b", ["buy", "buy", "fav"])).doubt


def test_a_tables_key_is_unique_and_has_the_logs_ids():
    log = column("who", ["u1", "u2", "u2"])
    table = [column("band", ["old", "old", "young"]), column("id", ["u1", "u2", "u3"]), column("nr", ["1", "2", "3"])]
    assert choose_key(table, log).column == "id"
    assert choose_key(table[:1], log) is None
    assert choose_key([column("id", ["u7", "u8"])], log) is None


def test_a_headerless_log_gets_names():
    columns = [
        column("column_1", [n % 30 for n in range(120)]),
        column("column_2", [n % 40 for n in range(120)]),
        column("column_3", [1, 2, 3, 4, 5, 5] * 20),
        column("column_4", [1_000_000_000 + n for n in range(120)]),
    ]
    ratings = {profile.name: is_rating(profile) for profile in columns}
    assert headerless_names(columns, True, ratings) == ["user", "item", "rating", "timestamp"]
    assert headerless_names(columns, False, ratings) == [profile.name for profile in columns]
