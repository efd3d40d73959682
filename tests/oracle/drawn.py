"""Model shapes that nobody chose: drawn at random, the same for the same name."""

from __future__ import annotations

from random import Random

from tests.generators.gguf_dense import gemma, llama, phi3, qwen2, qwen3
from tests.generators.gguf_draft import Shape

PREFIX = "drawn-"
_FAMILIES = ("llama", "mixture", "qwen2", "qwen3", "qwen3moe", "gemma", "phi3")


def name_of(random: Random) -> str:
    """The name of a shape that is drawn next."""
    return f"{PREFIX}{random.randrange(1 << 30)}"


def shape(name: str) -> Shape:
    """The shape behind a name: a family, and dimensions as its models have them."""
    random = Random(name)  # noqa: S311 - repeatable on purpose
    family = random.choice(_FAMILIES)
    layers = random.randint(3, 72)
    head = random.choice((64, 96, 128))
    kv = random.choice((1, 2, 4, 8))
    heads = kv * random.choice((1, 2, 3, 4, 6, 8))
    # Rows of K quants are of whole blocks of 256.
    width = 256 * max(1, heads * head // 256)
    forward = 256 * random.randint(4, 96)
    vocabulary = 64 * random.randint(500, 4000)
    context = 1024 * random.choice((4, 8, 32, 128))
    experts, used = random.choice((8, 16, 64, 128)), random.choice((1, 2, 4, 8))
    tied = random.random() < 0.3
    if family == "llama":
        sizes = (layers, width, forward, heads, kv, vocabulary, context)
        return llama(*sizes, head=head, tied=tied, freqs=random.random() < 0.3)
    if family == "mixture":
        sizes = (layers, width, forward, heads, kv, vocabulary, context)
        return llama(*sizes, head=head, experts=experts, used=used)
    if family == "qwen3":
        return qwen3(layers, width, forward, heads, kv, tied=tied)
    if family == "qwen3moe":
        expert = 256 * random.randint(1, 8)
        return qwen3(layers, width, forward, heads, kv, experts=experts, used=used, expert=expert)
    if family == "gemma":
        window, version = random.choice((512, 1024, 4096)), random.choice((2, 3))
        sizes = (layers, width, forward, heads, kv, vocabulary, context)
        return gemma(version, *sizes, head, window)
    # Their heads are as wide as the model divided by them.
    heads = width // 64
    kv = random.choice([each for each in (1, 2, 4, 8, heads) if heads % each == 0])
    make = qwen2 if family == "qwen2" else phi3
    return make(layers, width, forward, heads, kv, vocabulary, context)
