"""What vLLM's classes of models that see or hear ask for beside their configuration.

None of it changes a parameter: torchvision prepares pictures, the tokenizer knows the numbers of
special words, and some configurations are code of the model's own repository.
"""

from __future__ import annotations

import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

# Models whose configuration is code of their repository, with the language model whose
# configuration theirs extends; None where all sizes are said.
_OWN_CODE = {
    "ernie4_5_moe_vl": None,
    "internvl_chat": None,
    "minicpmv": "qwen2",
    "phi3_v": "phi3",
    "pixtral": None,
}
_SECTIONS = ("vision_config", "text_config", "llm_config")


class _Nothing(type):
    """A class whose attributes are classes of the same kind."""

    def __getattr__(cls, name: str) -> Any:  # noqa: ANN401, it stands for anything.
        if name.startswith("__"):
            raise AttributeError(name)
        return _Nothing(name, (), {})


_PROCESSOR = _Nothing("Processor", (), {})


class _Module(ModuleType):
    """A module that has every name, and nothing behind it."""

    __path__: list[str] = []  # noqa: RUF012, the import system asks for a list.

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401, as above.
        if name.startswith("__"):
            raise AttributeError(name)
        return _Nothing(name, (), {})


class _Pictures(MetaPathFinder, Loader):
    """Finds torchvision, which the CPU build of vLLM is installed without."""

    def find_spec(self, name: str, path: object, target: object = None) -> ModuleSpec | None:
        del path, target
        own = name.partition(".")[0] == "torchvision"
        return ModuleSpec(name, self, is_package=True) if own else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Module(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """There is nothing to run."""


class _Words(dict[str, int]):
    def __missing__(self, word: str) -> int:
        return 1


class _Tokenizer:
    """Calls every word by the number 1."""

    vocab = _Words()

    def get_vocab(self) -> dict[str, int]:
        return self.vocab

    def encode(self, *_: object, **__: object) -> list[int]:
        return [1]

    def decode(self, *_: object, **__: object) -> str:
        return ""

    def convert_tokens_to_ids(self, _: object) -> int:
        return 1

    def __getattr__(self, name: str) -> int:
        if name.endswith("_id"):
            return 1
        raise AttributeError(name)


def stand_in() -> None:
    """Puts stand-ins where processors, tokenizers and torchvision are asked for."""
    import torch  # type: ignore[import-not-found]
    import transformers.image_utils  # type: ignore[import-not-found]  # noqa: F401, before the finder.
    import vllm.tokenizers  # type: ignore[import-not-found]
    import vllm.transformers_utils.processor  # type: ignore[import-not-found]
    from vllm.model_executor.models import registry  # type: ignore[import-not-found]
    from vllm.multimodal.processing import context  # type: ignore[import-not-found]

    move = torch.nn.Module.to

    def stay(self: Any, *places: Any, **named: Any) -> Any:  # noqa: ANN401, torch is not ours.
        """Nothing leaves the meta device, though some classes move their towers; types change."""
        types = [each for each in (*places, *named.values()) if isinstance(each, torch.dtype)]
        return move(self, dtype=types[0]) if types else self

    torch.nn.Module.to = stay
    sys.meta_path.append(_Pictures())
    # Classes are inspected in a process of their own, which would not have the finder.
    registry._run_in_subprocess = lambda function: function()
    context.InputProcessingContext.get_tokenizer = lambda _: _Tokenizer()
    vllm.transformers_utils.processor.cached_get_image_processor = lambda *_, **__: _PROCESSOR
    vllm.tokenizers.cached_tokenizer_from_config = lambda *_, **__: _Tokenizer()


def know(config: dict[str, Any]) -> None:
    """Makes transformers read a configuration that is code of the model's repository."""
    from transformers import (
        CONFIG_MAPPING,
        AutoConfig,
        PixtralVisionConfig,
        PretrainedConfig,
    )
    from vllm.transformers_utils.configs.dotsocr import (  # type: ignore[import-not-found]
        DotsOCRConfig,
    )

    kind = config["model_type"]
    AutoConfig.register("dots_ocr", DotsOCRConfig, exist_ok=True)
    # The name of Mistral's own format is also that of the tower of others.
    AutoConfig.register("pixtral", PixtralVisionConfig, exist_ok=True)
    if kind not in _OWN_CODE:
        return
    base = CONFIG_MAPPING[_OWN_CODE[kind]] if _OWN_CODE[kind] else PretrainedConfig

    def section(values: dict[str, Any]) -> Any:  # noqa: ANN401, transformers is not ours.
        named = values.get("model_type")
        known = "siglip_vision_model" if named == "siglip" else named
        # The mapping reads its classes as they are asked for, and `get` does not ask.
        chosen = CONFIG_MAPPING[known] if known in CONFIG_MAPPING else PretrainedConfig  # noqa: SIM401
        return chosen(**{key: value for key, value in values.items() if key != "model_type"})

    def initialize(self: Any, **values: Any) -> None:  # noqa: ANN401, as above.
        nested = {key: values.pop(key) for key in _SECTIONS if isinstance(values.get(key), dict)}
        base.__init__(self, **values)
        for key, value in nested.items():
            setattr(self, key, section(value))
        if "llm_config" in nested:
            self.text_config = self.llm_config

    name = f"Config of {kind}"
    AutoConfig.register(
        kind, type(name, (base,), {"model_type": kind, "__init__": initialize}), exist_ok=True
    )
