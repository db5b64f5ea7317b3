# sequential_embed_errors(DIRECTORY docs/errors OUTPUT file.cpp)
# Writes a source file that defines sequential::server::error_pages(): the name and the text of every
# page, byte for byte, so that the `type` of a problem document leads to what it says.
function(sequential_embed_errors)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "DIRECTORY;OUTPUT" "")
  file(GLOB pages CONFIGURE_DEPENDS "${arg_DIRECTORY}/*.md")
  list(SORT pages)
  if(NOT pages)
    message(WARNING "no pages in ${arg_DIRECTORY}: GET /errors/{code} will find none")
  endif()
  set(arrays "")
  set(entries "")
  foreach(page IN LISTS pages)
    get_filename_component(code "${page}" NAME_WE)
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${page}")
    file(READ "${page}" hex HEX)
    # As hexadecimal bytes: no quoting rule of C++ or CMake can change the text.
    string(REGEX REPLACE "([0-9a-f][0-9a-f])" "'\\\\x\\1'," bytes "${hex}")
    string(APPEND arrays "constexpr char k_${code}[] = {${bytes}};\n")
    string(APPEND entries "      {\"${code}\", {k_${code}, sizeof(k_${code})}},\n")
  endforeach()
  file(CONFIGURE OUTPUT "${arg_OUTPUT}" @ONLY CONTENT [=[// Generated from docs/errors by server/cmake/embed_errors.cmake.
#include "routes/error_pages.h"

namespace sequential::server {
namespace {
@arrays@
}  // namespace

const std::vector<ErrorPage>& error_pages() {
  static const std::vector<ErrorPage> pages{
@entries@  };
  return pages;
}

}  // namespace sequential::server
]=])
endfunction()
