// What the watched build of a kernel changes of the language, after emulator.h.
#pragma once

// All shared memory of a kernel in one section of the library, whose ends the linker knows.
#undef __shared__
#define __shared__ static __attribute__((section("shared_memory")))

// An atomic operation is no race.
extern "C" int watch_atomic;
template <class T> inline T watched_atomic_add(T* place, T value) {
  ++watch_atomic;
  const T old = *place;
  *place = old + value;
  --watch_atomic;
  return old;
}
#define atomicAdd watched_atomic_add
