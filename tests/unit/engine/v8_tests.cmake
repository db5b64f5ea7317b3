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

function(v8_test name source shards)
  sequential_test(${name} SOURCES ${here}/${source} LIBS v8_harness SHARDS ${shards} LABELS unit)
endfunction()
v8_test(engine_v8_basic_test v8_basic_test.cpp 1)
v8_test(engine_v8_escape_test v8_escape_test.cpp 1)
v8_test(engine_v8_fuzz_test v8_fuzz_test.cpp 1)
v8_test(engine_v8_limits_test v8_limits_test.cpp 2)
v8_test(engine_v8_replay_test v8_replay_test.cpp 2)
v8_test(engine_v8_sandbox_test v8_sandbox_test.cpp 1)
v8_test(engine_v8_source_map_test v8_source_map_test.cpp 1)
v8_test(engine_v8_web_test v8_web_test.cpp 1)
if(NOT SEQUENTIAL_SANITIZE)
  v8_test(engine_v8_memory_test v8_memory_test.cpp 2)
endif()
add_test(NAME engine_v8_self_test COMMAND sequential-engine --self-test)
