"""Names that llama-server does not serve, and those whose memory nobody has followed."""

from __future__ import annotations

from compiler.engines.llamacpp.model.architectures.record import Architecture

ROWS: dict[str, Architecture] = {
    "clip": Architecture(source="models/clip.cpp", no_model="a projector"),
    "dflash": Architecture(
        source="models/dflash.cpp", no_model="a draft model", drafts_from_hidden=True
    ),
    "dots3note": Architecture(source="models/dots3note.cpp"),
    "eagle3": Architecture(
        source="models/eagle3.cpp", no_model="a draft model", drafts_from_hidden=True
    ),
    "gemma4-assistant": Architecture(
        source="models/gemma4-assistant.cpp", no_model="a draft model", drafts_from_hidden=True
    ),
    "gptj": Architecture(no_model="a name without a graph"),
    "graniteswitch": Architecture(source="models/granite-switch.cpp"),
    "hrm_text": Architecture(source="models/hrm-text.cpp"),
    "nanbeige": Architecture(source="models/nanbeige.cpp", large_graph=True),
    "plamo2": Architecture(source="models/plamo2.cpp", hybrid=True),
    "plm": Architecture(source="models/plm.cpp", squared=True),
    "pockettts": Architecture(source="models/pockettts.cpp", no_model="a model of speech"),
    "qwen3tts": Architecture(no_model="a model of speech"),
    "t5": Architecture(source="models/t5.cpp", encoder_blocks=True),
    "wavtokenizer-dec": Architecture(
        source="models/wavtokenizer-dec.cpp", no_model="a decoder of sound"
    ),
}
