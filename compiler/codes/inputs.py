"""Codes of the user's files, of models and of this host's GPUs."""

from __future__ import annotations

from compiler.codes.code import Code

FILES = {
    "file-missing": Code(
        "This file does not exist",
        "The folder is not a fleet's, or a file of it was never written.",
        "Name the folder that holds inventory.yaml and models.yaml; `modelc init` writes a "
        "starter, `modelc lock` writes modelc.lock.",
    ),
    "file-unreadable": Code(
        "This file cannot be read",
        "Its permissions forbid it, or it is not UTF-8 text.",
        "Change its permissions, or save it as UTF-8.",
    ),
    "file-too-large": Code(
        "This file is too large to be a modelc file",
        "Something else stands under the name of a modelc file.",
        "Look at what it is; no input of modelc comes near 64 MiB.",
    ),
    "yaml-syntax": Code(
        "This is not valid YAML",
        "An indent, a quote or a bracket is wrong.",
        "Mend the line that is named; your editor marks it with the schema in the first line.",
    ),
    "merge-conflict": Code(
        "This file is in the middle of a merge",
        "It holds both sides of a merge, with git's conflict markers between them.",
        "Keep of each part the side that is meant, and delete the marker lines.",
    ),
    "yaml-alias": Code(
        "YAML anchors and aliases are not accepted",
        "The file uses `&name` and `*name`.",
        "Write the value out, or put what hosts have in common under `defaults`. A text that "
        "begins with `*` or `&` stands in quotes.",
    ),
    "yaml-depth": Code(
        "This YAML is nested too deeply",
        "Brackets or indents go on far beyond what these files need.",
        "Take the nesting out.",
    ),
    "duplicate-key": Code(
        "This key stands here twice",
        "A block was copied, or two changes were merged.",
        "Keep one of them.",
    ),
    "unknown-key": Code(
        "This key is not known here",
        "It is misspelt, or belongs to another place of the file.",
        "Write the key that is proposed, or look it up in docs/keys.md.",
    ),
    "missing-key": Code(
        "A required key is missing",
        "The entry says too little.",
        "Add the key; docs/keys.md says what it means.",
    ),
    "wrong-type": Code(
        "This value has the wrong type",
        "A text stands where a number is wanted, a list where a map is, or the like.",
        "Write the value as docs/keys.md shows it; a text that looks like a number in quotes.",
    ),
    "wrong-value": Code(
        "This value is not allowed here",
        "It is outside what the key takes.",
        "Write one of the values that the message or docs/keys.md names.",
    ),
    "wrong-unit": Code(
        "This size has no valid unit",
        "A size is a bare number, or has a decimal unit such as GB.",
        "Write it with B, KiB, MiB, GiB or TiB, such as `24GiB`.",
    ),
    "unsafe-text": Code(
        "This text cannot be carried safely into a service file",
        "It holds a control or invisible character, or is too long for a command line.",
        "Take the character out; put what is long into a file that the argument names.",
    ),
    "unused-setting": Code(
        "Nothing reads this setting",
        "Flags are given for an engine that the service does not run on.",
        "Take them out, or name that engine.",
    ),
    "secret-in-spec": Code(
        "This looks like a secret value",
        "A token or password stands in a file that goes into git.",
        "Name the variable under `secrets`; its value stays on the host. Take the value for "
        "known to others if it was ever pushed, and change it.",
    ),
}

NAMES_AND_RULES = {
    "unknown-gpu-kind": Code(
        "No GPU kind has this name",
        "The name is misspelt, or the card is not in the catalog.",
        "Write one that `modelc kinds` lists, or describe the card under `gpu_kinds`.",
    ),
    "unknown-host": Code(
        "No host has this name",
        "A rule, a pin or an option names a host that the inventory does not have.",
        "Write the host's name as it is in inventory.yaml, a range written out.",
    ),
    "service-elsewhere": Code(
        "The service does not stand on this host",
        "`--on` names a host of the inventory on which the plan puts no replica of the service.",
        "Name one of the hosts on which it stands, or leave `--on` out.",
    ),
    "unknown-service": Code(
        "No service has this name",
        "A rule or an option names a service that models.yaml, or the plan, does not have.",
        "Write the service's name as it is in models.yaml.",
    ),
    "unknown-gpu": Code(
        "The host has no GPU with this index",
        "A pin names more GPUs than the host has.",
        "Count from 0, in the order of the host's `gpus`.",
    ),
    "host-collision": Code(
        "Two entries give a host of the same name",
        "Ranges overlap, or a host stands in a range and by itself.",
        "Give each host in one entry alone.",
    ),
    "name-collision": Code(
        "Two things have the same name",
        "Two variants of a service, or other things that must be told apart, are named alike.",
        "Give one of them another name.",
    ),
    "bad-range": Code(
        "This range cannot be expanded",
        "It runs backwards, is too long, or is no range of numbers.",
        "Write it as `gpu-[01-08]`.",
    ),
    "bad-budget": Code(
        "Nothing of this GPU is left for services",
        "`reserved` or `utilization` leave nothing of its memory.",
        "Lower `reserved`, or raise `utilization`.",
    ),
    "selector-empty": Code(
        "No host or GPU matches this selector",
        "`placement` asks for labels, kinds or a compute capability that nothing has.",
        "Widen the selector, or give the hosts the label.",
    ),
    "contradiction": Code(
        "These rules contradict each other",
        "Two settings cannot hold at once, whatever the placement.",
        "Take one of them out; the message names both.",
    ),
    "engine-missing": Code(
        "No host in reach has this engine",
        "No host that the service may stand on installs the engine, or not for its target.",
        "Add the engine under `engines` (an `image` for compose and quadlet), or let the service "
        "reach other hosts.",
    ),
    "bad-engine-version": Code(
        "This engine version is not understood",
        "The version is misspelt, or older than what modelc knows.",
        "Write what `vllm --version` or `llama-server --version` prints.",
    ),
    "other-release": Code(
        "The engine that is started is not the one that is costed",
        "An image's tag or a program's path names another release than `version` or `build`.",
        "Write the same release in both: flags and memory change with it, and another engine than "
        "the plan's does not start.",
    ),
    "open-service": Code(
        "Others can reach this service without a key",
        "`listen` lets other hosts in, and the engine asks nobody for a key.",
        "Name `VLLM_API_KEY` or `LLAMA_API_KEY` under `secrets`, or write `listen: localhost` and "
        "put a proxy before it.",
    ),
    "secret-name": Code(
        "No secret can have this name",
        "The shell, the system or a library reads a variable of this name: the value would be "
        "obeyed, or printed as a wrong one.",
        "Give the secret the name by which the engine asks for it, such as `HF_TOKEN`.",
    ),
    "task-mismatch": Code(
        "The model cannot do this task",
        "`task` asks an embedder to chat, a chat model to rerank, or the like.",
        "Correct `task`, or choose a model that is made for it.",
    ),
    "engine-format": Code(
        "The engine cannot load this kind of model",
        "The file's format or architecture is not one that this version of the engine serves.",
        "Name the other engine, another file of the model, or a newer engine.",
    ),
    "context-too-long": Code(
        "The context is longer than the model allows",
        "`context` is beyond the positions that the model was made for.",
        "Lower `context`, or stretch it by the engine's own flags (RoPE scaling).",
    ),
    "unknown-argument": Code(
        "The engine does not know this argument",
        "It is misspelt, or this version of the engine does not have it (any more, or yet).",
        "Write the name that is proposed, as the engine's own help lists it.",
    ),
    "managed-argument": Code(
        "modelc sets this argument itself",
        "A flag would undo what the plan decides: ports, GPUs, memory, names.",
        "Take it out; the message says which key of modelc takes its place.",
    ),
    "unsupported-argument": Code(
        "The memory law does not cover this argument",
        "The flag changes memory in a way that modelc cannot foretell.",
        "Take it out, or serve that model outside of the plan and `reserve` its memory.",
    ),
    "file-out-of-reach": Code(
        "An argument names a file that the replica cannot reach",
        "The path is relative, or lies where a unit or container does not look.",
        "Put the file below `models_dir`, or name it by an absolute path.",
    ),
    "wrong-argument": Code(
        "This argument has a value that the engine refuses",
        "The engine would not start with it.",
        "Write a value that the message names.",
    ),
}

MODELS = {
    "lock-missing": Code(
        "A model source is not in modelc.lock",
        "models.yaml names a model that was not locked since.",
        "Run `modelc lock`.",
    ),
    "lock-stale": Code(
        "modelc.lock does not match the sources",
        "A local file is not the one that was locked.",
        "Run `modelc lock --update SOURCE` and review what it changes.",
    ),
    "lock-version": Code(
        "modelc.lock is of another schema version",
        "Another version of modelc wrote it.",
        "Delete it and run `modelc lock`, or install the modelc that wrote it.",
    ),
    "lock-corrupt": Code(
        "modelc.lock is not valid",
        "It was edited by hand, or a merge left its marks.",
        "Bring it back with git, or delete it and run `modelc lock`.",
    ),
    "source-missing": Code(
        "This model source cannot be found",
        "The name is misspelt, the model is private or gated, or a path leads nowhere.",
        "Correct the name; for a gated model accept its terms on the hub and set HF_TOKEN.",
    ),
    "source-invalid": Code(
        "This model source is not understood",
        "It is neither `org/repo[@revision][:quant or file]`, `name:tag` nor a path.",
        "Write it in one of these forms; a pasted address is answered with the source to write.",
    ),
    "source-corrupt": Code(
        "This model file is damaged",
        "A download was cut off, or the file is no model.",
        "Fetch it again and compare its checksum.",
    ),
    "source-network": Code(
        "The model hub cannot be reached",
        "There is no network, a proxy is in the way, or the hub is down.",
        "Check the network, HTTPS_PROXY, HF_ENDPOINT and HF_HUB_OFFLINE, and run it again: what "
        "modelc.lock holds is not asked for anew. Without any network, name local files.",
    ),
    "facts-missing": Code(
        "The model's files do not say enough",
        "Headers or config.json lack what the memory law needs.",
        "Use a complete conversion of the model.",
    ),
}

DISCOVERY = {
    "nvml-missing": Code(
        "No NVIDIA driver answers on this host",
        "There is an NVIDIA GPU and no driver, or GPUs are named of a host without.",
        "Install the driver, or describe the host in inventory.yaml by hand.",
    ),
    "nvml-failed": Code(
        "The NVIDIA driver reports an error",
        "The driver and its library are of different versions, or a GPU is lost.",
        "Look at `nvidia-smi`; often a restart of the host is due after an update.",
    ),
}
