"""The examples of the README and of the guides run as they are printed."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import replication
from replication import class_balanced_weights

ROOT = Path(__file__).resolve().parents[2]
GUIDES = ROOT / "docs" / "guides"


def code(path: Path) -> str:
    return "\n".join(re.findall(r"^```python\n(.*?)^```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL))


def run(path: Path, **names) -> dict:
    exec(compile(code(path), str(path), "exec"), names)
    return names


@pytest.mark.parametrize("page", ["README.md", "docs/beta.md", "docs/api.md"])
def test_page_runs(page, capsys):
    assert code(ROOT / page)
    run(ROOT / page)


@pytest.mark.parametrize("path", sorted(GUIDES.glob("*.md")), ids=lambda path: path.stem)
def test_guide_is_six_lines_beside_its_imports(path):
    lines = [line for line in code(path).splitlines() if line and not re.match(r"import |from ", line)]
    assert len(lines) <= 6


def test_readme_and_pytorch_guide_reach_a_gradient():
    for page in (ROOT / "README.md", GUIDES / "pytorch.md"):
        names = run(page)
        assert names["logits"].grad.isfinite().all() and names["logits"].grad.abs().sum() > 0
    wanted = class_balanced_weights(names["labels"].bincount().numpy(), 0.99)
    assert torch.allclose(names["criterion"].weight.double(), torch.from_numpy(wanted), rtol=1e-6)


def test_every_public_name_is_on_the_api_page():
    page = (ROOT / "docs" / "api.md").read_text()
    assert set(re.findall(r":: replication\.(\w+)$", page, re.MULTILINE)) - {"losses"} == set(replication.__all__)


def batch():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(8, 5, generator=generator), torch.arange(8) % 3


def test_lightning_trains_with_it():
    lightning = pytest.importorskip("lightning")
    guide = run(GUIDES / "lightning.md")["Classifier"]

    class Classifier(guide):
        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    model = Classifier(torch.nn.Linear(5, 3), [90, 9, 1])
    before = model.model.weight.detach().clone()
    images, target = batch()
    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(images, target), batch_size=4)
    trainer = lightning.Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, data)
    assert not torch.equal(model.model.weight, before)


def test_hugging_face_trainer_trains_with_it(tmp_path):
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.head = torch.nn.Linear(5, 3)

        def forward(self, inputs, labels=None):
            return SimpleNamespace(logits=self.head(inputs))

    images, target = batch()
    rows = [{"inputs": image, "labels": label} for image, label in zip(images, target, strict=True)]
    args = transformers.TrainingArguments(
        tmp_path,
        max_steps=2,
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        remove_unused_columns=False,
        save_strategy="no",
    )
    model = Model()
    before = model.head.weight.detach().clone()
    names = run(
        GUIDES / "hugging_face.md", model=model, args=args, train_dataset=rows, class_counts=torch.tensor([90, 9, 1])
    )
    names["trainer"].train()
    assert not torch.equal(model.head.weight, before)
