# Compiler flags and build options. Every target of ours links sequential::flags PRIVATE.
#
#   sequential::flags             warnings as errors, hardening, fault points
#   sequential::coroutine_flags   for targets with coroutines (server, cli): flags, less one warning
#                                 that misfires there
#   sequential_check_headers(<target>)   compiles each public header of the module alone, twice included
#   sequential_test(…), sequential_script_test(…)   see SequentialModule.cmake
#
# Options: SEQUENTIAL_WERROR, SEQUENTIAL_SANITIZE, SEQUENTIAL_FAULT_POINTS, SEQUENTIAL_CCACHE,
# SEQUENTIAL_CHECK_HEADERS.
include_guard(GLOBAL)
include(CheckPIESupported)

option(SEQUENTIAL_WERROR "Warnings are errors" ON)
option(SEQUENTIAL_FAULT_POINTS "Compile the fault points that crash tests arm; never in a release" OFF)
option(SEQUENTIAL_CCACHE "Compile through ccache when it is installed" ON)
option(SEQUENTIAL_CHECK_HEADERS "Compile each public header alone" ON)
set(SEQUENTIAL_SANITIZE "" CACHE STRING "address,undefined or thread; empty: none")
set_property(CACHE SEQUENTIAL_SANITIZE PROPERTY STRINGS "" "address,undefined" "thread")

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_CXX_SCAN_FOR_MODULES OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

get_property(_sequential_multi_config GLOBAL PROPERTY GENERATOR_IS_MULTI_CONFIG)
if(NOT CMAKE_BUILD_TYPE AND NOT _sequential_multi_config)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Debug, Release or RelWithDebInfo" FORCE)
endif()
# Assertions stay on where tests run, and line tables are all the debug information they need.
# A value given on the command line is kept.
if(CMAKE_CXX_FLAGS_RELWITHDEBINFO STREQUAL "-O2 -g -DNDEBUG")
  set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O1 -g1" CACHE STRING "Flags of the tests' build" FORCE)
endif()
if(CMAKE_CXX_FLAGS_RELEASE STREQUAL "-O3 -DNDEBUG")
  set(CMAKE_CXX_FLAGS_RELEASE "-O2 -DNDEBUG" CACHE STRING "Flags of the release build" FORCE)
endif()

if(SEQUENTIAL_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  find_program(SEQUENTIAL_CCACHE_PROGRAM ccache)
  mark_as_advanced(SEQUENTIAL_CCACHE_PROGRAM)
  if(SEQUENTIAL_CCACHE_PROGRAM)
    set(CMAKE_CXX_COMPILER_LAUNCHER "${SEQUENTIAL_CCACHE_PROGRAM}")
    set(CMAKE_C_COMPILER_LAUNCHER "${SEQUENTIAL_CCACHE_PROGRAM}")
  endif()
endif()

# Position independent executables. check_pie_supported() makes CMake pass -pie to the linker.
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
check_pie_supported(LANGUAGES CXX)

# --- sanitizers -----------------------------------------------------------------------------------
# For the whole build and not only for what links sequential::flags: a single translation unit
# without them hides races and breaks the bookkeeping of containers shared with the others.
if(SEQUENTIAL_SANITIZE)
  if(NOT SEQUENTIAL_SANITIZE MATCHES "^(address|undefined|thread|leak)(,(address|undefined|leak))*$")
    message(FATAL_ERROR "SEQUENTIAL_SANITIZE is '${SEQUENTIAL_SANITIZE}'; "
                        "use address,undefined or thread")
  endif()
  add_compile_options(-fsanitize=${SEQUENTIAL_SANITIZE} -fno-omit-frame-pointer
                      -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${SEQUENTIAL_SANITIZE})
  if(SEQUENTIAL_SANITIZE MATCHES "thread")
    # Fences are invisible to TSan; Boost.Asio and libstdc++ use them where it does not matter.
    add_compile_options($<$<CXX_COMPILER_ID:GNU>:-Wno-tsan>)
  endif()
endif()

# --- sequential::flags ----------------------------------------------------------------------------
add_library(sequential_flags INTERFACE)
add_library(sequential::flags ALIAS sequential_flags)
target_compile_features(sequential_flags INTERFACE cxx_std_20)
target_compile_options(sequential_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wold-style-cast -Wnon-virtual-dtor
  -Woverloaded-virtual
  $<$<BOOL:${SEQUENTIAL_WERROR}>:-Werror>)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # These follow values through inlined library code, so what they report depends on compiler,
  # optimisation level and sanitizer. They warn; a person decides.
  target_compile_options(sequential_flags INTERFACE
    -Wno-error=maybe-uninitialized -Wno-error=array-bounds -Wno-error=stringop-overflow
    -Wno-error=stringop-overread -Wno-error=free-nonheap-object -Wno-error=null-dereference)
  if(CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
    # g++ 12 reports std::string's operator+ on a literal (GCC bug 105651).
    target_compile_options(sequential_flags INTERFACE -Wno-restrict)
  else()
    # g++ 13 and 14 report functions that return a reference into their argument's owner.
    target_compile_options(sequential_flags INTERFACE -Wno-error=dangling-reference)
  endif()
endif()
if(SEQUENTIAL_FAULT_POINTS)
  target_compile_definitions(sequential_flags INTERFACE SEQUENTIAL_FAULT_POINTS=1)
endif()

# Hardening costs nothing measurable. _FORTIFY_SOURCE needs optimisation, and hides from
# sanitizers the calls that they intercept.
target_compile_options(sequential_flags INTERFACE -fstack-protector-strong -fstack-clash-protection)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64|i.86)$")
  target_compile_options(sequential_flags INTERFACE -fcf-protection)
endif()
target_link_options(sequential_flags INTERFACE -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack)
if(NOT SEQUENTIAL_SANITIZE)
  target_compile_options(sequential_flags INTERFACE
    $<$<CONFIG:Release,RelWithDebInfo,MinSizeRel>:-U_FORTIFY_SOURCE>
    $<$<CONFIG:Release,RelWithDebInfo,MinSizeRel>:-D_FORTIFY_SOURCE=2>)
endif()
# Bounds of operator[] and friends, wherever tests run.
target_compile_definitions(sequential_flags INTERFACE
  $<$<NOT:$<CONFIG:Release,MinSizeRel>>:_GLIBCXX_ASSERTIONS>)

add_library(sequential_coroutine_flags INTERFACE)
add_library(sequential::coroutine_flags ALIAS sequential_coroutine_flags)
target_link_libraries(sequential_coroutine_flags INTERFACE sequential::flags)
# g++ takes a coroutine frame's operator new and delete for a mismatched pair.
target_compile_options(sequential_coroutine_flags INTERFACE
  $<$<CXX_COMPILER_ID:GNU>:-Wno-mismatched-new-delete>)

# --- header check ---------------------------------------------------------------------------------
# sequential_check_headers(<target> [DIRECTORY <dir>] [EXCLUDE <header>…])
# Each header below <dir> (default include) must compile as the first thing of a file, and twice.
function(sequential_check_headers target)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "DIRECTORY" "EXCLUDE")
  if(NOT SEQUENTIAL_CHECK_HEADERS)
    return()
  endif()
  if(NOT arg_DIRECTORY)
    set(arg_DIRECTORY include)
  endif()
  get_filename_component(dir "${arg_DIRECTORY}" ABSOLUTE BASE_DIR "${CMAKE_CURRENT_SOURCE_DIR}")
  file(GLOB_RECURSE headers RELATIVE "${dir}" CONFIGURE_DEPENDS "${dir}/*.h")
  set(sources "")
  foreach(header IN LISTS headers)
    if(header IN_LIST arg_EXCLUDE)
      continue()
    endif()
    string(MAKE_C_IDENTIFIER "${header}" name)
    set(source "${CMAKE_CURRENT_BINARY_DIR}/header_check/${target}/${name}.cpp")
    file(CONFIGURE OUTPUT "${source}" CONTENT "#include \"${header}\"\n#include \"${header}\"\n" @ONLY)
    list(APPEND sources "${source}")
  endforeach()
  if(NOT sources)
    return()
  endif()
  get_target_property(real ${target} ALIASED_TARGET)
  if(NOT real)
    set(real ${target})
  endif()
  set(check ${real}_headers)
  add_library(${check} OBJECT ${sources})
  target_include_directories(${check} PRIVATE "${dir}")
  target_link_libraries(${check} PRIVATE ${target} sequential::flags)
  # Only whether it compiles matters.
  target_compile_options(${check} PRIVATE -O0 -g0 -U_FORTIFY_SOURCE)
  set_target_properties(${check} PROPERTIES EXPORT_COMPILE_COMMANDS OFF)
endfunction()

include(SequentialModule)
