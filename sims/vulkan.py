"""Which Vulkan devices this machine has, asked of the loader: taichi does not tell hardware from software.

A few calls of Vulkan 1.0 through ctypes: a package of bindings, or the program ``vulkaninfo``, would have to be
installed for them, and the driver brings neither.
"""

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

OTHER, INTEGRATED, DISCRETE, VIRTUAL, SOFTWARE = range(5)  # VkPhysicalDeviceType
PREFERENCE = (DISCRETE, INTEGRATED, VIRTUAL, OTHER, SOFTWARE)

_INSTANCE_INFO = 1  # VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO
_ENUMERATE_PORTABILITY = 1  # VK_INSTANCE_CREATE_ENUMERATE_PORTABILITY_BIT_KHR
_PORTABILITY = b"VK_KHR_portability_enumeration"  # without it the loader hides the devices of MoltenVK
_MOST_DEVICES = 64
_NAME_AT, _NAME_SIZE = 20, 256  # in VkPhysicalDeviceProperties, after five words of 32 bits, the last of them the type
_TYPE_WORD = 4
_PROPERTIES_SIZE = 4096  # more than any version's VkPhysicalDeviceProperties (824 bytes)


class Device(NamedTuple):
    """A device as the loader lists it: its number there, its name, and its kind (one of the types above)."""

    number: int
    name: str
    kind: int

    @property
    def is_hardware(self) -> bool:
        return self.kind != SOFTWARE


class _InstanceInfo(ctypes.Structure):
    """VkInstanceCreateInfo."""

    _fields_ = (
        ("type", ctypes.c_uint32),
        ("next", ctypes.c_void_p),
        ("flags", ctypes.c_uint32),
        ("application", ctypes.c_void_p),
        ("layer_count", ctypes.c_uint32),
        ("layers", ctypes.c_void_p),
        ("extension_count", ctypes.c_uint32),
        ("extensions", ctypes.POINTER(ctypes.c_char_p)),
    )


def devices() -> list[Device]:
    """All devices, best first: a card, then a chip's graphics, and software last. Empty without a loader or driver."""
    loader = _loader()
    if loader is None:
        return []
    with _instance(loader) as instance:
        if instance is None:
            return []
        handles = (ctypes.c_void_p * _MOST_DEVICES)()
        count = ctypes.c_uint32(_MOST_DEVICES)
        if loader.vkEnumeratePhysicalDevices(instance, ctypes.byref(count), handles) < 0:
            return []
        found = [_describe(loader, number, handles[number] or 0) for number in range(count.value)]
    return sorted(found, key=lambda device: PREFERENCE.index(device.kind))


def _loader() -> Any:
    """The Vulkan loader, as taichi finds it, or None."""
    if os.name == "nt":
        names = ["vulkan-1.dll"]
    elif sys.platform == "darwin":  # taichi brings a driver that is its own loader
        taichi = find_spec("taichi")
        folder = Path(taichi.origin).parent if taichi and taichi.origin else Path()
        names = ["libvulkan.1.dylib", str(folder / "_lib" / "runtime" / "libMoltenVK.dylib")]
    else:
        names = ["libvulkan.so.1", "libvulkan.so"]
    for name in names:
        try:
            return ctypes.CDLL(name)
        except OSError:
            pass
    return None


@contextmanager
def _instance(loader: Any) -> Iterator[ctypes.c_void_p | None]:
    """A Vulkan instance in here, or None where no driver answers."""
    instance = ctypes.c_void_p()
    extensions = (ctypes.c_char_p * 1)(_PORTABILITY)
    info = _InstanceInfo(type=_INSTANCE_INFO, flags=_ENUMERATE_PORTABILITY, extension_count=1, extensions=extensions)
    created = loader.vkCreateInstance(ctypes.byref(info), None, ctypes.byref(instance))
    if created < 0:  # a loader that does not know the extension
        info = _InstanceInfo(type=_INSTANCE_INFO)
        created = loader.vkCreateInstance(ctypes.byref(info), None, ctypes.byref(instance))
    if created < 0:
        yield None
        return
    try:
        yield instance
    finally:
        loader.vkDestroyInstance(instance, None)


def _describe(loader: Any, number: int, handle: int) -> Device:
    properties = ctypes.create_string_buffer(_PROPERTIES_SIZE)
    loader.vkGetPhysicalDeviceProperties(ctypes.c_void_p(handle), properties)
    kind = int.from_bytes(properties.raw[4 * _TYPE_WORD : 4 * _TYPE_WORD + 4], sys.byteorder)
    name = properties.raw[_NAME_AT : _NAME_AT + _NAME_SIZE].split(b"\0")[0].decode("utf-8", "replace")
    return Device(number, name, kind if kind in PREFERENCE else OTHER)
