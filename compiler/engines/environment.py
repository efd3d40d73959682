"""Variables of a service's environment that would undo what the plan decided or counted.

They are judged by name alone: a value under `secrets` is never seen.

What starts an engine is a shell, which hands it secrets as variables. A name that means something
to that shell, to the loader, to a library or to Python is none for a secret: its value would be
obeyed, or printed where it cannot be (`bash: warning: setlocale: LC_ALL: cannot change locale (…)`,
`ld.so: object '…' from LD_PRELOAD cannot be preloaded`, `Invalid -W option ignored: …`).
"""

from __future__ import annotations

from collections.abc import Iterator
from types import MappingProxyType

from compiler.engines.registry import engine_of
from compiler.engines.variables import managed_variable, uncosted_variable
from compiler.ir.credentials import names_secret
from compiler.ir.demand import ArgumentProblem
from compiler.ir.spec import Service

_DEVICES = "Say `placement` in the service."
_FOLDERS = "The plan gives each replica its folders."

# Set by the plan or by an emitted file, or read in their place.
_MANAGED = MappingProxyType(
    {
        "CUDA_VISIBLE_DEVICES": _DEVICES,
        "CUDA_DEVICE_ORDER": _DEVICES,
        "NVIDIA_VISIBLE_DEVICES": _DEVICES,
        "CACHE_DIRECTORY": _FOLDERS,
        "CREDENTIALS_DIRECTORY": _FOLDERS,
        "HF_HOME": _FOLDERS,
        "HOME": _FOLDERS,
        "XDG_CACHE_HOME": _FOLDERS,
        "PATH": "The inventory says where the engine's program is, under `engines`.",
    }
)

# Read by the loader, the CUDA driver or cuBLAS, whatever the engine.
_UNCOSTED = MappingProxyType(
    {
        "CUBLAS_WORKSPACE_CONFIG": "it is the size of cuBLAS's workspaces",
        "CUBLASLT_WORKSPACE_SIZE": "it is the size of cuBLAS's workspaces",
        "CUDA_MODULE_LOADING": "kernels that are loaded at once take memory",
        "LD_AUDIT": "code of your own allocates what it likes",
        "LD_PRELOAD": "code of your own allocates what it likes",
    }
)
# Read by the shells that start an engine: what they would run or say before they become it.
_OF_SHELLS = MappingProxyType(
    {
        **dict.fromkeys(("BASH_ENV", "ENV"), "the shell that starts the engine would run that"),
        **dict.fromkeys(
            ("BASHOPTS", "BASH_XTRACEFD", "PS4", "SHELLOPTS"),
            "the shell that starts the engine would do more than that, and say it",
        ),
        **dict.fromkeys(
            ("IFS", "LINENO", "OLDPWD", "OPTIND", "PPID", "PWD", "SHLVL", "_"),
            "the shell that starts the engine has a value of its own for it",
        ),
        "NOTIFY_SOCKET": "systemd would take others' word for the engine's",
    }
)
# Variables of the lines that start an engine.
_OURS = "modelc_"

# No secret may have these names, and `env` may: they are settings of the shell (bash(1), dash(1)),
# of the C library, of systemd (systemd.exec(5)) and of whatever else comes up before the engine.
_SETTINGS = frozenset(
    {
        *("_", "ATTY", "CDPATH", "CHILD_MAX", "COLUMNS", "DIRSTACK", "DISPLAY", "EDITOR", "EUID"),
        *(
            "EPOCHREALTIME",
            "EPOCHSECONDS",
            "EXECIGNORE",
            "FCEDIT",
            "FIGNORE",
            "FUNCNAME",
            "FUNCNEST",
        ),
        *("GLOBIGNORE", "GLOBSORT", "GROUPS", "HISTCMD", "HOSTALIASES", "HOSTNAME", "HOSTTYPE"),
        *("GCONV_PATH", "GETCONF_DIR", "GREP_COLOR", "GREP_COLORS", "GREP_OPTIONS", "IFS"),
        *("IGNOREEOF", "INPUTRC", "INVOCATION_ID", "INSIDE_EMACS", "JOURNAL_STREAM", "LANG"),
        *(
            "LANGUAGE",
            "LINENO",
            "LINES",
            "LISTEN_FDNAMES",
            "LISTEN_FDS",
            "LISTEN_PID",
            "LOCALDOMAIN",
        ),
        *(
            "LOCPATH",
            "LOGNAME",
            "MACHTYPE",
            "MAIL",
            "MAILCHECK",
            "MAILPATH",
            "MAINPID",
            "MANAGERPID",
        ),
        *("MAPFILE", "NIS_PATH", "NLSPATH", "NO_COLOR", "OLDPWD", "OPTARG", "OPTERR", "OPTIND"),
        *(
            "OSTYPE",
            "PAGER",
            "PIPESTATUS",
            "POSIXLY_CORRECT",
            "PPID",
            "PROMPT_COMMAND",
            "PS0",
            "PS1",
        ),
        *(
            "PS2",
            "PS3",
            "PWD",
            "RANDOM",
            "READLINE_LINE",
            "REMOTE_ADDR",
            "REPLY",
            "RESOLV_HOST_CONF",
        ),
        *("RES_OPTIONS", "SECONDS", "SHELL", "SHLVL", "SRANDOM", "TERM", "TERMCAP", "TERMINFO"),
        *(
            "TIMEFORMAT",
            "TMOUT",
            "TMP",
            "TEMP",
            "TMPDIR",
            "TZ",
            "TZDIR",
            "UID",
            "USER",
            "auto_resume",
        ),
        *("histchars", "CONFIGURATION_DIRECTORY", "EXIT_CODE", "EXIT_STATUS", "FDSTORE", "PIDFILE"),
        *(
            "LOGS_DIRECTORY",
            "MONITOR_UNIT",
            "RUNTIME_DIRECTORY",
            "SERVICE_RESULT",
            "STATE_DIRECTORY",
        ),
        *("TRIGGER_UNIT", "CC", "CXX", "CFLAGS", "CXXFLAGS", "LDFLAGS", "CPATH", "LIBRARY_PATH"),
    }
)
_SETTING_PREFIXES = (
    *("BASH", "COMP_", "COPROC", "HIST", "LC_", "LD_", "READLINE_"),
    *("GLIBC_", "MALLOC_", "MEMORY_PRESSURE_", "SYSTEMD_", "WATCHDOG_", "XDG_"),
    *("PYTHON", "PIP_", "VIRTUAL_ENV", "CONDA_", "C_INCLUDE_", "CPLUS_INCLUDE_"),
    *("CUDA_", "CUBLAS", "CUDNN_", "NVIDIA_", "NCCL_", "NVSHMEM_", "UCX_", "GLOO_", "FI_"),
    *("GOMP_", "KMP_", "MKL_", "OMP_", "ONEDNN_", "DNNL_", "OPENBLAS_", "NUMEXPR_", "RAYON_"),
    *("TORCH", "PYTORCH", "TRITON_", "TOKENIZERS_", "TRANSFORMERS_", "VLLM_", "GGML_", "LLAMA_"),
)

# The client of a multi-process server has its memory limits, and its context, from there.
_UNCOSTED_PREFIX = "CUDA_MPS_"


def environment_problems(service: Service) -> Iterator[ArgumentProblem]:
    """What is wrong with the variables of a service, `env` before `secrets`; each name once."""
    engines = tuple(dict.fromkeys(variant.engine for variant in service.variants))
    for name in dict.fromkeys((*service.env, *service.secrets)):
        found = (engine_of(engine).check_variable(name) for engine in engines)
        problem = _common_problem(name) or next(filter(None, found), None)
        if problem is None and name in service.secrets:
            problem = _secret_problem(name)
        if problem:
            yield problem


def _common_problem(name: str) -> ArgumentProblem | None:
    if name in _MANAGED:
        return managed_variable(name, _MANAGED[name])
    if name in _UNCOSTED:
        return uncosted_variable(name, _UNCOSTED[name])
    if name in _OF_SHELLS:
        return ArgumentProblem(
            code="managed-argument",
            argument=name,
            detail=f"`{name}` reaches more than the engine: {_OF_SHELLS[name]}.",
            hint="Take it out.",
        )
    if name.startswith(_OURS):
        return managed_variable(name, f"Names that begin with `{_OURS}` are modelc's own.")
    if name.startswith(_UNCOSTED_PREFIX):
        return uncosted_variable(name, "the CUDA context is another process's")
    return None


def _secret_problem(name: str) -> ArgumentProblem | None:
    """Whether a name is one that a setting has, and not one that a key, a token or a URL has."""
    is_setting = name in _SETTINGS or (
        name.startswith(_SETTING_PREFIXES) and not names_secret(name)
    )
    if not is_setting:
        return None
    return ArgumentProblem(
        code="secret-name",
        argument=name,
        detail=f"`{name}` is a setting of the shell, the system or a library that starts before "
        "the engine or in it: a secret's value would be obeyed, or printed as a wrong one.",
        hint="Give it the name by which the engine asks for a key or a token, as `VLLM_API_KEY` or "
        f"`HF_TOKEN`; if the value is no secret, write it under `env: {{{name}: ...}}`.",
    )
