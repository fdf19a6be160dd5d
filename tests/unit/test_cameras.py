"""The camera list: what may be written, what is refused, and what is taken for what is left out."""

from __future__ import annotations

from pathlib import Path

import pytest

from validation.cameras import Camera, CameraListProblem, read_cameras


def cameras_of(folder: Path, text: str | bytes) -> list[Camera]:
    path = folder / "cameras.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_cameras(path)


def problem_of(folder: Path, text: str) -> CameraListProblem:
    with pytest.raises(CameraListProblem) as caught:
        cameras_of(folder, text)
    assert "cameras.csv" in str(caught.value)
    return caught.value


def test_a_full_list(tmp_path: Path) -> None:
    text = (
        "camera_id,camera_name,zone,site_id,timezone,capacity\n"
        "C2,Till,Front,shop,Europe/Paris,40\n"
        "C1,Door,Front,shop,Europe/Paris,\n"
        'North/C1,"Gate, north",,north,UTC,0\n'
    )
    assert cameras_of(tmp_path, text) == [
        Camera("C1", "Door", "Front", "shop", "Europe/Paris", None),
        Camera("C2", "Till", "Front", "shop", "Europe/Paris", 40),
        Camera("North/C1", "Gate, north", None, "north", "UTC", 0),
    ]


def test_no_file_and_no_lines_are_an_empty_list(tmp_path: Path) -> None:
    assert read_cameras(tmp_path / "none.csv") == []
    assert cameras_of(tmp_path, "camera_id\n") == []


def test_what_is_left_out(tmp_path: Path) -> None:
    assert cameras_of(tmp_path, "Camera ID\nC1\n North/C1 \n/odd\n") == [
        Camera("/odd", "/odd", None, "default", None, None),
        Camera("C1", "C1", None, "default", None, None),
        Camera("North/C1", "North/C1", None, "North", None, None),
    ]


def test_a_camera_without_a_time_zone_is_in_its_sites(tmp_path: Path) -> None:
    text = "camera_id,site_id,timezone\nC1,shop,\nC2,shop,Europe/Paris\nC3,other,\n"
    assert [camera.timezone for camera in cameras_of(tmp_path, text)] == ["Europe/Paris", "Europe/Paris", None]


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffCamera-Id;Name;Time Zone;Capacity\r\nC1;Tür;Europe/Berlin;5\r\n",
        "camera\tname\ttz\tcapacity\rC1\tTür\tEurope/Berlin\t5\r",
        "remarks,camera_id,name,timezone,capacity\nours,C1,Tür,Europe/Berlin,5\n",
    ],
)
def test_dialects_other_names_and_columns_of_ones_own(tmp_path: Path, text: str) -> None:
    assert cameras_of(tmp_path, text) == [Camera("C1", "Tür", None, "default", "Europe/Berlin", 5)]


def test_other_encodings(tmp_path: Path) -> None:
    text = "camera_id,name\nC1,Tür\n"
    for encoding in ("utf-16", "windows-1252"):
        assert cameras_of(tmp_path, text.encode(encoding))[0].camera_name == "Tür"


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        (
            "camera_id,timezone\nC1,Europe/Nowhere\n",
            ["Row 2: 'Europe/Nowhere' is no time zone; expected a name such as"],
        ),
        ("camera_id\nC1\nC2\nC1\n C1\n", ["Rows 2, 4, 5: 'C1' is listed 3 times."]),
        (
            "camera_id,site_id,timezone\nC1,shop,UTC\nC2,shop,Europe/Paris\nC3,shop,UTC\nC4,other,Europe/Paris\n",
            ["The site 'shop' has more than one time zone: 'UTC' in rows 2, 4, 'Europe/Paris' in row 3."],
        ),
        (
            "camera_id,timezone\nC1,UTC\nC2,Europe/Paris\n",
            ["The site 'default' has more than one time zone: 'UTC' in row 2, 'Europe/Paris' in row 3."],
        ),
        (
            "camera_id,capacity\nC1,-1\nC2,many\nC3,1.5\nC4,99999999999\n",
            ["Row 2: the capacity '-1' is no whole number"],
        ),
        ("camera_id,capacity\nC1,3000000000\n", ["Row 2: the capacity '3000000000' is no whole number"]),
        ("camera_id,zone\n,Front\n", ["Row 2: the camera_id is missing."]),
        ("camera_id,zone\nC1,a\x07\n", ["Row 2: it holds control characters."]),
        ("camera_id,zone\nC1,Front,more\n", ["Row 2: the row has 3 cells"]),
        ("name,zone\nDoor,Front\n", ["The column 'camera_id' is missing; the columns are 'name', 'zone'."]),
        ("camera_id,camera\nC1,C1\n", ["The columns 'camera_id' and 'camera' could each be the camera_id."]),
        ("camera_id,timzone\nC1,UTC\n", ["The column 'timzone' is not known; did you mean 'timezone'?"]),
        ("", [""]),
    ],
)
def test_a_list_that_is_wrong_names_the_rows(tmp_path: Path, text: str, sentences: list[str]) -> None:
    problem = problem_of(tmp_path, text)
    for wanted in sentences:
        assert any(sentence.startswith(wanted) for sentence in problem.sentences), problem.sentences
        assert wanted in str(problem)


def test_all_problems_are_told_at_once_and_many_are_cut_short(tmp_path: Path) -> None:
    problem = problem_of(tmp_path, "camera_id,capacity\n" + "".join(f"C{n},none\n" for n in range(30)))
    assert len(problem.sentences) == 30
    assert "Row 2: " in str(problem)
    assert str(problem).endswith("And 10 more problems.")
