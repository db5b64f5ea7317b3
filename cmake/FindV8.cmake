# Finds V8 inside Debian's shared libnode, with the headers that belong to exactly that library.
#
#   V8::V8        the library, its headers (<v8.h>, <libplatform/libplatform.h>) and definitions
#   V8::Embedder  the same for sources that subclass a v8:: interface: libnode has no type
#                 information, so those compile with -fno-rtti
#   V8_VERSION    10.2.154.26 (Debian 12), 11.3.244.8 (Debian 13)
#   V8_LIBRARY, V8_INCLUDE_DIR, V8_SONAME (libnode.so.108), V8_BUNDLED (unpacked under build/)
#   v8_install_runtime(<target>…)   makes installed executables find the library
#
# Looked for, in this order: -DV8_ROOT=<prefix>, the system's libnode-dev, and what
# scripts/setup.sh unpacked under build/deps/libnode. The first candidate that passes is taken.
#
# A candidate passes when a program compiled against its headers and linked with its library runs
# and both name the same version; V8 compares the ABI switches it was built with (pointer
# compression, sandbox) at the same time. So the headers that another Node left in
# /usr/include/node are never used with this library, whatever lies around.

include(FindPackageHandleStandardArgs)
find_package(Threads REQUIRED)

set(V8_ROOT "" CACHE PATH "Prefix of the libnode to use (has include/ and lib/); empty: search")

set(_v8_prefixes "")
if(V8_ROOT)
  list(APPEND _v8_prefixes "${V8_ROOT}" "${V8_ROOT}/usr")
else()
  list(APPEND _v8_prefixes /usr "${PROJECT_SOURCE_DIR}/build/deps/libnode/usr" /usr/local)
endif()

set(_v8_rejected "")

# The version in a v8-version.h, "" when the file is not one.
function(_v8_header_version include_dir result)
  set(${result} "" PARENT_SCOPE)
  if(NOT EXISTS "${include_dir}/v8-version.h")
    return()
  endif()
  file(STRINGS "${include_dir}/v8-version.h" lines
       REGEX "^#define V8_(MAJOR_VERSION|MINOR_VERSION|BUILD_NUMBER|PATCH_LEVEL) +[0-9]+")
  set(version "")
  foreach(name MAJOR_VERSION MINOR_VERSION BUILD_NUMBER PATCH_LEVEL)
    if(NOT "${lines}" MATCHES "#define V8_${name} +([0-9]+)")
      return()
    endif()
    list(APPEND version ${CMAKE_MATCH_1})
  endforeach()
  list(JOIN version "." version)
  set(${result} "${version}" PARENT_SCOPE)
endfunction()

# The switches that change V8's ABI, from the config.gypi that came with the headers.
function(_v8_definitions include_dir result)
  set(definitions "")
  set(config "")
  foreach(file "${include_dir}/config.gypi" "${include_dir}/../../../../node/config.gypi")
    if(EXISTS "${file}")
      file(STRINGS "${file}" config REGEX "'?\"?v8_[a-z0-9_]+'?\"?: *[0-9]")
      break()
    endif()
  endforeach()
  macro(_v8_switch key)
    if("${config}" MATCHES "v8_${key}['\"]: *1")
      list(APPEND definitions ${ARGN})
    endif()
  endmacro()
  _v8_switch(enable_pointer_compression V8_COMPRESS_POINTERS V8_COMPRESS_POINTERS_IN_ISOLATE_CAGE)
  _v8_switch(enable_31bit_smis_on_64bit_arch V8_31BIT_SMIS_ON_64BIT_ARCH)
  _v8_switch(enable_sandbox V8_ENABLE_SANDBOX)
  if("${config}" MATCHES "v8_promise_internal_field_count['\"]: *([0-9]+)")
    list(APPEND definitions V8_PROMISE_INTERNAL_FIELD_COUNT=${CMAKE_MATCH_1})
  endif()
  set(${result} "${definitions}" PARENT_SCOPE)
endfunction()

# Runs a program built of these headers and this library. `ok`: TRUE, or FALSE with `why`.
function(_v8_verify include_dir library definitions header_version ok why)
  file(TIMESTAMP "${library}" stamp "%s" UTC)
  set(key "${library}|${stamp}|${include_dir}|${header_version}|${definitions}")
  if("${V8_VERIFIED}" STREQUAL "${key}")
    set(${ok} TRUE PARENT_SCOPE)
    return()
  endif()
  if(CMAKE_CROSSCOMPILING)
    # Nothing can be run: the release that this library name stands for must do.
    get_filename_component(name "${library}" NAME)
    set(expected "")
    if(name MATCHES "\\.so\\.108")
      set(expected "10.2.")
    elseif(name MATCHES "\\.so\\.115")
      set(expected "11.3.")
    endif()
    string(FIND "${header_version}" "${expected}" at)
    if(expected STREQUAL "" OR NOT at EQUAL 0)
      set(${why} "headers of V8 ${header_version} are not those of ${name}" PARENT_SCOPE)
      set(${ok} FALSE PARENT_SCOPE)
    else()
      set(${ok} TRUE PARENT_SCOPE)
    endif()
    return()
  endif()
  set(source "${CMAKE_BINARY_DIR}/CMakeFiles/v8_verify.cc")
  file(WRITE "${source}" [[
#include <libplatform/libplatform.h>
#include <v8.h>

#include <cstdio>
#include <cstring>
#include <memory>
#include <string>

int main() {
  const std::string headers = std::to_string(V8_MAJOR_VERSION) + '.' + std::to_string(V8_MINOR_VERSION) +
                              '.' + std::to_string(V8_BUILD_NUMBER) + '.' + std::to_string(V8_PATCH_LEVEL);
  const std::string library = v8::V8::GetVersion();  // "10.2.154.26-node.36"
  const std::string base = library.substr(0, library.find('-'));
  std::printf("v8 headers %s library %s\n", headers.c_str(), library.c_str());
  if (base != headers) return 3;
  const std::unique_ptr<v8::Platform> platform = v8::platform::NewSingleThreadedDefaultPlatform();
  v8::V8::InitializePlatform(platform.get());
  v8::V8::Initialize();  // aborts when header switches and library differ
  v8::V8::Dispose();
  return 0;
}
]])
  list(TRANSFORM definitions PREPEND "-D" OUTPUT_VARIABLE flags)
  get_filename_component(library_dir "${library}" DIRECTORY)
  unset(_v8_run CACHE)
  unset(_v8_compiled CACHE)
  # The definitions go to the compiler command line, the include directory first of all.
  try_run(_v8_run _v8_compiled
    SOURCES "${source}"
    COMPILE_DEFINITIONS ${flags} "-I${include_dir}"
    LINK_OPTIONS "-Wl,-rpath,${library_dir}"
    LINK_LIBRARIES "${library}" Threads::Threads
    CXX_STANDARD 20
    CXX_STANDARD_REQUIRED TRUE
    COMPILE_OUTPUT_VARIABLE compile_output
    RUN_OUTPUT_VARIABLE run_output)
  set(compiled "${_v8_compiled}")
  set(run "${_v8_run}")
  unset(_v8_run CACHE)
  unset(_v8_compiled CACHE)
  set(${ok} FALSE PARENT_SCOPE)
  if(NOT compiled)
    string(REGEX MATCHALL "[^\n]*(error|undefined reference|not found)[^\n]*" errors "${compile_output}")
    list(JOIN errors "\n      " errors)
    string(SUBSTRING "${errors}" 0 800 errors)
    set(${why} "a program with these headers and this library does not build:\n      ${errors}" PARENT_SCOPE)
  elseif(run STREQUAL "3")
    string(STRIP "${run_output}" run_output)
    set(${why} "headers and library are of different versions (${run_output})" PARENT_SCOPE)
  elseif(NOT run STREQUAL "0")
    set(${why} "the test program ended with '${run}': ${run_output}" PARENT_SCOPE)
  else()
    set(V8_VERIFIED "${key}" CACHE INTERNAL "The V8 library and headers last proved to match")
    set(${ok} TRUE PARENT_SCOPE)
  endif()
endfunction()

unset(V8_LIBRARY)
unset(V8_INCLUDE_DIR)
unset(V8_VERSION)
foreach(_v8_prefix IN LISTS _v8_prefixes)
  if(V8_LIBRARY)
    break()
  endif()
  # The file with the version in its name, as the development link may be missing or point elsewhere.
  set(_v8_libraries "")
  foreach(_v8_dir "${_v8_prefix}/lib/${CMAKE_LIBRARY_ARCHITECTURE}" "${_v8_prefix}/lib")
    file(GLOB _v8_found LIST_DIRECTORIES FALSE "${_v8_dir}/libnode.so.[0-9]*")
    list(APPEND _v8_libraries ${_v8_found})
  endforeach()
  list(REMOVE_DUPLICATES _v8_libraries)
  # nodejs/deps/v8/include is Debian's alone; include/node may be another Node's.
  set(_v8_includes "")
  foreach(_v8_dir nodejs/deps/v8/include node)
    if(EXISTS "${_v8_prefix}/include/${_v8_dir}/v8.h")
      list(APPEND _v8_includes "${_v8_prefix}/include/${_v8_dir}")
    endif()
  endforeach()
  foreach(_v8_lib IN LISTS _v8_libraries)
    foreach(_v8_inc IN LISTS _v8_includes)
      if(V8_LIBRARY)
        break()
      endif()
      _v8_header_version("${_v8_inc}" _v8_version)
      _v8_definitions("${_v8_inc}" _v8_defs)
      if(_v8_version STREQUAL "")
        set(_v8_ok FALSE)
        set(_v8_why "no v8-version.h that can be read")
      else()
        _v8_verify("${_v8_inc}" "${_v8_lib}" "${_v8_defs}" "${_v8_version}" _v8_ok _v8_why)
      endif()
      if(_v8_ok)
        set(V8_LIBRARY "${_v8_lib}")
        set(V8_INCLUDE_DIR "${_v8_inc}")
        set(V8_VERSION "${_v8_version}")
        set(V8_DEFINITIONS "${_v8_defs}")
      else()
        string(APPEND _v8_rejected "\n    ${_v8_lib} with ${_v8_inc}: ${_v8_why}")
      endif()
    endforeach()
  endforeach()
endforeach()

set(_v8_reason "run scripts/setup.sh, or give -DV8_ROOT=<prefix of a shared libnode and its headers>")
if(_v8_rejected)
  string(REPLACE ";" "," _v8_rejected "${_v8_rejected}")
  string(APPEND _v8_reason ". Rejected:${_v8_rejected}\n ")
endif()
find_package_handle_standard_args(V8
  REQUIRED_VARS V8_LIBRARY V8_INCLUDE_DIR
  VERSION_VAR V8_VERSION
  REASON_FAILURE_MESSAGE "${_v8_reason}")

if(V8_FOUND)
  get_filename_component(V8_SONAME "${V8_LIBRARY}" NAME)
  string(FIND "${V8_LIBRARY}" "${PROJECT_SOURCE_DIR}/build/" _v8_at)
  if(_v8_at EQUAL 0)
    set(V8_BUNDLED TRUE)
  else()
    set(V8_BUNDLED FALSE)
  endif()
  if(NOT TARGET V8::V8)
    add_library(V8::V8 SHARED IMPORTED GLOBAL)
    # The build's rpath comes by itself: CMake adds the directory of an imported library that the
    # linker does not search anyway. Includes of an imported target are SYSTEM: no warnings.
    # UBSan's vptr check needs the type information that libnode lacks.
    set_target_properties(V8::V8 PROPERTIES
      IMPORTED_LOCATION "${V8_LIBRARY}"
      IMPORTED_SONAME "${V8_SONAME}"
      INTERFACE_INCLUDE_DIRECTORIES "${V8_INCLUDE_DIR}"
      INTERFACE_COMPILE_DEFINITIONS "${V8_DEFINITIONS}"
      INTERFACE_COMPILE_OPTIONS "$<$<COMPILE_LANGUAGE:CXX>:-fno-sanitize=vptr>"
      INTERFACE_LINK_LIBRARIES Threads::Threads)
    add_library(V8::Embedder INTERFACE IMPORTED GLOBAL)
    set_target_properties(V8::Embedder PROPERTIES
      INTERFACE_COMPILE_OPTIONS "$<$<COMPILE_LANGUAGE:CXX>:-fno-rtti>"
      INTERFACE_LINK_LIBRARIES V8::V8)
  endif()
  if(NOT V8_FIND_QUIETLY)
    message(STATUS "V8 ${V8_VERSION}: ${V8_LIBRARY}, ${V8_INCLUDE_DIR}")
  endif()
endif()

# v8_install_runtime(<target>…): call it beside install(TARGETS …). A library of the system needs
# nothing. An unpacked one is installed too, privately, and the executables find it relative to
# themselves, so that the installed tree can be moved.
function(v8_install_runtime)
  if(NOT V8_BUNDLED)
    return()
  endif()
  include(GNUInstallDirs)
  set(private "${CMAKE_INSTALL_LIBDIR}/sequential-runner")
  file(RELATIVE_PATH up "/${CMAKE_INSTALL_BINDIR}" "/${private}")
  foreach(target IN LISTS ARGN)
    set_property(TARGET ${target} APPEND PROPERTY INSTALL_RPATH "$ORIGIN/${up}")
  endforeach()
  install(FILES "${V8_LIBRARY}" DESTINATION "${private}"
          PERMISSIONS OWNER_READ OWNER_WRITE GROUP_READ WORLD_READ)
endfunction()

mark_as_advanced(V8_ROOT)
