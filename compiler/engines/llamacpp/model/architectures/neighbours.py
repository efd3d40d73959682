"""Architectures of attention alone whose weights and caches were looked at, and no more."""

from __future__ import annotations

from compiler.engines.llamacpp.model.architectures.record import Architecture

ROWS: dict[str, Architecture] = {
    "apertus": Architecture(source="models/apertus.cpp", proven="neighbour"),
    "arctic": Architecture(source="models/arctic.cpp", proven="neighbour"),
    "bailingmoe": Architecture(source="models/bailingmoe.cpp", proven="neighbour"),
    "bitnet": Architecture(source="models/bitnet.cpp", proven="neighbour"),
    "bloom": Architecture(source="models/bloom.cpp", proven="neighbour", layer_norm=True),
    "chameleon": Architecture(source="models/chameleon.cpp", proven="neighbour"),
    "chatglm": Architecture(source="models/chatglm.cpp", proven="neighbour"),
    "codeshell": Architecture(source="models/codeshell.cpp", proven="neighbour", layer_norm=True),
    "cogvlm": Architecture(source="models/cogvlm.cpp", proven="neighbour"),
    "dbrx": Architecture(source="models/dbrx.cpp", proven="neighbour", layer_norm=True),
    "deci": Architecture(source="models/deci.cpp", proven="neighbour"),
    "deepseek2-ocr": Architecture(source="models/deepseek2ocr.cpp", proven="neighbour"),
    "falcon": Architecture(source="models/falcon.cpp", proven="neighbour", layer_norm=True),
    "gpt2": Architecture(source="models/gpt2.cpp", proven="neighbour", layer_norm=True),
    "gptneox": Architecture(source="models/gptneox.cpp", proven="neighbour", layer_norm=True),
    "granite_swa": Architecture(source="models/granite-swa.cpp", proven="neighbour"),
    "grok": Architecture(source="models/grok.cpp", proven="neighbour", scaled=True),
    "grovemoe": Architecture(source="models/grovemoe.cpp", proven="neighbour"),
    "hunyuan_vl": Architecture(source="models/hunyuan-vl.cpp", proven="neighbour"),
    "hy_v3": Architecture(source="models/hy-v3.cpp", proven="neighbour", drafts_itself=True),
    "jais": Architecture(source="models/jais.cpp", proven="neighbour", layer_norm=True),
    "jais2": Architecture(
        source="models/jais2.cpp", proven="neighbour", layer_norm=True, squared=True
    ),
    "maple": Architecture(source="models/maple.cpp", proven="neighbour"),
    "mimo2": Architecture(source="models/mimo2.cpp", proven="neighbour", drafts_itself=True),
    "mistral4": Architecture(source="models/mistral4.cpp", proven="neighbour"),
    "mpt": Architecture(source="models/mpt.cpp", proven="neighbour", layer_norm=True),
    "olmo": Architecture(source="models/olmo.cpp", proven="neighbour", layer_norm=True),
    "openelm": Architecture(source="models/openelm.cpp", proven="neighbour"),
    "paddleocr": Architecture(source="models/paddleocr.cpp", proven="neighbour"),
    "phi2": Architecture(source="models/phi2.cpp", proven="neighbour", layer_norm=True),
    "plamo": Architecture(source="models/plamo.cpp", proven="neighbour"),
    "qwen": Architecture(source="models/qwen.cpp", proven="neighbour"),
    "refact": Architecture(source="models/refact.cpp", proven="neighbour"),
    "spark2_5": Architecture(source="models/spark2-5.cpp", proven="neighbour"),
    "starcoder": Architecture(source="models/starcoder.cpp", proven="neighbour", layer_norm=True),
    "talkie": Architecture(source="models/talkie.cpp", proven="neighbour"),
}
