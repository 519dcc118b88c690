# Cross compilation with zig: one compiler, headers and C libraries for every platform that a binary is shipped for.
#
#   cmake -S . -B build/x -DCMAKE_TOOLCHAIN_FILE=cmake/zig.cmake -DBELLOWS_ZIG=/path/to/zig \
#         -DBELLOWS_ZIG_TARGET=aarch64-linux-gnu.2.28
#
# With CMAKE_CROSSCOMPILING_EMULATOR (such as "qemu-aarch64") ctest runs the C tests of another CPU.

# CMake reads this file again for each of its compiler checks, in a project of their own.
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES BELLOWS_ZIG BELLOWS_ZIG_TARGET)

string(REPLACE "-" ";" bellows_triple "${BELLOWS_ZIG_TARGET}")
list(GET bellows_triple 0 CMAKE_SYSTEM_PROCESSOR)
list(GET bellows_triple 1 bellows_system)
if(bellows_system STREQUAL "linux")
  set(CMAKE_SYSTEM_NAME Linux)
elseif(bellows_system MATCHES "^macos")
  set(CMAKE_SYSTEM_NAME Darwin)
elseif(bellows_system STREQUAL "windows")
  set(CMAKE_SYSTEM_NAME Windows)
else()
  message(FATAL_ERROR "BELLOWS_ZIG_TARGET is \"${BELLOWS_ZIG_TARGET}\"; its system may be linux, macos or windows")
endif()

# The baseline CPU of the architecture, never the building machine's.
if(CMAKE_SYSTEM_PROCESSOR STREQUAL "x86_64")
  set(bellows_cpu x86_64)
elseif(CMAKE_SYSTEM_NAME STREQUAL "Darwin")
  set(bellows_cpu apple_m1)
else()
  set(bellows_cpu generic)
endif()

set(CMAKE_C_COMPILER "${BELLOWS_ZIG}" cc -target ${BELLOWS_ZIG_TARGET} -mcpu=${bellows_cpu})
set(CMAKE_CXX_COMPILER "${BELLOWS_ZIG}" c++ -target ${BELLOWS_ZIG_TARGET} -mcpu=${bellows_cpu})
# zig's archiver is a subcommand, which CMAKE_AR has no room for.
foreach(tool ar ranlib)
  string(TOUPPER ${tool} variable)
  set(wrapper "${CMAKE_BINARY_DIR}/zig-${tool}")
  if(NOT EXISTS "${wrapper}")
    file(WRITE "${wrapper}" "#!/bin/sh\nexec '${BELLOWS_ZIG}' ${tool} \"$@\"\n")
    file(CHMOD "${wrapper}" PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE)
  endif()
  set(CMAKE_${variable} "${wrapper}" CACHE FILEPATH "")
endforeach()

# zig switches off every feature that the baseline lacks, this one of clang 18 too; -mavx512f does not bring it back.
set(BELLOWS_AVX512_EXTRA_FLAGS -mevex512)

set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
