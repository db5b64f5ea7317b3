# sequential_embed_migrations(STORE sqlite DIRECTORY dir FILES 0001_name.sql … OUTPUT file.cpp)
# Writes a source file that defines sequential::storage::<STORE>::embedded_migrations(): each file's
# text byte for byte and its SHA-256. Files are named and numbered from 1 without a gap. Test builds can
# be given more at run time (src/migrations_extra.h).
function(sequential_embed_migrations)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "STORE;DIRECTORY;OUTPUT" "FILES")
  set(number 0)
  set(entries "")
  foreach(file IN LISTS arg_FILES)
    math(EXPR number "${number} + 1")
    if(NOT file MATCHES "^([0-9][0-9][0-9][0-9])_([a-z0-9_]+)\\.sql$")
      message(FATAL_ERROR "migration ${file}: the name must be NNNN_words.sql")
    endif()
    set(name "${CMAKE_MATCH_2}")
    string(REGEX REPLACE "^0+" "" digits "${CMAKE_MATCH_1}")
    if(NOT digits EQUAL number)
      message(FATAL_ERROR "migration ${file}: number ${number} is expected here")
    endif()
    set(path "${arg_DIRECTORY}/${file}")
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${path}")
    file(READ "${path}" hex HEX)
    file(SHA256 "${path}" sha256)
    # As hexadecimal bytes: no quoting rule of C++ or CMake can change the text.
    string(REGEX REPLACE "([0-9a-f][0-9a-f])" "'\\\\x\\1'," bytes "${hex}")
    string(APPEND arrays "constexpr char kText${number}[] = {${bytes}};\n")
    string(APPEND entries
      "    {${number}, \"${name}\", {kText${number}, sizeof(kText${number})}, \"${sha256}\"},\n")
  endforeach()
  file(CONFIGURE OUTPUT "${arg_OUTPUT}" @ONLY CONTENT [=[// Generated from migrations/@arg_STORE@ by storage/cmake/embed_migrations.cmake.
#include "@arg_STORE@/migrate.h"

#ifdef SEQUENTIAL_FAULT_POINTS
#include "migrations_extra.h"
#endif

namespace sequential::storage::@arg_STORE@ {
namespace {
@arrays@
constexpr Migration kMigrations[] = {
@entries@};
}  // namespace

std::span<const Migration> embedded_migrations() {
#ifdef SEQUENTIAL_FAULT_POINTS
  static const ExtraMigrations with_extra(kMigrations);
  return with_extra.all();
#else
  return kMigrations;
#endif
}

}  // namespace sequential::storage::@arg_STORE@
]=])
endfunction()
