"""The just-in-time compiler: LLVM modules to functions in memory, for the vectors of the host."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import llvmlite.binding as llvm


@cache
def _target() -> Any:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.Target.from_default_triple()


@cache
def features() -> dict[str, bool]:
    """What the host's processor can do."""
    return dict(llvm.get_host_cpu_features())


@cache
def vector_bytes() -> int:
    """Bytes of the widest vector register."""
    has = features()
    return 64 if has.get("avx512f") else 32 if has.get("avx2") else 16


def _machine() -> Any:
    flags = llvm.get_host_cpu_features().flatten()
    if vector_bytes() == 64:
        flags += ",-prefer-256-bit"
    return _target().create_target_machine(cpu=llvm.get_host_cpu_name(), features=flags, opt=2, jit=True)


def publish(symbols: Mapping[str, int]) -> None:
    """Let modules that are compiled from now on call functions by these names."""
    for name, address in symbols.items():
        llvm.add_symbol(name, address)


class CompiledModule:
    """A module in memory; it lives as long as this object.

    Vectors are explicit and kernels fused before LLVM sees them: its usual passes take ten times as long as these
    three, and the code is no faster.
    """

    def __init__(self, text: str) -> None:
        machine = _machine()
        module = llvm.parse_assembly(text)
        module.triple = llvm.get_process_triple()
        module.data_layout = str(machine.target_data)
        module.verify()
        builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options())
        passes = llvm.create_new_module_pass_manager()
        passes.add_sroa_pass()  # variables become registers
        passes.add_instruction_combine_pass()
        passes.add_simplify_cfg_pass()
        passes.run(module, builder)
        self._module = module
        self._engine = llvm.create_mcjit_compiler(module, machine)
        self._engine.finalize_object()
        self._machine = machine

    def function(self, name: str, pointers: int = 2) -> Callable[..., Any]:
        """A function ``(void *, void *)`` of the module, or of so many; called without the interpreter's lock."""
        made = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * pointers)(self.address(name))
        made.owner = self  # type: ignore[attr-defined]
        return made

    def address(self, name: str) -> int:
        """Where a function of the module lies."""
        found: int = self._engine.get_function_address(name)
        return found

    def assembly(self) -> str:
        """The machine code, for reading."""
        return str(self._machine.emit_assembly(self._module))
