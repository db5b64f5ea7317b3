# Tests of the real engine process, driven over a socketpair with the protocol's own codec.
find_package(GTest CONFIG REQUIRED)
if(NOT TARGET sequential-engine)
  return()
endif()
set(here ${CMAKE_CURRENT_LIST_DIR})
add_library(v8_harness STATIC ${here}/v8_corpus.cpp ${here}/v8_harness.cpp)
target_link_libraries(v8_harness
  PUBLIC sequential::engine_protocol sequential::base GTest::gtest
  PRIVATE sequential::flags)
target_compile_definitions(v8_harness PRIVATE
  SEQUENTIAL_ENGINE_PATH="$<TARGET_FILE:sequential-engine>")
add_dependencies(v8_harness sequential-engine)

set(v8_shards_limits 4)
set(v8_shards_replay 2)
foreach(name basic limits replay)
  set(shards 1)
  if(DEFINED v8_shards_${name})
    set(shards ${v8_shards_${name}})
  endif()
  sequential_test(engine_v8_${name}_test
    SOURCES ${here}/v8_${name}_test.cpp
    LIBS v8_harness
    SHARDS ${shards}
    LABELS unit)
endforeach()
