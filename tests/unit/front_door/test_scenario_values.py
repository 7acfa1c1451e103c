"""What fills in a scenario's templates: names are known before the run, or one line says which are not."""

from pathlib import Path

import pytest

from backbone.settings import Settings, load_settings
from queryscope.errors import ConfigurationError
from queryscope.scenarios import read_scenario
from queryscope.servers import choose_server
from queryscope.variables import check_environment
from schemas.scenario import Scenario
from services.runner.errors import ScenarioNotRunnable
from services.runner.pipe import Policy
from services.runner.preparing import known_values, prepare
from services.runner.reach import reached_by

USERS = "data: [{name: users, file: users.csv}]\n"
TWICE = "data: [{name: a, file: users.csv}, {name: b, file: users.csv}]\n"
ROWS = 'user,city\nann,"New York"\n'


def read(tmp_path: Path, text: str, **variables: str) -> Scenario:
    (tmp_path / "users.csv").write_text(ROWS)
    (tmp_path / "s.yaml").write_text("target: http://127.0.0.1:9/\n" + text)
    return read_scenario(str(tmp_path / "s.yaml"), variables)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('steps: [{request: {path: "{{ tenat }}"}}]\nvariables: {tenant: a}', "s.yaml:2:20: .*did you mean 'tenant'"),
        ('steps:\n  - request:\n      body: "{{ a"', "s.yaml:4:7: .*template cannot be read"),
        ('steps: [{request: {json: {a: ["{{ x }}"]}}}]', "steps.0.request.json.a.0: nothing here is called 'x'"),
        (USERS + 'steps: [{request: {path: "{{ usr }}"}}]', "3:20: .*did you mean 'user'"),
        (USERS + 'steps: [{request: {path: "{{ users.cit }}"}}]', "no column 'cit': did you mean 'city'"),
        ("data: [{name: users, file: user.csv}]", "s.yaml:2:1: data 'users': .*user.csv cannot be read"),
        ("data: [{name: users, file: users.xml}]", "neither .csv nor .jsonl"),
        (TWICE + 'steps: [{request: {path: "{{ city }}"}}]', "more than one meaning: write {{ a.city }}"),
        ("variables: {uuid: a}", "'uuid' means something else"),
        ('steps: [{request: {path: "{{ env.HOME }}"}}]', "make it a variable"),
        ('variables: {a: "{{ b }}", b: 1}', "variables.a: nothing here is called 'b'"),
        ('steps: [{request: {body: "x", json: {}}}]', "body and json are two bodies"),
        ("auth: {bearer: a, basic: {username: a, password: b}}", "one of them only"),
        ('steps: [{request: {body: "{{ a.b() }}"}}]', "'b' cannot be called"),
        ("auth: {berer: a}", "did you mean 'bearer'"),
    ],
)  # fmt: skip
def test_what_cannot_be_filled_in_is_refused_at_its_place(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words) as refused:
        read(tmp_path, text)
    assert "\n" not in str(refused.value)


def test_files_lie_beside_the_scenario(tmp_path: Path) -> None:
    scenario = read(tmp_path, USERS + "auth: {bearer: {file: key}}\nsteps: [{request: {body_file: users.csv}}]")
    assert scenario.files == [str(tmp_path / name) for name in ("users.csv", "users.csv", "key")]


def test_a_variable_on_the_command_line_replaces_one_of_the_same_kind(tmp_path: Path) -> None:
    text = "variables: {tenant: acme, page: 2, deep: false, share: 0.5}"
    scenario = read(tmp_path, text, tenant="x=1", page="7", deep="true", share="2")
    assert scenario.variables == {"tenant": "x=1", "page": 7, "deep": True, "share": 2.0}
    for given, words in (({"tenat": "1"}, "did you mean 'tenant'"), ({"page": "two"}, "is not a number")):
        with pytest.raises(ConfigurationError, match=words):
            read(tmp_path, text, **given)


def test_the_environment_is_read_where_the_run_is_started_and_refused_where_it_is_not_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "s.yaml").write_text(
        'target: http://h/\nvariables: {t: "a-{{ env.QS_T }}"}\nsteps: [{request: {headers: {x: "{{ t }}"}}}]'
    )
    scenario = read_scenario(str(tmp_path / "s.yaml"))
    with pytest.raises(ConfigurationError, match="QS_T is not set"):
        check_environment(scenario)
    with pytest.raises(ScenarioNotRunnable, match="QS_T is not set"):
        known_values(scenario, 0, {})
    monkeypatch.setenv("QS_T", "s3cret")
    check_environment(scenario)
    literal = prepare(scenario, "run", known_values(scenario, 0, {"QS_T": "s3cret"})).pools[0][0].literal
    assert literal is not None
    assert b"\r\nx: a-s3cret\r\n" in literal.wire
    assert "s3cret" not in scenario.redacted().model_dump_json()


def settings(tmp_path: Path, **fields: object) -> Settings:
    return load_settings(data_dir=tmp_path / "data", **fields)


def test_what_reads_this_machine_is_not_sent_to_another_one(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text('target: http://127.0.0.1/\nsteps: [{request: {headers: {x: "{{ env.HOME }}"}}}]')
    scenario = read_scenario(str(tmp_path / "s.yaml"))
    assert choose_server(settings(tmp_path), scenario) is None
    with pytest.raises(ConfigurationError, match="unset QUERYSCOPE_URL"):
        choose_server(settings(tmp_path, url="http://elsewhere:1"), scenario)


def test_a_scenario_from_the_network_reads_only_what_the_operator_named(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "rows.csv").write_text(ROWS)

    def reached(file: str, **fields: object) -> Scenario:
        auth = {"bearer": "{{ env.QS_T }}"}
        scenario = Scenario.model_validate({"target": "http://h/", "auth": auth, "data": [{"name": "a", "file": file}]})
        return reached_by(Policy(remote=True), scenario, settings(tmp_path, **fields))

    folder = tmp_path / "files"
    with pytest.raises(ScenarioNotRunnable, match="QUERYSCOPE_SCENARIO_ENV"):
        reached("rows.csv", files_dir=folder)
    with pytest.raises(ScenarioNotRunnable, match="QUERYSCOPE_FILES_DIR"):
        reached("rows.csv", scenario_env=["QS_T"])
    for outside in ("../s.csv", str(folder / "rows.csv"), "a/../../x.csv"):
        with pytest.raises(ScenarioNotRunnable, match="does not lie"):
            reached(outside, files_dir=folder, scenario_env=["QS_T"])
    found = reached("rows.csv", files_dir=folder, scenario_env=["QS_T"])
    assert found.files == [str(folder / "rows.csv")]


def test_literal_credentials_are_named_and_never_logged() -> None:
    scenario = Scenario.model_validate(
        {
            "target": "http://h/",
            "variables": {"db_password": "s3cret", "tenant": "acme", "api_token": "{{ env.T }}"},
            "auth": {"basic": {"username": "ann", "password": "s3cret"}},
            "steps": [
                {"name": "a", "auth": {"api_key": {"query": "k", "value": "s3cret"}}},
                {"name": "b", "request": {"headers": {"authorization": "Bearer {{ api_token }}"}}},
                {"name": "c", "request": {"headers": {"cookie": "sid=s3cret{{ tenant }}"}}},
            ],
        }
    )
    named = ["header cookie", "auth", "auth of step 'a'", "variable db_password"]
    assert scenario.literal_credentials() == named
    logged = scenario.redacted()
    assert "s3cret" not in logged.model_dump_json()
    assert logged.steps[1].request.headers == {"authorization": "Bearer {{ api_token }}"}
    assert logged.variables["tenant"] == "acme"
    assert Scenario.model_validate_json(logged.model_dump_json()).literal_credentials() == []
