"""The wheel holds the package, its data and the recipes, and nothing else."""

import subprocess
import sys
import zipfile

import pytest

from tests.support.source import MODULES, PACKAGE, ROOT
from unidiff_cli.models import sources


@pytest.mark.slow
def test_the_wheel_holds_what_it_should(tmp_path):
    options = ["--no-deps", "--quiet", "--wheel-dir", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", *options, str(ROOT)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    if done.returncode and "hatchling" in done.stderr:
        pytest.skip("the build backend cannot be fetched here")
    assert done.returncode == 0, done.stderr
    [wheel] = tmp_path.glob("unidiff_cli-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    files = set(names)
    assert len(names) == len(files)
    for file in (ROOT / "recipes").glob("*.yaml"):
        assert f"unidiff_cli/recipes/{file.name}" in files
    templates = [p.relative_to(ROOT) for p in (PACKAGE / "reports" / "templates").iterdir()]
    data = [p.relative_to(ROOT) for p in PACKAGE.rglob("*") if p.suffix in (".yaml", ".txt")]
    for file in (*MODULES, *templates, *data):
        assert file.as_posix() in files
    for folder in sources.embedded_bases().values():
        for file in folder.rglob("*"):
            assert not file.is_file() or file.relative_to(ROOT).as_posix() in files
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"unidiff_cli"}
    foreign = (".pt", ".pkl", ".ckpt")
    assert not [n for n in names if "__pycache__" in n or n.endswith(foreign)]
