"""A notebook run by a real kernel, as JupyterLab runs it, and what nbconvert makes of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

manager = pytest.importorskip(
    "jupyter_client.manager", reason="Jupyter is not installed: pip install ipykernel nbconvert"
)
pytest.importorskip("ipykernel", reason="the kernel is not installed: pip install ipykernel")
nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed: pip install nbconvert")

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.filterwarnings("ignore")  # those of Jupyter


class Session:
    """A kernel, and the notebook of what it was given; a cell is known by its id."""

    def __init__(self, client: Any) -> None:
        self.client, self.notebook = client, nbformat.v4.new_notebook()

    def run(self, text: str, cell: str) -> Any:
        """Run a cell; it is at the end of the notebook then, with its outputs."""
        content = {"code": text, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False}
        request = self.client.session.msg("execute_request", content, metadata={"cellId": cell})
        self.client.shell_channel.send(request)
        made = nbformat.v4.new_code_cell(text)
        while True:
            answer = self.client.get_iopub_msg(timeout=120)
            if answer["parent_header"].get("msg_id") != request["header"]["msg_id"]:
                continue
            if answer["msg_type"] == "status" and answer["content"]["execution_state"] == "idle":
                break
            if answer["msg_type"] in ("execute_result", "display_data", "stream", "error"):
                made.outputs.append(nbformat.v4.output_from_msg(answer))
        self.notebook.cells.append(made)
        return made.outputs

    def text(self, expression: str) -> str:
        """What an expression prints."""
        return str(self.run(f"print({expression})", "look")[0].text)


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    """A kernel in which the notebook of the examples was run."""
    kernel, client = manager.start_new_kernel(kernel_name="python3", env={**os.environ, "PYTHONPATH": str(ROOT)})
    try:
        made = Session(client)
        for cell in nbformat.read(ROOT / "examples" / "notebook.ipynb", as_version=4).cells:
            if cell.cell_type == "code":
                made.run(cell.source, cell.id)
        yield made
    finally:
        client.stop_channels()
        kernel.shutdown_kernel(now=True)


def outputs(session: Session, text: str) -> Any:
    return next(cell.outputs for cell in session.notebook.cells if cell.source.endswith(text))


def test_no_cell_of_the_example_fails(session: Session) -> None:
    assert not [o for cell in session.notebook.cells for o in cell.outputs if o.output_type in ("error", "stream")]


@pytest.mark.parametrize("text", ["g", "g.adjoint()"])
def test_a_template_shows_equations_and_picture(session: Session, text: str) -> None:
    equations, picture = outputs(session, text)
    assert r"\tanh" in equations.data["text/latex"]
    assert picture.data["text/html"].startswith("<img ")
    assert "image/svg+xml" not in picture.data


def test_texts_are_short_and_the_page_is_one(session: Session) -> None:
    for text in (
        "net",
        "net.program(grad=True)",
        "net.explain(T=128, batch=16)",
        'flow.flow(net, params, "h", x=X[:, 0])',
    ):
        (output,) = outputs(session, text)
        assert set(output.data) == {"text/plain"}
        assert len(output.data["text/plain"]) < 2500
        assert len(output.data["text/plain"].splitlines()) > 3
    (page,) = outputs(session, "g.explore(steps=4)")
    assert page.data["text/html"].startswith("<iframe ")


def test_a_cell_is_edited_and_run_again(session: Session) -> None:
    before = session.text("g")
    assert not session.run("h[0] = 0\nh[t] = ops.sigmoid(b + W @ h[t-1] + U @ x[t])", "state")
    after = session.text("g")
    assert "h[t] = sigmoid(b + W @ h[t-1] + U @ x[t])" in after
    assert "tanh" not in after
    (refused,) = session.run("h[t] = 2 * h[t-1]", "another")
    assert refused.ename == "DoubleDefinitionError"
    assert refused.evalue.endswith("run from Template(...) again.")
    assert "In[" in refused.evalue
    assert not session.run("h[0] = 0\nh[t] = ops.tanh(b + W @ h[t-1] + U @ x[t])", "state")
    assert session.text("g") == before
    assert session.text("net.loss(params, x=X, y=Y) == loss") == "True\n"


def test_nbconvert_makes_pages_and_latex(session: Session) -> None:
    exporters = pytest.importorskip("nbconvert.exporters", reason="nbconvert is not installed: pip install nbconvert")
    cells = [c for c in session.notebook.cells if not any(o.output_type == "error" for o in c.outputs)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    page, _ = exporters.HTMLExporter().from_notebook_node(notebook)
    assert page.count('<img alt="elman') >= 3
    assert "<iframe " in page
    latex, resources = exporters.LatexExporter().from_notebook_node(notebook)
    pictures = [name for name in resources["outputs"] if name.endswith(".png")]
    assert latex.count(r"\adjustimage") == len(pictures)
    assert len(pictures) in (0, 3), "none without an engine for PNG"
    assert r"\begin{aligned}" in latex
