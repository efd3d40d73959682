"""The built-in catalog of GPU kinds."""

from __future__ import annotations

from functools import cache

from compiler.ir.inventory import GpuKind, Link
from compiler.ir.units import MIB

# name, MiB as NVML reports it, MiB as cudaMemGetInfo reports it, compute capability, link,
# memory bandwidth in 10^9 bytes a second, SMs.
# NVML totals are what nvidia-smi prints for the card; for those in _ASSUMED nobody was found who
# had seen it, and the figure is that of a card with as much on its box.
# CUDA totals are what vLLM and torch print at start-up (79.18 GiB on an H100, 139.81 on an H200,
# 44.42 on an L40S, 44.53 on an L20, 31.36 on an RTX 5090, 23.5 on an RTX 4090 or 3090, 47.37 on an
# RTX 6000 Ada, 95.0 on an RTX PRO 6000, 267.7 on a B300); for cards of which no such log is known:
# 98 % of the NVML total (0 here), below every card that was measured (97.9 % to 99.9 %).
# Cards whose memory was doubled by third parties stand under the name that the driver gives them,
# with their size behind it.
_Row = tuple[str, int, int, str, Link, int, int]
_ROWS: tuple[_Row, ...] = (
    # GTX 10 and 16 series
    ("gtx-1050-ti", 4096, 4014, "6.1", "pcie", 112, 6),
    ("gtx-1060-3gb", 3072, 0, "6.1", "pcie", 192, 9),
    ("gtx-1060-6gb", 6144, 6021, "6.1", "pcie", 192, 10),
    ("gtx-1070", 8192, 8028, "6.1", "pcie", 256, 15),
    ("gtx-1070-ti", 8192, 8028, "6.1", "pcie", 256, 19),
    ("gtx-1080", 8192, 8028, "6.1", "pcie", 320, 20),
    ("gtx-1080-ti", 11264, 11038, "6.1", "pcie", 484, 28),
    ("titan-xp", 12288, 0, "6.1", "pcie", 548, 30),
    ("gtx-1650", 4096, 3903, "7.5", "pcie", 128, 14),
    ("gtx-1650-super", 4096, 0, "7.5", "pcie", 192, 20),
    ("gtx-1660", 6144, 5935, "7.5", "pcie", 192, 22),
    ("gtx-1660-super", 6144, 5935, "7.5", "pcie", 336, 22),
    ("gtx-1660-ti", 6144, 5935, "7.5", "pcie", 288, 24),
    # RTX 20 series
    ("rtx-2060", 6144, 5935, "7.5", "pcie", 336, 30),
    ("rtx-2060-12gb", 12288, 12042, "7.5", "pcie", 336, 34),
    ("rtx-2060-super", 8192, 7974, "7.5", "pcie", 448, 34),
    ("rtx-2070", 8192, 7974, "7.5", "pcie", 448, 36),
    ("rtx-2070-super", 8192, 7974, "7.5", "pcie", 448, 40),
    ("rtx-2080", 8192, 7974, "7.5", "pcie", 448, 46),
    ("rtx-2080-super", 8192, 7974, "7.5", "pcie", 496, 48),
    ("rtx-2080-ti", 11264, 11008, "7.5", "pcie", 616, 68),
    ("rtx-2080-ti-22gb", 22528, 0, "7.5", "pcie", 616, 68),
    ("titan-v", 12288, 0, "7.0", "pcie", 653, 80),
    ("titan-rtx", 24576, 0, "7.5", "pcie", 672, 72),
    # RTX 30 series
    ("rtx-3050", 8192, 7967, "8.6", "pcie", 224, 20),
    ("rtx-3050-6gb", 6144, 0, "8.6", "pcie", 168, 18),
    ("rtx-3060", 12288, 12036, "8.6", "pcie", 360, 28),
    ("rtx-3060-8gb", 8192, 7967, "8.6", "pcie", 240, 28),
    ("rtx-3060-laptop", 6144, 0, "8.6", "pcie", 336, 30),
    ("rtx-3060-ti", 8192, 7967, "8.6", "pcie", 448, 38),
    ("rtx-3070", 8192, 7967, "8.6", "pcie", 448, 46),
    ("rtx-3070-ti", 8192, 7967, "8.6", "pcie", 608, 48),
    ("rtx-3080", 10240, 10009, "8.6", "pcie", 760, 68),
    ("rtx-3080-12gb", 12288, 12036, "8.6", "pcie", 912, 70),
    ("rtx-3080-20gb", 20480, 0, "8.6", "pcie", 760, 68),
    ("rtx-3080-laptop", 16384, 15993, "8.6", "pcie", 448, 48),
    ("rtx-3080-ti-laptop", 16384, 15993, "8.6", "pcie", 512, 58),
    ("rtx-3080-ti", 12288, 12036, "8.6", "pcie", 912, 80),
    ("rtx-3090", 24576, 24080, "8.6", "pcie", 936, 82),
    ("rtx-3090-ti", 24564, 24080, "8.6", "pcie", 1008, 84),
    # RTX 40 series
    ("rtx-4050-laptop", 6141, 0, "8.9", "pcie", 192, 20),
    ("rtx-4060", 8188, 7957, "8.9", "pcie", 272, 24),
    ("rtx-4060-ti", 8188, 7957, "8.9", "pcie", 288, 34),
    ("rtx-4060-ti-16gb", 16380, 15948, "8.9", "pcie", 288, 34),
    ("rtx-4070", 12282, 11994, "8.9", "pcie", 504, 46),
    ("rtx-4070-super", 12282, 11994, "8.9", "pcie", 504, 56),
    ("rtx-4070-ti", 12282, 11994, "8.9", "pcie", 504, 60),
    ("rtx-4070-ti-super", 16376, 15948, "8.9", "pcie", 672, 66),
    ("rtx-4080", 16376, 15948, "8.9", "pcie", 717, 76),
    ("rtx-4080-super", 16376, 15948, "8.9", "pcie", 736, 80),
    ("rtx-4080-super-32gb", 32760, 0, "8.9", "pcie", 736, 80),
    ("rtx-4080-laptop", 12282, 11994, "8.9", "pcie", 432, 58),
    ("rtx-4090", 24564, 24080, "8.9", "pcie", 1008, 128),
    ("rtx-4090-48gb", 49140, 48510, "8.9", "pcie", 1008, 128),
    ("rtx-4090-d", 24564, 24080, "8.9", "pcie", 1008, 114),
    ("rtx-4090-d-48gb", 49140, 48510, "8.9", "pcie", 1008, 114),
    ("rtx-4090-laptop", 16376, 15948, "8.9", "pcie", 576, 76),
    # RTX 50 series
    ("rtx-5050", 8151, 7804, "12.0", "pcie", 320, 20),
    ("rtx-5060", 8151, 7804, "12.0", "pcie", 448, 30),
    ("rtx-5060-ti", 8151, 7804, "12.0", "pcie", 448, 36),
    ("rtx-5060-ti-16gb", 16311, 15849, "12.0", "pcie", 448, 36),
    ("rtx-5070", 12227, 11908, "12.0", "pcie", 672, 48),
    ("rtx-5070-ti", 16303, 15843, "12.0", "pcie", 896, 70),
    ("rtx-5080", 16303, 15843, "12.0", "pcie", 960, 84),
    ("rtx-5090", 32607, 32105, "12.0", "pcie", 1792, 170),
    ("rtx-5090-d", 32607, 32105, "12.0", "pcie", 1792, 170),
    ("rtx-5090-d-v2", 24455, 0, "12.0", "pcie", 1344, 170),
    ("rtx-5090-laptop", 24463, 0, "12.0", "pcie", 896, 82),
    ("rtx-5080-laptop", 16303, 15843, "12.0", "pcie", 896, 60),
    ("rtx-5070-ti-laptop", 12227, 11908, "12.0", "pcie", 672, 46),
    ("rtx-5070-laptop", 8151, 7804, "12.0", "pcie", 384, 36),
    # Workstation
    ("quadro-p4000", 8192, 0, "6.1", "pcie", 243, 14),
    ("quadro-p5000", 16384, 0, "6.1", "pcie", 288, 20),
    ("quadro-p6000", 24576, 0, "6.1", "pcie", 432, 30),
    ("quadro-gv100", 32768, 0, "7.0", "pcie", 870, 80),
    ("quadro-rtx-4000", 8192, 0, "7.5", "pcie", 416, 36),
    ("quadro-rtx-5000", 16384, 0, "7.5", "pcie", 448, 48),
    ("quadro-rtx-6000", 24576, 24084, "7.5", "pcie", 672, 72),
    ("quadro-rtx-8000", 49152, 48168, "7.5", "pcie", 672, 72),
    ("rtx-a1000", 8188, 0, "8.6", "pcie", 192, 18),
    ("rtx-a2000", 6138, 5928, "8.6", "pcie", 288, 26),
    ("rtx-a2000-12gb", 12282, 12036, "8.6", "pcie", 288, 26),
    ("rtx-a4000", 16376, 16108, "8.6", "pcie", 448, 48),
    ("rtx-a4500", 20470, 20060, "8.6", "pcie", 640, 56),
    ("rtx-a5000", 24564, 24248, "8.6", "pcie", 768, 64),
    ("rtx-a5500", 24564, 24248, "8.6", "pcie", 768, 80),
    ("rtx-a6000", 49140, 48676, "8.6", "pcie", 768, 84),
    ("rtx-2000-ada", 16380, 15948, "8.9", "pcie", 224, 22),
    ("rtx-4000-ada", 20475, 20065, "8.9", "pcie", 360, 48),
    ("rtx-4000-sff-ada", 20475, 20055, "8.9", "pcie", 280, 48),
    ("rtx-4500-ada", 24570, 24078, "8.9", "pcie", 432, 60),
    ("rtx-5000-ada", 32760, 32104, "8.9", "pcie", 576, 100),
    ("rtx-5880-ada", 49140, 48510, "8.9", "pcie", 960, 110),
    ("rtx-6000-ada", 49140, 48510, "8.9", "pcie", 960, 142),
    ("rtx-pro-2000", 16303, 0, "12.0", "pcie", 288, 34),
    ("rtx-pro-4000", 24467, 23977, "12.0", "pcie", 672, 70),
    ("rtx-pro-4500", 32623, 31970, "12.0", "pcie", 896, 82),
    ("rtx-pro-5000", 48935, 47956, "12.0", "pcie", 1344, 110),
    ("rtx-pro-5000-72gb", 73415, 0, "12.0", "pcie", 1344, 110),
    ("rtx-pro-6000", 97887, 97280, "12.0", "pcie", 1792, 188),
    # Data centre
    ("p4", 7680, 0, "6.1", "pcie", 192, 20),
    ("p40", 24576, 24084, "6.1", "pcie", 347, 30),
    ("p100", 16384, 16276, "6.0", "pcie", 732, 56),
    ("p100-12gb", 12288, 0, "6.0", "pcie", 549, 56),
    ("v100-16gb", 16384, 16151, "7.0", "nvlink", 900, 80),
    ("v100-32gb", 32768, 32500, "7.0", "nvlink", 900, 80),
    ("v100s-32gb", 32768, 32501, "7.0", "pcie", 1134, 80),
    ("t4", 15360, 14913, "7.5", "pcie", 320, 40),
    ("t4g", 15360, 14913, "7.5", "pcie", 320, 40),
    ("a2", 15356, 14923, "8.6", "pcie", 200, 10),
    ("a10", 23028, 22585, "8.6", "pcie", 600, 72),
    ("a10g", 23028, 22585, "8.6", "pcie", 600, 80),
    ("a16", 15356, 14923, "8.6", "pcie", 200, 10),
    ("a30", 24576, 24062, "8.0", "pcie", 933, 56),
    ("a40", 46068, 45491, "8.6", "pcie", 696, 84),
    ("a100-pcie-40gb", 40960, 40326, "8.0", "pcie", 1555, 108),
    ("a100-sxm-40gb", 40960, 40326, "8.0", "nvlink", 1555, 108),
    ("a100-pcie-80gb", 81920, 81052, "8.0", "pcie", 1935, 108),
    ("a100-sxm-80gb", 81920, 81052, "8.0", "nvlink", 2039, 108),
    ("a800-pcie-40gb", 40960, 0, "8.0", "pcie", 1555, 108),
    ("a800-pcie-80gb", 81920, 81052, "8.0", "pcie", 1935, 108),
    ("a800-sxm-80gb", 81920, 81052, "8.0", "nvlink", 2039, 108),
    ("l4", 23034, 22565, "8.9", "pcie", 300, 58),
    ("l20", 46068, 45590, "8.9", "pcie", 864, 92),
    ("l40", 46068, 45478, "8.9", "pcie", 864, 142),
    ("l40s", 46068, 45478, "8.9", "pcie", 864, 142),
    ("h100-pcie", 81559, 81007, "9.0", "pcie", 2039, 114),
    ("h100-sxm", 81559, 81079, "9.0", "nvlink", 3352, 132),
    ("h100-nvl", 95830, 95320, "9.0", "nvlink", 3938, 132),
    ("h800-pcie", 81559, 81007, "9.0", "pcie", 2039, 114),
    ("h800-sxm", 81559, 81079, "9.0", "nvlink", 3352, 132),
    ("h20", 97871, 97300, "9.0", "nvlink", 4000, 78),
    ("h20-141gb", 143771, 143165, "9.0", "nvlink", 4800, 78),
    ("h200-sxm", 143771, 143165, "9.0", "nvlink", 4800, 132),
    ("h200-nvl", 143771, 143165, "9.0", "nvlink", 4800, 132),
    ("gh200-96gb", 97871, 97280, "9.0", "nvlink", 4000, 132),
    ("gh200-144gb", 147456, 146000, "9.0", "nvlink", 4900, 132),
    ("b200", 183359, 182642, "10.0", "nvlink", 8000, 148),
    ("gb200", 189471, 0, "10.0", "nvlink", 8000, 152),
    ("b300", 275040, 274124, "10.3", "nvlink", 8000, 148),
    ("gb300", 284208, 0, "10.3", "nvlink", 8000, 152),
    ("gb300-252gb", 256703, 0, "10.3", "pcie", 7100, 152),
)

# One pool for GPU and RAM: name, MiB as MemTotal of /proc/meminfo has it (CUDA reports all of it),
# compute capability, memory bandwidth in 10^9 bytes a second, SMs. A DGX Spark has 124,546 MiB or,
# with older firmware, 122,500; Jetsons are as tegrastats prints them on JetPack 6 and 7. GH200,
# GB200 and GB300 are not of these: their HBM is a memory of its own beside the RAM.
_POOLS: tuple[tuple[str, int, str, int, int], ...] = (
    ("gb10", 124546, "12.1", 273, 48),
    ("jetson-agx-orin-32gb", 30697, "8.7", 204, 14),
    ("jetson-agx-orin-64gb", 62841, "8.7", 204, 16),
    ("jetson-agx-thor", 125772, "11.0", 273, 20),
    ("jetson-orin-nano-4gb", 3430, "8.7", 51, 4),
    ("jetson-orin-nano-8gb", 7620, "8.7", 102, 8),
    ("jetson-orin-nx-16gb", 15656, "8.7", 102, 8),
    ("jetson-orin-nx-8gb", 7620, "8.7", 102, 8),
    ("jetson-t4000", 62841, "11.0", 273, 12),
)

# Kinds whose memory nobody reported: a compile that uses one says so.
_ASSUMED = frozenset(
    {
        *("a800-pcie-40gb", "gtx-1060-3gb", "gtx-1650-super", "p100-12gb", "p4", "quadro-gv100"),
        *("quadro-p4000", "quadro-p5000", "quadro-p6000", "quadro-rtx-4000", "quadro-rtx-5000"),
        *("rtx-3050-6gb", "rtx-3060-8gb", "rtx-3060-laptop", "rtx-3080-ti-laptop"),
        *("rtx-4050-laptop", "rtx-4080-laptop", "rtx-5070-laptop", "rtx-5070-ti-laptop"),
        *("rtx-5080-laptop", "rtx-a1000", "rtx-pro-2000", "rtx-pro-5000-72gb", "titan-v"),
        *("titan-xp", "jetson-orin-nano-4gb", "jetson-t4000"),
    }
)

# MIG slices, by the sizes that NVIDIA's MIG user guide lists: name, MiB, compute capability, SMs.
_SLICES: tuple[tuple[str, int, str, int], ...] = (
    ("a30-1g.6gb", 5952, "8.0", 14),
    ("a30-2g.12gb", 11968, "8.0", 28),
    ("a30-4g.24gb", 24002, "8.0", 56),
    ("a100-40gb-1g.5gb", 4864, "8.0", 14),
    ("a100-40gb-2g.10gb", 9984, "8.0", 28),
    ("a100-40gb-3g.20gb", 20096, "8.0", 42),
    ("a100-40gb-4g.20gb", 20096, "8.0", 56),
    ("a100-40gb-7g.40gb", 40320, "8.0", 98),
    ("a100-80gb-1g.10gb", 9728, "8.0", 14),
    ("a100-80gb-2g.20gb", 19968, "8.0", 28),
    ("a100-80gb-3g.40gb", 40192, "8.0", 42),
    ("a100-80gb-4g.40gb", 40192, "8.0", 56),
    ("a100-80gb-7g.80gb", 80640, "8.0", 98),
    ("h100-80gb-1g.10gb", 9984, "9.0", 16),
    ("h100-80gb-1g.20gb", 20096, "9.0", 26),
    ("h100-80gb-2g.20gb", 20096, "9.0", 32),
    ("h100-80gb-3g.40gb", 40448, "9.0", 60),
    ("h100-80gb-4g.40gb", 40448, "9.0", 64),
    ("h100-80gb-7g.80gb", 80896, "9.0", 132),
    # Sizes of these are not at hand: 95 % of so many eighths of the card, no more than the ratio
    # of every slice above.
    ("h200-1g.18gb", 17072, "9.0", 16),
    ("h200-1g.35gb", 34145, "9.0", 26),
    ("h200-2g.35gb", 34145, "9.0", 32),
    ("h200-3g.71gb", 68291, "9.0", 60),
    ("h200-4g.71gb", 68291, "9.0", 64),
    ("h200-7g.141gb", 136582, "9.0", 132),
    ("gh200-96gb-1g.12gb", 11622, "9.0", 16),
    ("gh200-96gb-1g.24gb", 23244, "9.0", 26),
    ("gh200-96gb-2g.24gb", 23244, "9.0", 32),
    ("gh200-96gb-3g.48gb", 46488, "9.0", 60),
    ("gh200-96gb-4g.48gb", 46488, "9.0", 64),
    ("gh200-96gb-7g.96gb", 92977, "9.0", 132),
    ("b200-1g.23gb", 21773, "10.0", 18),
    ("b200-1g.45gb", 43547, "10.0", 30),
    ("b200-2g.45gb", 43547, "10.0", 36),
    ("b200-3g.90gb", 87095, "10.0", 70),
    ("b200-4g.90gb", 87095, "10.0", 72),
    ("b200-7g.180gb", 174191, "10.0", 148),
)


# Two digits, a dot and two digits: no compute capability is longer.
_MAX_COMPUTE_TEXT = 5


@cache
def builtin_kinds() -> dict[str, GpuKind]:
    """Every built-in GPU kind by name."""
    kinds = [_card(row) for row in _ROWS] + [_slice(row) for row in _SLICES]
    kinds += [_pool(row) for row in _POOLS]
    return {kind.name: kind for kind in kinds}


def parse_compute(text: str) -> tuple[int, int]:
    """The two numbers of a compute capability such as `8.9`; ValueError for anything else."""
    major, dot, minor = text.partition(".")
    digits = (major + minor).isdecimal() and text.isascii() and major and minor
    if not (dot and digits and len(text) <= _MAX_COMPUTE_TEXT):
        message = f"`{text[:20]}` is not a compute capability such as `8.9`"
        raise ValueError(message)
    return int(major), int(minor)


def _card(row: _Row) -> GpuKind:
    name, memory, cuda_total, compute, link, bandwidth, multiprocessors = row
    return GpuKind(
        name=name,
        memory_bytes=memory * MIB,
        cuda_total_bytes=(cuda_total * MIB) or memory * MIB * 98 // 100,
        compute=parse_compute(compute),
        link=link,
        bandwidth_bytes=bandwidth * 10**9,
        multiprocessors=multiprocessors,
        assumed=name in _ASSUMED,
    )


def _slice(row: tuple[str, int, str, int]) -> GpuKind:
    name, memory, compute, multiprocessors = row
    return GpuKind(
        name=name,
        memory_bytes=memory * MIB,
        cuda_total_bytes=memory * MIB * 98 // 100,
        compute=parse_compute(compute),
        multiprocessors=multiprocessors,
        mig=True,
    )


def _pool(row: tuple[str, int, str, int, int]) -> GpuKind:
    name, memory, compute, bandwidth, multiprocessors = row
    return GpuKind(
        name=name,
        memory_bytes=memory * MIB,
        cuda_total_bytes=memory * MIB,
        compute=parse_compute(compute),
        bandwidth_bytes=bandwidth * 10**9,
        multiprocessors=multiprocessors,
        assumed=name in _ASSUMED,
        unified=True,
    )
