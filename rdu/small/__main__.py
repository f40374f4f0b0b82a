"""``python -m rdu.small``: train the experts and the router that come with the package."""

from __future__ import annotations

from pathlib import Path

from rich.progress import Progress

from rdu.small.model import Decoder
from rdu.small.router import WordRouter
from rdu.small.texts import TOPICS, text_of
from rdu.small.training import Recipe, train


def main() -> None:
    """Train and write everything; some minutes an expert."""
    folder = Path(__file__).resolve().parent / "weights"
    texts = {topic: text_of(topic) for topic in TOPICS}
    WordRouter.train(texts).save(folder / "router.npz")
    for topic, text in texts.items():
        _train(topic, text).save(folder / f"{topic}.npz")


def _train(topic: str, text: str) -> Decoder:
    recipe = Recipe()
    with Progress() as bar:
        task = bar.add_task(topic, total=recipe.steps)

        def show(step: int, loss: float) -> None:
            bar.update(task, completed=step + 1, description=f"{topic}, loss {loss:.3f}")

        return train(text, recipe, show)


if __name__ == "__main__":
    main()
