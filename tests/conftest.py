"""What all tests share."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings

# No deadline: how long an example takes says more about the machine than about the code.
settings.register_profile("footfall", deadline=None, max_examples=40)
# Many more cases, for hours: pytest --hypothesis-profile soak --timeout 0.
settings.register_profile("soak", settings.get_profile("footfall"), max_examples=10_000)
settings.load_profile("footfall")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "soak: takes many minutes; only `-m soak` runs it")
    # A shell starts what runs in its background with SIGINT ignored. Dagster handles SIGTERM as it finds SIGINT, and
    # whatever a test starts would inherit both.
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


# Files that take minutes are begun first, so that at the end nobody waits for one of them.
_LONGEST = (
    "test_seeded_defects.py",
    "test_increments_against_reference.py",
    "test_stack.py",
    "test_commands.py",
    "test_increments_faults.py",
    "test_launching.py",
    "test_models_publishing.py",
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name not in _LONGEST)
    if "soak" not in config.getoption("markexpr"):
        soaks = [item for item in items if item.get_closest_marker("soak")]
        items[:] = [item for item in items if item not in soaks]
        config.hook.pytest_deselected(items=soaks)


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the settings and database defaults of whoever runs the tests out of them."""
    for name in os.environ:
        if name.startswith(("FOOTFALL_", "PG")) and not name.startswith("FOOTFALL_TEST_"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def public_data() -> Path:
    """Public data sets with known answers, which lie beside the project; where they do not, their tests are skipped."""
    folder = Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"the public data sets are not in {folder}")
    return folder


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say of how many cases a test has judged, where it counted them (`record_property("judged", …)`)."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            if name == "judged":
                terminalreporter.write_line(f"{report.nodeid} judged {value}.")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Where all that tests need is installed (CI is set), one that was skipped has failed."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") and reporter is not None and reporter.stats.get("skipped"):
        reporter.write_line("A test was skipped, which continuous integration does not allow.", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
